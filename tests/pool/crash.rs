//! Pools whose workers are killed: the inputs at work are reported as lost, no other is, none runs twice, and no call
//! hangs.

use super::common::{died, is_well, pids, square, tell_and_stay};
use crate::util::{
    Random, in_a_program, is_running, kill, role, servers_of, test_name, until, until_killed, until_within, within,
};
use crossproc::{Atomic, Pool, PoolError, Queue, RawArray, TaskError};
use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

#[test]
fn a_task_dies_with_its_worker_and_the_pool_goes_on() {
    within(60, || {
        let pool = Pool::new(2).unwrap();
        let queue = Queue::new().unwrap();
        let result = pool.apply_async(tell_and_stay, (queue.clone(),));
        let other = pool.apply_async(square, (3,));
        let pid = queue.get().unwrap();
        kill(pid);
        assert_eq!(died(result.get()), (pid, -9, None));
        assert_eq!(other.get(), Ok(9));
        assert_eq!(died(pool.apply(|| std::process::exit(5), ())).1, 5);
        assert_eq!(died(pool.apply(|| std::process::exit(0), ())).1, 0);
        assert_eq!(died(pool.apply(|| std::process::abort(), ())).1, -6);
        is_well(&pool, 2);
        assert!(!pids(&pool).contains(&pid));
    });
}

/// The inputs count in shared memory how often they ran.
fn count((n, runs): (u64, RawArray<u64>)) -> u64 {
    runs.set(n as usize, runs.get(n as usize).unwrap() + 1); // each input has a place of its own
    match n {
        11 => std::process::exit(3),
        23 => kill(std::process::id()),
        _ => {}
    }
    n * n
}

#[test]
fn a_map_loses_the_input_that_its_worker_died_with() {
    within(120, || {
        let pool = Pool::new(2).unwrap();
        const ITEMS: usize = 40;
        for size in [1, 7, 10, ITEMS] {
            let runs = RawArray::<u64>::zeroed(ITEMS).unwrap();
            let inputs = || (0..ITEMS as u64).map(|n| (n, runs.clone()));
            let all_ran = |times: u64| {
                assert!((0..ITEMS).all(|n| runs.get(n) == Some(times)), "chunks of {size}");
            };
            let (_, code, index) = died(pool.chunksize(size).map(count, inputs()));
            assert_eq!((code, index), (3, Some(11)), "the first that failed");
            all_ran(1);
            let results: Vec<_> = pool.imap(count, inputs()).chunksize(size).collect();
            all_ran(2);
            assert_eq!(results.len(), ITEMS);
            for (n, result) in (0..).zip(results) {
                match n {
                    11 => assert_eq!((died(result).1), 3),
                    23 => assert_eq!((died(result).1), -9),
                    _ => assert_eq!(result, Ok(n * n), "chunks of {size}"),
                }
            }
        }
        is_well(&pool, 2);
    });
}

#[test]
fn plain_inputs_keep_the_results_that_they_had() {
    // Results of a kibibyte each: some are in the scratch, some were sent.
    fn text(n: u64) -> String {
        if n == 37 {
            std::process::abort();
        }
        n.to_string().repeat(500)
    }
    within(60, || {
        let pool = Pool::new(2).unwrap();
        for size in [5, 50] {
            let results: Vec<_> = pool.imap(text, 0..50).chunksize(size).collect();
            for (n, result) in (0..50).zip(results) {
                match n {
                    37 => assert_eq!(died(result).2, Some(37)),
                    _ => assert_eq!(result, Ok(n.to_string().repeat(500))),
                }
            }
        }
    });
}

/// A worker that replaces a dead one must not overwrite results of the dead one that are still to be read.
#[test]
fn workers_that_die_one_after_the_other_are_not_mixed_up() {
    fn fourth_dies(n: u64) -> u64 {
        if n % 5 == 3 {
            kill(std::process::id());
        }
        n * n
    }
    within(120, || {
        let pool = Pool::new(4).unwrap();
        for round in 0..30 {
            let results = pool.imap(fourth_dies, 0..100).chunksize(5).buffer(100);
            for (n, result) in (0..).zip(results) {
                match n % 5 {
                    3 => assert_eq!(died(result).2, Some(n as usize)),
                    _ => assert_eq!(result, Ok(n * n), "round {round}, input {n}"),
                }
            }
        }
    });
}

