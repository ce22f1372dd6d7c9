//! Pools from the outside: results and their order, errors, and inputs taken ahead.

use super::common::{cube, gates, held, pids};
use crate::util::{LIMIT, in_a_program, role, status_number, until, until_killed, within};
use crossproc::{Atomic, NotReady, Pool, PoolError, Process, Queue, Result, SegmentError, SpawnError, TaskError, wait};
use serde::{Deserialize, Deserializer, Serialize};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

#[test]
fn maps_are_what_a_loop_gives_whatever_the_size() {
    within(120, || {
        let pool = Pool::new(3).unwrap();
        for items in [0, 1, 100_000] {
            let serial: Vec<u64> = (0..items).map(cube).collect();
            let powers: Vec<u64> = (0..items).map(|x| x.wrapping_pow(2)).collect();
            let pairs = || (0..items).map(|x| (x, 2));
            assert_eq!(pool.map(cube, 0..items).unwrap(), serial);
            assert_eq!(pool.map_async(cube, 0..items).get().unwrap(), serial);
            assert_eq!(pool.starmap(u64::wrapping_pow, pairs()).unwrap(), powers);
            assert_eq!(pool.map_with(&3, |power: &u32, x: u64| x.wrapping_pow(*power), 0..items).unwrap(), serial);
            for size in [1, 7] {
                let chunked = pool.chunksize(size);
                assert_eq!(chunked.map(cube, 0..items).unwrap(), serial);
                assert_eq!(chunked.starmap_async(u64::wrapping_pow, pairs()).get().unwrap(), powers);
                assert_eq!(
                    chunked.map_with(&3, |power: &u32, x: u64| x.wrapping_pow(*power), 0..items).unwrap(),
                    serial
                );
                let lazy: Vec<u64> = pool.imap(cube, 0..items).chunksize(size).collect::<Result<_, _>>().unwrap();
                assert_eq!(lazy, serial);
                let unordered = pool.imap_unordered(cube, 0..items).chunksize(size).collect::<Result<Vec<_>, _>>();
                let (mut unordered, mut sorted) = (unordered.unwrap(), serial.clone());
                unordered.sort();
                sorted.sort();
                assert_eq!(unordered, sorted);
            }
        }
        assert!(pids(&pool).len() == 3);
    });
}

fn third_fails((n, runs): (u64, Atomic<u64>)) -> u64 {
    runs.fetch_add(1, SeqCst);
    assert!(n != 3 && n != 5, "number {n}");
    n * n
}

#[test]
fn one_input_fails_and_the_others_run() {
    within(60, || {
        let pool = Pool::new(2).unwrap();
        for size in [1, 3, 7, 100] {
            let runs = Atomic::new(0).unwrap();
            let inputs = || (0..10).map(|n| (n, runs.clone()));
            match pool.chunksize(size).map(third_fails, inputs()) {
                Err(TaskError::Panicked { message, index, location, .. }) => {
                    assert_eq!((message.as_str(), index), ("number 3", Some(3)));
                    assert!(location.unwrap().starts_with(file!()));
                }
                other => panic!("{other:?}"),
            }
            assert_eq!(runs.load(SeqCst), 10, "all have run, in chunks of {size}");
            let results: Vec<_> = pool.imap(third_fails, inputs()).chunksize(size).collect();
            assert_eq!(results.len(), 10);
            for (n, result) in (0..).zip(&results) {
                match result {
                    Ok(square) => assert_eq!(*square, n * n),
                    Err(TaskError::Panicked { message, index, .. }) => {
                        assert!(n == 3 || n == 5);
                        assert_eq!((message, *index), (&format!("number {n}"), Some(n as usize)));
                    }
                    Err(error) => panic!("{error:?}"),
                }
            }
            assert_eq!(results.iter().filter(|result| result.is_err()).count(), 2);
        }
        assert_eq!(pool.map(cube, 0..3).unwrap(), [0, 1, 8], "the pool goes on");
    });
}

