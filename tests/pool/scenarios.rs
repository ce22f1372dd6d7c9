//! Programs as users write them, those that use a pool: their output and its order. Times are a tenth of the originals.
//!
//! SE03, a function that cannot be sent or has other parameters, does not compile: see the documentation of `Pool`,
//! whose tests require that.

use crate::util::{prints, within};
use crossproc::{NotReady, Pool, PoolError, Process, Queue, Result, SpawnError, TaskError, cpu_count};
use std::collections::BTreeSet;
use std::process::id;
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// The lines that begin with this, in their order.
fn with<'a>(start: &str, lines: &'a [String]) -> Vec<&'a str> {
    lines.iter().map(String::as_str).filter(|line| line.starts_with(start)).collect()
}

#[test]
fn se02_a_pool_gives_what_a_loop_gives() {
    // The number of steps to 1.
    fn collatz(n: u64) -> u32 {
        let mut steps = 0;
        let mut n = n + 1;
        while n != 1 {
            n = if n.is_multiple_of(2) { n / 2 } else { 3 * n + 1 };
            steps += 1;
        }
        steps
    }
    within(60, || {
        let pool = Pool::new(2).unwrap();
        for inputs in [1, 2, 10] {
            let serial: Vec<u32> = (0..inputs).map(collatz).collect();
            assert_eq!(pool.map(collatz, 0..inputs).unwrap(), serial);
        }
        // Two naps at once take the time of one. A loaded machine may delay one try, but not each of them.
        let nap_twice = |_| {
            let start = Instant::now();
            pool.map(|_: u8| sleep(ms(500)), 0..2).unwrap();
            start.elapsed()
        };
        let quickest = (0..5).map(nap_twice).find(|took| *took < ms(990));
        assert!(quickest.is_some(), "the naps were one after the other");
    });
}

#[test]
fn se04_starmap_of_pow() {
    within(30, || assert_eq!(Pool::new(2).unwrap().starmap(u64::pow, [(1, 2), (2, 3)]).unwrap(), [1, 8]));
}

#[test]
fn se05_one_item_fails() {
    fn inverse(n: i32) -> i32 {
        12 / n
    }
    fn caught(n: i32) -> Option<i32> {
        12_i32.checked_div(n)
    }
    within(30, || {
        let pool = Pool::new(2).unwrap();
        let error = pool.map(inverse, [1, 2, 0, 4]).unwrap_err();
        assert!(matches!(error, TaskError::Panicked { index: Some(2), .. }), "{error}");
        assert_eq!(pool.map(caught, [1, 2, 0, 4]).unwrap(), [Some(12), Some(6), None, Some(3)]);
    });
}

#[test]
fn se06_a_pool_in_a_worker() {
    fn nested() -> Result<Vec<i32>, PoolError> {
        let pool = Pool::new(2)?;
        Ok(pool.map(|x| x * 2, 0..3).unwrap())
    }
    within(30, || {
        let error = Pool::new(1).unwrap().apply(nested, ()).unwrap().unwrap_err();
        assert_eq!(error, PoolError::Spawn(SpawnError::DaemonChild));
        assert_eq!(error.to_string(), "no worker was started: daemonic processes are not allowed to have children");
        assert_eq!(Process::spawn(nested, ()).unwrap().join().unwrap().unwrap(), [0, 2, 4]);
    });
}

#[test]
fn se07_one_worker_less_than_processors() {
    within(30, || {
        let workers = (cpu_count() - 1).max(1);
        let pool = Pool::new(workers).unwrap();
        let pids: BTreeSet<u32> = pool.chunksize(1).map(|_: u8| id(), 0..100).unwrap().into_iter().collect();
        assert!((1..=workers).contains(&pids.len()), "{pids:?}");
    });
}

#[test]
fn se08_a_plain_queue_is_an_argument() {
    fn put(queue: Queue<u32>, n: u32) {
        queue.put(n * n).unwrap();
    }
    within(30, || {
        let pool = Pool::new(2).unwrap();
        let queue = Queue::new().unwrap();
        pool.starmap(put, (1..=4).map(|n| (queue.clone(), n))).unwrap();
        let squares: BTreeSet<u32> = queue.get_many(4).unwrap().into_iter().collect();
        assert_eq!(squares, [1, 4, 9, 16].into());
    });
}

fn foo(i: u32) -> u32 {
    sleep(ms(200));
    i + 100
}

#[test]
fn se16_ten_tasks_in_two_waves_with_callbacks() {
    within(30, || {
        let pool = Pool::new(5).unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let start = Instant::now();
        for i in 0..10 {
            let seen = seen.clone();
            pool.apply_async(foo, (i,)).on_done(move |result| seen.lock().unwrap().push(*result));
        }
        pool.close();
        pool.join().unwrap();
        let took = start.elapsed();
        let mut seen = seen.lock().unwrap().clone();
        seen.sort_unstable();
        assert_eq!(seen, (100..110).collect::<Vec<_>>());
        assert!((ms(400)..ms(1900)).contains(&took), "two waves, not ten: {took:?}");
    });
}