#[test]
fn an_input_is_retried_after_deaths_as_often_as_asked_for() {
    fn third_time((n, tries): (u64, Atomic<u64>)) -> u64 {
        if n == 4 && tries.fetch_add(1, SeqCst) < 2 {
            std::process::abort();
        }
        n
    }
    within(60, || {
        for size in [1, 7] {
            let pool = Pool::builder().processes(2).retries(2).build().unwrap();
            let tries = Atomic::new(0).unwrap();
            let inputs = (0..10).map(|n| (n, tries.clone()));
            assert_eq!(pool.chunksize(size).map(third_time, inputs).unwrap(), (0..10).collect::<Vec<_>>());
            assert_eq!(tries.load(SeqCst), 3);
            let tries = Atomic::new(0_u64).unwrap();
            let always = |tries: Atomic<u64>| -> u8 {
                tries.fetch_add(1, SeqCst);
                std::process::abort()
            };
            assert_eq!(died(pool.apply(always, (tries.clone(),))).1, -6);
            assert_eq!(tries.load(SeqCst), 3, "once, and twice again");
            assert!(matches!(pool.apply(|| panic!("no"), ()), Err(TaskError::Panicked { .. })));
        }
    });
}

#[test]
fn idle_workers_are_killed_while_tasks_flow() {
    within(120, || {
        let pool = Pool::new(3).unwrap();
        let mut random = Random(5);
        let mut results = pool.imap(square, 0..1000);
        let mut lost = 0;
        for n in 0..1000 {
            if n % 50 == 0 {
                until("a worker is there", || !pids(&pool).is_empty());
                let pids = pids(&pool);
                kill(pids[random.next() as usize % pids.len()]);
            }
            match results.next().unwrap() {
                Ok(result) => assert_eq!(result, n * n),
                Err(TaskError::WorkerDied { exit_code: -9, index: Some(index), .. }) => {
                    assert_eq!(index as u64, n);
                    lost += 1;
                }
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(results.next(), None);
        assert!(lost <= 20, "{lost}");
        is_well(&pool, 3);
    });
}

#[test]
fn workers_are_killed_at_any_time_and_no_input_runs_twice() {
    fn mark((n, runs): (usize, RawArray<u64>)) -> usize {
        runs.set(n, runs.get(n).unwrap() + 1);
        n + 1
    }
    within(300, || {
        const ITEMS: usize = 2000;
        let pool = Pool::new(3).unwrap();
        let is_over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|threads| {
            threads.spawn(|| {
                let mut random = Random(11);
                while !is_over.load(SeqCst) {
                    std::thread::sleep(Duration::from_micros(random.next() % 3000));
                    let pids = pids(&pool);
                    if !pids.is_empty() {
                        kill(pids[random.next() as usize % pids.len()]);
                    }
                }
            });
            let mut lost = 0;
            for size in [1, 7, 100, 1, 7, 100] {
                let runs = RawArray::<u64>::zeroed(ITEMS).unwrap();
                let results = pool.imap(mark, (0..ITEMS).map(|n| (n, runs.clone()))).chunksize(size).buffer(600);
                for (n, result) in results.enumerate() {
                    let ran = runs.get(n).unwrap();
                    match result {
                        Ok(result) => assert_eq!((result, ran), (n + 1, 1), "chunks of {size}"),
                        Err(error) => {
                            assert_eq!(died(Err::<(), _>(error)).2, Some(n));
                            assert!(ran <= 1, "{ran}");
                            lost += 1;
                        }
                    }
                }
            }
            is_over.store(true, SeqCst);
            println!("{lost} inputs were lost with their workers");
        });
        is_well(&pool, 3);
        let starts: u64 = pool.insights().workers.iter().map(|worker| worker.starts).sum();
        assert!(starts > 10, "{starts} workers");
    });
}

#[test]
fn the_fork_server_is_killed() {
    in_a_program(60, the_fork_server_role);
}

#[test]
fn the_fork_server_role() {
    let Some(_) = role() else { return };
    let pool = Pool::new(2).unwrap();
    for round in 0..5 {
        let results = pool.map_async(square, 0..1000);
        servers_of(std::process::id()).into_iter().for_each(kill);
        assert_eq!(results.get().unwrap(), (0..1000).map(square).collect::<Vec<_>>());
        until("both are there", || pids(&pool).len() == 2); // the last one killed may only be dying yet
        kill(pids(&pool)[round % 2]); // the next one needs a server
        is_well(&pool, 2);
    }
}

#[test]
fn a_worker_that_takes_too_long_is_killed_and_no_other() {
    fn slow((n, runs): (u64, RawArray<u64>)) -> u64 {
        runs.set(n as usize, runs.get(n as usize).unwrap() + 1);
        if n == 12 {
            until_killed()
        }
        n
    }
    within(120, || {
        let pool = Pool::builder().processes(2).task_timeout(Duration::from_millis(300)).build().unwrap();
        for size in [1, 5, 20] {
            let runs = RawArray::<u64>::zeroed(20).unwrap();
            let results: Vec<_> = pool.imap(slow, (0..20).map(|n| (n, runs.clone()))).chunksize(size).collect();
            for (n, result) in (0..).zip(results) {
                assert_eq!(result, if n == 12 { Err(TaskError::Timeout) } else { Ok(n) }, "chunks of {size}");
            }
            assert!((0..20).all(|n| runs.get(n) == Some(1)));
        }
        // Each of these takes a third of its time, the chunk three times as much.
        let nap = |_: u64| std::thread::sleep(Duration::from_millis(100));
        assert_eq!(pool.chunksize(10).map(nap, 0..10).unwrap().len(), 10);
        is_well(&pool, 2);
    });
}

#[test]
fn an_initializer_that_fails_breaks_the_pool() {
    fn counted(starts: Atomic<u32>, how: u8) -> Result<(), String> {
        starts.fetch_add(1, SeqCst);
        match how {
            0 => panic!("no license"),
            1 => Err("no license".into()),
            _ => std::process::exit(3),
        }
    }
    within(60, || {
        for (how, why) in [(0, "no license"), (1, "no license"), (2, "with exit code 3")] {
            let starts = Atomic::new(0_u32).unwrap();
            let pool = Pool::builder().processes(2).initializer(counted, (starts.clone(), how)).build().unwrap();
            let pending = pool.apply_async(square, (1,));
            let reason = match pending.get() {
                Err(TaskError::PoolBroken(reason)) => reason,
                other => panic!("{other:?}"),
            };
            assert!(reason.contains(why), "{reason}");
            assert_eq!(pool.map(square, 0..3), Err(TaskError::PoolBroken(reason.clone())));
            assert_eq!(pool.join(), Err(PoolError::Broken(reason)));
            assert!(starts.load(SeqCst) <= 6, "{} starts", starts.load(SeqCst));
            assert!(pool.workers().is_empty());
        }
    });
}

#[test]
fn the_initializer_runs_in_workers_that_come_later_and_they_may_be_killed_in_it() {
    within(60, || {
        let starts = Atomic::new(0_u32).unwrap();
        let start = |starts: Atomic<u32>| {
            starts.fetch_add(1, SeqCst);
        };
        let pool = Pool::builder().processes(2).initializer(start, (starts.clone(),)).build().unwrap();
        until("both have begun", || starts.load(SeqCst) == 2);
        for round in 3..8 {
            kill(pids(&pool)[0]);
            until("another one has begun", || starts.load(SeqCst) == round);
            is_well(&pool, 2);
        }
        // And killed before they have, most of them.
        for _ in 0..20 {
            until("one is there", || !pids(&pool).is_empty());
            kill(pids(&pool)[0]);
        }
        is_well(&pool, 2);
        assert!((7..=27).contains(&starts.load(SeqCst)), "{}", starts.load(SeqCst));
    });
}

/// A program with a pool at work, that says who its workers are, and then does nothing.
fn say_workers(pool: &Pool, to: &Queue<u32>) {
    let work = |begun: Queue<u32>| {
        begun.put(std::process::id()).unwrap();
        loop {
            std::thread::sleep(Duration::from_secs(3600));
        }
    };
    for _ in 0..2 {
        pool.apply_async(work, (to.clone(),));
    }
    for _ in 0..2 {
        println!("{}", to.get().unwrap());
    }
}

#[test]
fn the_program_role() {
    let Some(argument) = role() else { return };
    // SAFETY: no pointers. The program has been started as no group's leader.
    assert_ne!(unsafe { libc::setsid() }, -1);
    // A shell starts background jobs with SIGINT ignored, and the tests run in one of those as well.
    // SAFETY: the default disposition needs no code of ours.
    unsafe { libc::signal(libc::SIGINT, libc::SIG_DFL) };
    let pool = Pool::builder().processes(2).daemon(argument != "no daemons").build().unwrap();
    say_workers(&pool, &Queue::new().unwrap());
    if argument == "ends" {
        std::mem::forget(pool);
        std::process::exit(0); // without a word to the pool
    }
    until_killed()
}

/// Such a program in a session of its own; its process and its workers.
fn session(argument: &str) -> (std::process::Child, Vec<u32>) {
    use std::io::{BufRead, BufReader};
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([test_name(&the_program_role), "--exact", "--nocapture", "--test-threads=1", "-q"]);
    command.env("CROSSPROC_TEST_ROLE", argument).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let workers: Vec<u32> = lines.filter_map(|line| line.ok()?.parse().ok()).take(2).collect();
    assert_eq!(workers.iter().collect::<BTreeSet<_>>().len(), 2);
    (child, workers)
}

fn gone_within_a_second(workers: &[u32]) {
    until_within(Duration::from_secs(1), "the workers are gone", || !workers.iter().any(|pid| is_running(*pid)));
}

#[test]
fn workers_end_with_the_program() {
    within(60, || {
        for argument in ["daemons", "no daemons"] {
            let (mut child, workers) = session(argument);
            child.kill().unwrap();
            gone_within_a_second(&workers);
            child.wait().unwrap();
            let (mut child, workers) = session("ends");
            assert_eq!(child.wait().unwrap().code(), Some(0));
            gone_within_a_second(&workers);
        }
    });
}

#[test]
fn an_interrupt_ends_the_program_and_its_workers_without_a_word() {
    use std::io::Read;
    use std::os::unix::process::ExitStatusExt;
    within(60, || {
        for argument in ["daemons", "no daemons"] {
            let (mut child, workers) = session(argument);
            // SAFETY: a group that is the child's own.
            unsafe { libc::kill(-(child.id() as i32), libc::SIGINT) };
            assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGINT), "the program's own disposition");
            gone_within_a_second(&workers);
            let mut said = String::new();
            child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
            assert_eq!(said, "");
        }
    });
}