#[test]
fn what_makes_no_sense_is_refused() {
    within(60, || {
        assert_eq!(Pool::new(0).unwrap_err(), PoolError::Zero);
        assert_eq!(Pool::builder().processes(1).max_tasks_per_child(0).build().unwrap_err(), PoolError::Zero);
        for n in [1001, usize::MAX] {
            assert_eq!(Pool::new(n).unwrap_err(), PoolError::Segment(SegmentError::TooLarge));
        }
        let pool = Pool::new(1).unwrap();
        assert_eq!(pool.chunksize(0).map(cube, 0..3), Err(TaskError::ChunkSize));
        assert_eq!(pool.chunksize(0).map_with(&1, |_: &u8, x: u8| x, 0..3), Err(TaskError::ChunkSize));
        assert_eq!(pool.imap(cube, 0..3).chunksize(0).next(), Some(Err(TaskError::ChunkSize)));
        let (begun, gate) = gates();
        let result = pool.apply_async(held, (begun, gate.clone()));
        assert_eq!((result.successful(), result.ready()), (Err(NotReady), false));
        gate.store(1, SeqCst);
        result.wait();
        assert_eq!(result.successful(), Ok(true));
        static NUMBER: u64 = 3;
        let number: &'static u64 = &NUMBER;
        let captures = pool.apply(move || *number, ());
        assert!(matches!(captures, Err(TaskError::Encode(_))), "a capture that looks like a pointer: {captures:?}");
    });
}

#[test]
fn hundreds_of_workers_are_at_work_at_once() {
    within(60, || {
        let (pool, here) = (Pool::new(300).unwrap(), Atomic::new(0_u32).unwrap());
        let all_come = |here: Atomic<u32>| {
            here.fetch_add(1, SeqCst);
            until("all are here", || here.load(SeqCst) == 300);
        };
        assert_eq!(pool.chunksize(1).map(all_come, vec![here; 300]), Ok(vec![(); 300]));
    });
}

#[test]
fn workers_end_after_their_number_of_tasks() {
    within(60, || {
        let pool = Pool::builder().processes(1).max_tasks_per_child(2).build().unwrap();
        let ids: Vec<u32> = (0..5).map(|_| pool.apply(std::process::id, ()).unwrap()).collect();
        assert!(ids[0] == ids[1] && ids[2] == ids[3], "{ids:?}");
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 3);
        assert_eq!(pool.chunksize(1).map(cube, 0..100).unwrap(), (0..100).map(cube).collect::<Vec<_>>());
        let insights = pool.insights();
        assert!(insights.workers[0].starts >= 52, "{insights}");
        assert_eq!(insights.workers[0].items, 105);
    });
}

#[test]
fn a_million_tasks_take_bounded_memory() {
    in_a_program(120, a_million_tasks_role);
}

#[test]
fn a_million_tasks_role() {
    let Some(_) = role() else { return };
    let pool = Pool::new(2).unwrap();
    let memory = || status_number(std::process::id(), "VmRSS");
    pool.imap(cube, 0..1000).for_each(drop);
    let before = memory();
    let mut most = 0;
    for (n, result) in (0..1_000_000).zip(pool.imap(cube, 0..).buffer(1000)) {
        assert_eq!(result.unwrap(), cube(n));
        if n % 10_000 == 0 {
            most = most.max(memory());
        }
    }
    assert!(most < before + (32 << 10), "{before} to {most} KiB");
    let all = pool.chunksize(1).map(cube, 0..1_000_000).unwrap();
    assert_eq!(all.len(), 1_000_000);
    assert!(memory() < before + (300 << 10), "{before} to {} KiB", memory());
}

#[test]
fn an_endless_map_takes_what_it_needs() {
    within(60, || {
        let pool = Pool::new(3).unwrap();
        for size in [1, 5] {
            let taken = Cell::new(0);
            let inputs = (0..).inspect(|_| taken.set(taken.get() + 1));
            let mut results = pool.imap(cube, inputs).chunksize(size).buffer(16);
            for n in 0..100 {
                assert_eq!(results.next(), Some(Ok(cube(n))));
                assert!(taken.get() <= n as usize + 1 + 16, "{} taken, {n} given", taken.get());
            }
            let start = Instant::now();
            drop(results);
            assert!(start.elapsed() < Duration::from_secs(2));
            assert!(taken.get() <= 116);
        }
        let slow = |_: u64| -> u64 { until_killed() };
        let mut results = pool.imap(slow, 0..);
        assert!(results.next_timeout(Duration::from_millis(50)).unwrap().unwrap_err().is_timeout());
        let start = Instant::now();
        drop(results);
        drop(pool);
        assert!(start.elapsed() < Duration::from_secs(2));
    });
}