#[test]
fn se17_ten_tasks_one_after_the_other() {
    within(30, || {
        let pool = Pool::new(5).unwrap();
        let start = Instant::now();
        let results: Vec<u32> = (0..10)
            .map(|i| {
                pool.apply(
                    |i: u32| {
                        sleep(ms(50));
                        i + 100
                    },
                    (i,),
                )
                .unwrap()
            })
            .collect();
        assert_eq!(results, (100..110).collect::<Vec<_>>());
        assert!(start.elapsed() >= ms(500));
    });
}

#[test]
fn se18_results_after_join_come_in_the_order_of_the_tasks() {
    within(30, || {
        let pool = Pool::new(5).unwrap();
        let results: Vec<_> = (0..10).map(|i| pool.apply_async(foo, (i,))).collect();
        pool.close();
        pool.join().unwrap();
        let results: Vec<u32> = results.into_iter().map(|result| result.get().unwrap()).collect();
        assert_eq!(results, (100..110).collect::<Vec<_>>());
    });
}

#[test]
fn se22_four_functions_in_one_pool() {
    fn timed(name: &str, time: Duration) {
        println!("Run task {name}-{}", id());
        let start = Instant::now();
        sleep(time);
        println!("Task {name} runs {:.2} seconds.", start.elapsed().as_secs_f64());
    }
    fn lee() {
        timed("Lee", ms(100));
    }
    fn marlon() {
        timed("Marlon", ms(400));
    }
    fn allen() {
        timed("Allen", ms(300));
    }
    fn frank() {
        timed("Frank", ms(200));
    }
    within(30, || {
        let lines = prints("", || {
            let pool = Pool::new(4)?;
            println!("Waiting for all subprocesses done...");
            for task in [lee as fn(), marlon, allen, frank] {
                pool.apply_async(task, ());
            }
            pool.close();
            pool.join()?;
            println!("All subprocesses done.");
            Ok(())
        });
        let (first, last) = (lines.first().unwrap().as_str(), lines.last().unwrap().as_str());
        assert_eq!((first, last), ("Waiting for all subprocesses done...", "All subprocesses done."));
        let runs = with("Run task", &lines);
        let pids: BTreeSet<&str> = runs.iter().map(|line| line.rsplit('-').next().unwrap()).collect();
        assert_eq!((runs.len(), pids.len()), (4, 4), "{lines:?}");
        let ends = with("Task", &lines).iter().map(|line| line.split(' ').nth(1).unwrap()).collect::<Vec<_>>();
        assert_eq!(ends, ["Lee", "Frank", "Allen", "Marlon"]);
    });
}

const TASKS: [&str; 7] = ["听音乐", "吃饭", "睡觉", "打游戏", "学习", "看电影", "跑步"];

#[test]
fn se32_seven_tasks_strictly_one_after_the_other() {
    fn task(name: String) {
        println!("开始做任务:{name}");
        sleep(ms(5));
        println!("完成任务:{name}");
    }
    within(30, || {
        let lines = prints("", || {
            let pool = Pool::new(5)?;
            for name in TASKS {
                pool.apply(task, (name.to_string(),))?;
            }
            pool.close();
            pool.join()?;
            println!("over!");
            Ok(())
        });
        let mut expected: Vec<String> =
            TASKS.iter().flat_map(|name| [format!("开始做任务:{name}"), format!("完成任务:{name}")]).collect();
        expected.push("over!".into());
        assert_eq!(lines, expected);
    });
}

#[test]
fn se33_callbacks_fill_a_container() {
    fn task(name: String) -> String {
        sleep(ms(5));
        format!("完成任务:{name}{}", id())
    }
    within(30, || {
        let lines = prints("", || {
            let pool = Pool::new(5)?;
            let container = Arc::new(Mutex::new(Vec::new()));
            for name in TASKS {
                let container = container.clone();
                pool.apply_async(task, (name.to_string(),))
                    .on_done(move |text| container.lock().unwrap().push(text.clone()));
            }
            pool.close();
            pool.join()?;
            container.lock().unwrap().iter().for_each(|text| println!("{text}"));
            println!("over!");
            Ok(())
        });
        assert_eq!((lines.len(), lines[7].as_str()), (8, "over!"));
        for name in TASKS {
            assert_eq!(with(&format!("完成任务:{name}"), &lines).len(), 1);
        }
    });
}

#[test]
fn se36_a_result_that_is_not_there_yet() {
    within(30, || {
        let pool = Pool::new(1).unwrap();
        let mut result = pool.apply_async(foo, (1,));
        assert!(!result.ready());
        assert_eq!(result.successful(), Err(NotReady));
        assert_eq!(result.get_timeout(ms(10)), Err(TaskError::Timeout));
        assert!(result.wait_timeout(ms(20_000)));
        assert_eq!((result.ready(), result.successful(), result.get()), (true, Ok(true), Ok(101)));
        let failed = pool.apply_async(|| -> u8 { panic!("boom") }, ());
        assert!(matches!(failed.get(), Err(TaskError::Panicked { message, .. }) if message == "boom"));
    });
}