#[test]
fn pools_end_while_their_workers_die() {
    within(120, || {
        let mut random = Random(3);
        for round in 0..30 {
            let pool = Pool::new(3).unwrap();
            let results = pool.map_async(square, 0..5000);
            for pid in pids(&pool) {
                if random.next().is_multiple_of(2) {
                    kill(pid);
                }
            }
            let begun = Instant::now();
            match round % 3 {
                0 => pool.terminate(),
                1 => pool.close(),
                _ => {}
            }
            if round % 3 != 2 {
                pool.join().unwrap();
            }
            drop(pool);
            assert!(begun.elapsed() < Duration::from_secs(10));
            match results.get() {
                Ok(squares) => assert_eq!(squares.len(), 5000),
                Err(TaskError::WorkerDied { exit_code: -9, .. }) => {}
                Err(error) => assert!(error == TaskError::Cancelled && round % 3 != 1, "{error}"),
            }
        }
    });
}

/// A worker that is stopped delays its own task alone.
#[test]
fn a_stopped_worker_delays_only_what_it_works_at() {
    within(60, || {
        let pool = Pool::new(2).unwrap();
        let queue = Queue::new().unwrap();
        let held = pool.apply_async(tell_and_stay, (queue.clone(),));
        let pid = queue.get().unwrap();
        // SAFETY: a worker of ours.
        unsafe { libc::kill(pid as i32, libc::SIGSTOP) };
        assert_eq!(pool.map(square, 0..1000).unwrap().len(), 1000);
        assert!(!held.ready());
        kill(pid);
        assert_eq!(died(held.get()).0, pid);
    });
}