#[test]
fn a_map_gives_results_as_they_come_if_their_order_is_free() {
    within(60, || {
        let pool = Pool::new(2).unwrap();
        let (begun, gate) = gates();
        let open = |(n, gate): (u32, Atomic<u32>)| {
            if n == 0 {
                until("the gate is open", || gate.load(SeqCst) == 1);
            }
            n
        };
        let mut results = pool.imap_unordered(open, (0..3).map(|n| (n, gate.clone())));
        let two: BTreeSet<u32> = (0..2).map(|_| results.next().unwrap().unwrap()).collect();
        assert_eq!(two, [1, 2].into());
        gate.store(1, SeqCst);
        assert_eq!((results.next(), results.next()), (Some(Ok(0)), None));
        drop(begun);
    });
}

#[test]
fn an_iterator_may_borrow_and_may_panic() {
    within(60, || {
        let pool = Pool::new(2).unwrap();
        let text = String::from("one two three");
        let lengths = pool.imap(|word: String| word.len(), text.split(' ').map(String::from));
        assert_eq!(lengths.collect::<Result<Vec<_>, _>>().unwrap(), [3, 3, 5]);
        let broken = (0..10_u64).map(|n| if n == 5 { panic!("no more") } else { n });
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| pool.imap(cube, broken).count()));
        assert!(caught.is_err());
        assert_eq!(pool.apply(cube, (2,)).unwrap(), 8);
    });
}

#[test]
fn functions_of_all_kinds_share_a_pool() {
    within(60, || {
        let pool = Pool::new(2).unwrap();
        let table: [fn(u64) -> u64; 3] = [cube, |x| x + 1, u64::swap_bytes];
        for f in table {
            assert_eq!(pool.map(f, 0..10).unwrap(), (0..10).map(f).collect::<Vec<_>>());
        }
        let texts = pool.starmap(|a: String, n: usize| a.repeat(n), [("x".into(), 3)]).unwrap();
        assert_eq!(texts, ["xxx"]);
        assert_eq!(pool.apply(|| (), ()), Ok(()));
        let eight = |a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: u8| {
            [a, b, c, d, e, f, g, h].map(u32::from).iter().sum::<u32>()
        };
        assert_eq!(pool.apply(eight, (1, 2, 3, 4, 5, 6, 7, 8)), Ok(36));
        assert_eq!(
            pool.map(|s: String| s.trim().parse::<i64>().map_err(|e| e.to_string()), ["1".into(), "x".into()])
                .unwrap()
                .len(),
            2
        );
    });
}

/// Counts in each process how often it was decoded there.
#[derive(Serialize)]
struct Counted(u64);
static DECODED: AtomicUsize = AtomicUsize::new(0);

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        DECODED.fetch_add(1, SeqCst);
        #[derive(Deserialize)]
        struct Plain(u64);
        Plain::deserialize(deserializer).map(|Plain(number)| Counted(number))
    }
}

#[test]
fn a_shared_value_goes_to_each_worker_once() {
    within(60, || {
        let pool = Pool::new(3).unwrap();
        let see = |shared: &Counted, n: u64| (shared.0 + n, DECODED.load(SeqCst), std::process::id());
        let seen = pool.chunksize(1).map_with(&Counted(1000), see, 0..500).unwrap();
        assert!((0..).zip(&seen).all(|(n, seen)| (seen.0, seen.1) == (1000 + n, 1)), "{seen:?}");
        std::thread::scope(|threads| {
            for base in [0, 10_000, 20_000] {
                let pool = &pool;
                threads.spawn(move || {
                    for round in 0..10 {
                        let seen = pool.chunksize(3).map_with(&Counted(base + round), see, 0..100).unwrap();
                        assert!((0..).zip(&seen).all(|(n, seen)| seen.0 == base + round + n));
                    }
                });
            }
        });
    });
}

#[test]
fn a_pool_can_have_many_workers() {
    within(120, || {
        let pool = Pool::new(100).unwrap();
        let (begun, gate) = gates();
        let all: Vec<_> = (0..100).map(|_| pool.apply_async(held, (begun.clone(), gate.clone()))).collect();
        until("all of them work at once", || begun.load(SeqCst) == 100);
        gate.store(1, SeqCst);
        assert!(all.into_iter().all(|result| result.get() == Ok(7)));
    });
}

#[test]
fn results_are_waited_for_in_many_ways() {
    within(60, || {
        let pool = Pool::new(2).unwrap();
        let (begun, gate) = gates();
        let mut slow = pool.apply_async(held, (begun.clone(), gate.clone()));
        let queue = Queue::<u8>::new().unwrap();
        assert_eq!(slow.get_timeout(Duration::from_millis(20)), Err(TaskError::Timeout));
        assert!(!slow.wait_timeout(Duration::from_millis(20)));
        assert!(wait(&[&slow, &queue], Some(Duration::from_millis(20))).is_empty());
        queue.put(1).unwrap();
        assert_eq!(wait(&[&slow, &queue], None), [1]);
        queue.get().unwrap();
        std::thread::scope(|threads| {
            threads.spawn(|| {
                std::thread::sleep(Duration::from_millis(20)); // while the other sleeps, most likely
                gate.store(1, SeqCst);
            });
            assert_eq!(wait(&[&queue, &slow], None), [1]);
        });
        assert_eq!(slow.get_timeout(LIMIT), Ok(7));
        assert_eq!((slow.get_timeout(LIMIT), slow.ready()), (Err(TaskError::Taken), true));
    });
}

#[test]
fn many_threads_share_a_pool() {
    within(120, || {
        let pool = Pool::new(2).unwrap();
        std::thread::scope(|threads| {
            for thread in 0..8_u64 {
                let pool = &pool;
                threads.spawn(move || {
                    for n in 0..300 {
                        match n % 3 {
                            0 => assert_eq!(pool.apply(cube, (n + thread,)), Ok(cube(n + thread))),
                            1 => assert_eq!(pool.map(cube, thread..thread + 20).unwrap()[5], cube(thread + 5)),
                            _ => assert_eq!(pool.imap(cube, thread..).take(5).last(), Some(Ok(cube(thread + 4)))),
                        }
                    }
                });
            }
        });
    });
}

#[test]
fn pools_in_workers_need_workers_that_are_no_daemons() {
    fn nested(n: u64) -> Result<u64, PoolError> {
        let pool = Pool::builder().processes(2).daemon(false).build()?;
        Ok(pool.map(cube, 0..n).unwrap().iter().sum())
    }
    within(60, || {
        let daemons = Pool::new(1).unwrap();
        assert_eq!(daemons.apply(nested, (4,)).unwrap(), Err(PoolError::Spawn(SpawnError::DaemonChild)));
        let pool = Pool::builder().processes(2).daemon(false).build().unwrap();
        assert_eq!(pool.map(nested, [3, 4]).unwrap(), [Ok(9), Ok(36)]);
        assert_eq!(Process::spawn(nested, (4,)).unwrap().join(), Ok(Ok(36)), "made in a plain child it works");
    });
}

#[test]
fn insights_add_up() {
    within(60, || {
        let pool = Pool::new(2).unwrap();
        let slow = |ms: u64| std::thread::sleep(Duration::from_millis(ms));
        pool.chunksize(2).map(slow, [0, 0, 60, 0, 0, 0]).unwrap();
        pool.map(cube, 0..1000).unwrap();
        let insights = pool.insights();
        assert_eq!(insights.workers.iter().map(|worker| worker.items).sum::<u64>(), 1006);
        assert_eq!(insights.workers.iter().map(|worker| worker.tasks).sum::<u64>(), 3 + 8);
        assert!(insights.workers.iter().map(|worker| worker.working).sum::<Duration>() >= Duration::from_millis(60));
        assert!(insights.workers.iter().all(|worker| worker.starts == 1 && worker.start_up < LIMIT), "{insights:?}");
        let slowest = &insights.slowest[0];
        assert_eq!((slowest.index, slowest.items, slowest.input::<(u64,)>()), (Some(2), 2, Some((60,))));
        assert!(slowest.duration >= Duration::from_millis(60) && pids(&pool).contains(&slowest.worker));
        assert!(insights.slowest.len() == 5 && insights.to_string().lines().count() == 3 + 5);
        assert_eq!(pool.workers().iter().map(|worker| worker.tasks).sum::<u64>(), 11);
    });
}
