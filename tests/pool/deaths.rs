//! Deaths of workers whose inputs are plain data, which stay in their messages while a chunk is worked on; handles that
//! a dead worker held; timeouts, initializers and ends of pools while workers die.

use super::common::{died, is_well, pids, square};
use crate::util::{
    LIMIT, Random, in_a_program, is_running, kill, open_descriptors, role, state, until, until_killed, within,
    zombies_of,
};
use crossproc::{Array, Atomic, GetTimeoutError, Pool, PoolBuilder, PoolError, Queue, RawArray, TaskError};
use std::collections::BTreeSet;
use std::sync::OnceLock;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

/// In each worker, where inputs count how often they ran: a place for each.
static RUNS: OnceLock<RawArray<u64>> = OnceLock::new();

fn run(n: u64) {
    let runs = RUNS.get().expect("set by the initializer");
    runs.set(n as usize, runs.get(n as usize).expect("a place") + 1);
}

/// A pool whose inputs need no handle to count.
fn counting(builder: PoolBuilder, inputs: usize) -> (Pool, RawArray<u64>) {
    let runs = RawArray::<u64>::zeroed(inputs).unwrap();
    let start = |runs: RawArray<u64>| RUNS.set(runs).map_err(|_| "twice in one process".to_string());
    (builder.initializer(start, (runs.clone(),)).build().unwrap(), runs)
}

fn counts(runs: &RawArray<u64>, inputs: std::ops::Range<usize>) -> Vec<u64> {
    inputs.map(|n| runs.get(n).unwrap()).collect()
}

/// Ends its worker where that is wanted, in one of four ways.
fn die_at_times(n: u64) -> u64 {
    run(n);
    match n {
        11 => std::process::exit(3),
        12 => std::process::abort(),
        23 => kill(std::process::id()),
        49 => std::process::exit(0),
        _ => {}
    }
    n * n
}

fn end_of(n: u64) -> Option<i32> {
    match n {
        11 => Some(3),
        12 => Some(-6),
        23 => Some(-9),
        49 => Some(0),
        _ => None,
    }
}

#[test]
fn inputs_run_once_and_their_neighbours_have_results() {
    const ITEMS: usize = 50;
    fn with(power: &u32, n: u64) -> u64 {
        die_at_times(n);
        n.pow(*power)
    }
    within(120, || {
        for size in [None, Some(1), Some(7), Some(ITEMS)] {
            let (pool, runs) = counting(Pool::builder().processes(2), ITEMS);
            let chunk = size.unwrap_or(7); // the usual of so many inputs and workers
            let mut times = 0;
            let mut all_ran_once_more = || {
                times += 1;
                assert_eq!(counts(&runs, 0..ITEMS), [times; ITEMS], "in chunks of {size:?}");
            };
            let map = match size {
                None => pool.map(die_at_times, 0..ITEMS as u64),
                Some(size) => pool.chunksize(size).map(die_at_times, 0..ITEMS as u64),
            };
            let (_, code, index) = died(map);
            assert_eq!((code, index), (3, Some(11)));
            all_ran_once_more();
            let (_, code, index) = died(pool.chunksize(chunk).map_with(&2, with, 0..ITEMS as u64));
            assert_eq!((code, index), (3, Some(11)));
            all_ran_once_more();
            let results: Vec<_> = pool.imap(die_at_times, 0..ITEMS as u64).chunksize(chunk).collect();
            assert_eq!(results.len(), ITEMS);
            all_ran_once_more();
            let mut dead = BTreeSet::new();
            for (n, result) in (0..).zip(results) {
                match end_of(n) {
                    Some(end) => {
                        let (pid, code, index) = died(result);
                        assert_eq!((code, index), (end, Some(n as usize)));
                        assert!(dead.insert(pid) && !is_running(pid), "a process dies once");
                    }
                    None => assert_eq!(result, Ok(n * n)),
                }
            }
            let unordered: Vec<_> = pool.imap_unordered(die_at_times, 0..ITEMS as u64).chunksize(chunk).collect();
            all_ran_once_more();
            let (good, bad): (Vec<_>, Vec<_>) = unordered.into_iter().partition(Result::is_ok);
            let good: BTreeSet<u64> = good.into_iter().map(Result::unwrap).collect();
            assert_eq!(good, (0..ITEMS as u64).filter(|n| end_of(*n).is_none()).map(|n| n * n).collect());
            let bad: BTreeSet<_> = bad.into_iter().map(|error| died(error).2.unwrap()).collect();
            assert_eq!(bad, [11, 12, 23, 49].into());
            is_well(&pool, 2);
            // Each of the four maps, four.
            assert_eq!(pool.insights().workers.iter().map(|worker| worker.starts).sum::<u64>(), 2 + 16);
        }
    });
}

#[test]
fn two_hundred_workers_are_killed_under_maps() {
    const ITEMS: usize = 1000;
    const KILLS: usize = 200;
    fn text(n: u64) -> String {
        run(n);
        n.to_string().repeat(20)
    }
    within(120, || {
        let (pool, runs) = counting(Pool::builder().processes(3), ITEMS);
        let kills = AtomicUsize::new(0);
        let (mut lost, mut rounds) = (0, 0);
        std::thread::scope(|threads| {
            threads.spawn(|| {
                let mut random = Random(23);
                let mut killed = BTreeSet::new();
                while killed.len() < KILLS {
                    let wait = Instant::now();
                    let pause = Duration::from_micros(random.next() % 4000);
                    until("it is time", || wait.elapsed() >= pause);
                    let pids = pids(&pool);
                    // A process that was killed is listed until its end has been seen.
                    if let Some(pid) = pids.get(random.next() as usize % pids.len().max(1))
                        && killed.insert(*pid)
                    {
                        kill(*pid);
                        kills.fetch_add(1, SeqCst);
                    }
                }
            });
            while kills.load(SeqCst) < KILLS {
                rounds += 1;
                let before = counts(&runs, 0..ITEMS);
                let ran = |n: usize| runs.get(n).unwrap() - before[n];
                let size = [1, 7, 125][rounds % 3];
                if rounds % 2 == 0 {
                    match pool.chunksize(size).map(text, 0..ITEMS as u64) {
                        Ok(texts) => {
                            assert!((0..).zip(&texts).all(|(n, text)| *text == n.to_string().repeat(20)));
                            assert!((0..ITEMS).all(|n| ran(n) == 1));
                        }
                        Err(error) => {
                            let (_, code, index) = died(Err::<(), _>(error));
                            assert_eq!(code, -9);
                            // Those before the first that was lost have results.
                            assert!((0..index.unwrap()).all(|n| ran(n) == 1));
                            assert!((0..ITEMS).all(|n| ran(n) <= 1));
                        }
                    }
                } else {
                    for (n, result) in pool.imap(text, 0..ITEMS as u64).chunksize(size).buffer(300).enumerate() {
                        match result {
                            Ok(text) => assert_eq!((text, ran(n)), (n.to_string().repeat(20), 1)),
                            Err(error) => {
                                assert_eq!(died(Err::<(), _>(error)).2, Some(n));
                                assert!(ran(n) <= 1);
                                lost += 1;
                            }
                        }
                    }
                }
            }
        });
        assert_eq!(kills.load(SeqCst), KILLS);
        assert!(rounds > 2 && lost <= KILLS, "{rounds} maps, {lost} inputs lost");
        until("each of them was replaced, and nobody else", || {
            pool.insights().workers.iter().map(|worker| worker.starts).sum::<u64>() == 3 + KILLS as u64
        });
        is_well(&pool, 3);
    });
}

#[test]
fn each_input_of_a_chunk_has_tries_of_its_own() {
    fn third_time(n: u64) -> u64 {
        run(n);
        let is_last = RUNS.get().unwrap().get(n as usize) == Some(3);
        match n {
            4 | 5 | 9 if !is_last => std::process::abort(),
            7 => panic!("this is no death"),
            _ => n,
        }
    }
    within(60, || {
        for size in [1, 5, 10] {
            let (pool, runs) = counting(Pool::builder().processes(2).retries(2), 20);
            let results: Vec<_> = pool.imap(third_time, 0..10).chunksize(size).collect();
            for (n, result) in (0..).zip(results) {
                match n {
                    7 => assert!(matches!(result, Err(TaskError::Panicked { index: Some(7), .. })), "{result:?}"),
                    _ => assert_eq!(result, Ok(n)),
                }
            }
            assert_eq!(counts(&runs, 0..10), [1, 1, 1, 1, 3, 3, 1, 1, 1, 3], "in chunks of {size}");
            let always = |n: u64| -> u64 {
                run(n);
                std::process::exit(9)
            };
            let results: Vec<_> = pool.imap(always, 10..12).chunksize(size).collect();
            assert_eq!(results.into_iter().map(|result| died(result).2).collect::<Vec<_>>(), [Some(0), Some(1)]);
            assert_eq!(counts(&runs, 10..12), [3, 3]);
            is_well(&pool, 2);
        }
        let timed = Pool::builder().processes(1).retries(5).task_timeout(Duration::from_millis(50));
        let (pool, runs) = counting(timed, 1);
        let stuck = |n: u64| -> u64 {
            run(n);
            until_killed()
        };
        assert_eq!(pool.apply(stuck, (0,)), Err(TaskError::Timeout));
        is_well(&pool, 1);
        assert_eq!(runs.get(0), Some(1), "a time-out is no death");
    });
}

#[test]
fn the_slow_input_of_a_chunk_is_killed_and_its_worker_replaced() {
    const TIMEOUT: Duration = Duration::from_millis(200);
    fn slow(n: u64) -> u64 {
        run(n);
        if n == 12 { until_killed() } else { n }
    }
    within(60, || {
        for size in [1, 5, 20] {
            let (pool, runs) = counting(Pool::builder().processes(2).task_timeout(TIMEOUT), 20);
            let before = pids(&pool);
            let start = Instant::now();
            let results: Vec<_> = pool.imap(slow, 0..20).chunksize(size).collect();
            assert!((TIMEOUT..10 * TIMEOUT).contains(&start.elapsed()), "{:?}", start.elapsed());
            for (n, result) in (0..).zip(results) {
                assert_eq!(result, if n == 12 { Err(TaskError::Timeout) } else { Ok(n) }, "chunks of {size}");
            }
            assert_eq!(counts(&runs, 0..20), [1; 20]);
            is_well(&pool, 2);
            let gone: Vec<_> = before.iter().filter(|pid| !pids(&pool).contains(pid)).collect();
            assert!(gone.len() == 1 && !is_running(*gone[0]), "{before:?}, {gone:?}");
            assert_eq!(pool.chunksize(size).map(slow, 0..20), Err(TaskError::Timeout));
        }
    });
}

/// The board has 16 bits for the number of an item.
#[test]
fn a_chunk_has_more_inputs_than_two_bytes_can_count() {
    const MANY: u64 = 70_000;
    fn last_dies(n: u64) -> u64 {
        if n == MANY - 2 {
            std::process::exit(4);
        }
        n + 1
    }
    within(120, || {
        for timeout in [None, Some(LIMIT)] {
            let builder = Pool::builder().processes(2);
            let pool = timeout.into_iter().fold(builder, PoolBuilder::task_timeout).build().unwrap();
            let one_chunk = pool.chunksize(MANY as usize);
            assert_eq!(one_chunk.map(|n| n + 1, 0..MANY).unwrap(), (1..=MANY).collect::<Vec<_>>());
            let (_, code, index) = died(one_chunk.map(last_dies, 0..MANY));
            assert_eq!((code, index), (4, Some(MANY as usize - 2)));
            let results = pool.imap(last_dies, 0..MANY).chunksize(MANY as usize);
            let good = (0..).zip(results).filter(|(n, result)| *result == Ok(n + 1)).count() as u64;
            assert_eq!(good, MANY - 1);
        }
    });
}

#[test]
fn an_initializer_that_fails_later_breaks_a_pool_that_worked() {
    fn third_fails(starts: Atomic<u32>) -> Result<(), String> {
        if starts.fetch_add(1, SeqCst) < 2 { Ok(()) } else { Err("the license has ended".into()) }
    }
    within(60, || {
        let starts = Atomic::new(0).unwrap();
        let pool = Pool::builder().processes(2).initializer(third_fails, (starts.clone(),)).build().unwrap();
        until("both have begun", || starts.load(SeqCst) == 2);
        assert_eq!(pool.map(square, 0..10).unwrap().len(), 10);
        let pending = pool.apply_async(|| -> u8 { until_killed() }, ());
        kill(pids(&pool)[0]);
        let reason = match pending.get() {
            // Whether it was begun by the one who was killed, is free.
            Err(TaskError::PoolBroken(reason)) => Some(reason),
            Err(TaskError::WorkerDied { exit_code: -9, .. }) => None,
            other => panic!("{other:?}"),
        };
        until("it is broken", || matches!(pool.apply(square, (1,)), Err(TaskError::PoolBroken(_))));
        let Err(PoolError::Broken(why)) = pool.join() else { panic!("it is broken") };
        assert!(why.contains("the license has ended"), "{why}");
        assert!(reason.is_none_or(|reason| reason == why));
        assert_eq!((starts.load(SeqCst), pids(&pool).len()), (3, 0));
        assert_eq!(pool.join(), Err(PoolError::Broken(why)), "and so it stays");
    });
}

#[test]
fn workers_die_while_they_take_a_large_shared_value() {
    within(120, || {
        let pool = Pool::new(3).unwrap();
        let large = vec![7_u64; 2 << 20];
        let at = |large: &Vec<u64>, n: u64| (large.len() as u64, large[n as usize] + n);
        let is_over = std::sync::atomic::AtomicBool::new(false);
        let mut lost = 0;
        std::thread::scope(|threads| {
            threads.spawn(|| {
                let mut random = Random(31);
                // A limit, because a slow machine might never finish a value between two kills.
                for _ in (0..300).take_while(|_| !is_over.load(SeqCst)) {
                    let (wait, pause) = (Instant::now(), Duration::from_micros(random.next() % 20_000));
                    until("it is time", || wait.elapsed() >= pause);
                    pids(&pool).get(random.next() as usize % 3).into_iter().for_each(|pid| kill(*pid));
                }
            });
            for _ in 0..30 {
                match pool.chunksize(10).map_with(&large, at, 0..200) {
                    Ok(results) => assert_eq!(results, (0..200).map(|n| (2 << 20, 7 + n)).collect::<Vec<_>>()),
                    Err(error) => {
                        assert_eq!(died(Err::<(), _>(error)).1, -9);
                        lost += 1;
                    }
                }
            }
            is_over.store(true, SeqCst);
        });
        println!("{lost} of 30 maps had a loss");
        is_well(&pool, 3);
        assert_eq!(pool.map_with(&large, at, 0..2).unwrap(), [(2 << 20, 7), (2 << 20, 8)]);
    });
}

#[test]
fn handles_that_dead_workers_held_are_released() {
    within(60, || {
        let pool = Pool::new(2).unwrap();
        let queue = Queue::<u64>::new().unwrap();
        for how in 0..3 {
            let dies = |queue: Queue<u64>, n: u64, how: u8| {
                queue.put(n).unwrap();
                match (n % 3, how) {
                    (1, 0) => std::process::abort(),
                    (1, 1) => std::process::exit(1),
                    (1, _) => kill(std::process::id()),
                    _ => {}
                }
                Array::from_slice(&[n; 2000]).unwrap()
            };
            let inputs = (0..30).map(|n| (queue.clone(), n, how));
            let result = pool.chunksize(5).starmap(dies, inputs).unwrap_err();
            assert_eq!(died(Err::<(), _>(result)).2, Some(1));
            let mut put: Vec<u64> = std::iter::from_fn(|| queue.try_get().ok()).collect();
            put.sort_unstable();
            assert_eq!(put, (0..30).collect::<Vec<_>>(), "each ran once");
            assert_eq!(queue.get_timeout(LIMIT), Err(GetTimeoutError::Disconnected), "nobody has it any more");
        }
        fn make(n: u64) -> Array<u64> {
            if n % 4 == 2 {
                kill(std::process::id());
            }
            Array::from_slice(&[n; 2000]).unwrap()
        }
        for (n, result) in (0..).zip(pool.imap(make, 0..40).chunksize(8)) {
            match n % 4 {
                2 => assert_eq!(died(result).2, Some(n as usize)),
                _ => assert_eq!(result.unwrap().to_vec().unwrap(), [n; 2000]),
            }
        }
        is_well(&pool, 2);
    });
}

#[test]
fn deaths_leave_nothing_behind() {
    in_a_program(120, deaths_leave_nothing_behind_role);
}

#[test]
fn deaths_leave_nothing_behind_role() {
    let Some(_) = role() else { return };
    fn third_dies(n: u64, queue: Queue<u64>, array: Array<u64>) -> Array<u64> {
        queue.put(n).unwrap();
        if n % 3 == 1 {
            std::process::exit(1);
        }
        array
    }
    let pool = Pool::new(2).unwrap();
    let retiring = Pool::builder().processes(1).max_tasks_per_child(1).build().unwrap();
    let some_die = |round: u64| {
        let queue = Queue::new().unwrap();
        let array = Array::from_slice(&[round; 20_000]).unwrap(); // in a segment of its own
        let inputs = (0..6).map(|n| (n, queue.clone(), array.clone()));
        let error = pool.chunksize(1 + round as usize % 4).starmap(third_dies, inputs).unwrap_err();
        assert_eq!(died(Err::<(), _>(error)).2, Some(1));
        let unfinished =
            pool.imap(|(n, array): (usize, Array<u64>)| array.get(n).unwrap(), (0..).map(|n| (n, array.clone())));
        assert_eq!(unfinished.take(3).map(Result::unwrap).collect::<Vec<_>>(), [round; 3]);
        assert_eq!(retiring.apply(square, (3,)), Ok(9));
    };
    // Every death has been dealt with, and every seat taken again.
    let after = |rounds: u64| {
        let starts = |pool: &Pool| pool.insights().workers.iter().map(|worker| worker.starts).sum::<u64>();
        until("the last ones are replaced", || starts(&pool) == 2 + 2 * rounds && starts(&retiring) == 1 + rounds);
        is_well(&pool, 2);
        until("the next one is there", || pids(&retiring).len() == 1);
        (open_descriptors().len(), std::fs::read_dir("/proc/self/task").unwrap().count())
    };
    (0..5).for_each(some_die);
    let few = after(5);
    (0..100).for_each(some_die);
    let many = after(105);
    assert!(many.0 <= few.0 + 4 && many.1 <= few.1, "{few:?} to {many:?}: {:#?}", open_descriptors());
    assert_eq!(zombies_of(std::process::id()), Vec::<u32>::new());
}

#[test]
fn a_stack_that_overflows_is_a_death() {
    #[allow(unconditional_recursion, reason = "that is what it is for")]
    fn deep(n: u64) -> u64 {
        std::hint::black_box(deep(std::hint::black_box(n + 1)) + 1)
    }
    within(60, || {
        let pool = Pool::new(1).unwrap();
        let (_, code, index) = died(pool.chunksize(2).map(|n| if n == 1 { deep(n) } else { n }, 0..3));
        assert!(matches!(code, -6 | -11), "{code}");
        assert_eq!(index, Some(1));
        is_well(&pool, 1);
    });
}

#[test]
fn signals_other_than_kill_are_reported_by_number() {
    within(60, || {
        let pool = Pool::new(1).unwrap();
        let begun = Atomic::new(0_u32).unwrap();
        let stuck = |begun: Atomic<u32>| -> u8 {
            begun.fetch_add(1, SeqCst);
            until_killed()
        };
        for (round, signal) in (1..).zip([libc::SIGTERM, libc::SIGSEGV, libc::SIGHUP]) {
            let result = pool.apply_async(stuck, (begun.clone(),));
            // A worker can be at work a moment before it is listed.
            until("it has begun", || begun.load(SeqCst) == round && pids(&pool).len() == 1);
            let pid = pids(&pool)[0];
            // SAFETY: a worker of ours.
            unsafe { libc::kill(pid as i32, signal) };
            assert_eq!(died(result.get()), (pid, -signal, None));
        }
        is_well(&pool, 1);
        // An interrupt is the program's to answer.
        let gate = Atomic::new(0_u32).unwrap();
        let held = |begun: Atomic<u32>, gate: Atomic<u32>| {
            begun.fetch_add(1, SeqCst);
            until("the gate is open", || gate.load(SeqCst) == 1);
            std::process::id()
        };
        let result = pool.apply_async(held, (begun.clone(), gate.clone()));
        until("it has begun", || begun.load(SeqCst) == 4 && pids(&pool).len() == 1);
        let pid = pids(&pool)[0];
        // SAFETY: a worker of ours.
        unsafe { libc::kill(pid as i32, libc::SIGINT) };
        gate.store(1, SeqCst);
        assert_eq!((result.get(), pool.apply(std::process::id, ())), (Ok(pid), Ok(pid)));
    });
}

#[test]
fn a_closed_pool_replaces_its_dead_until_all_is_done() {
    within(120, || {
        for round in 0..10 {
            let (pool, runs) = counting(Pool::builder().processes(2), 300);
            let gate = Atomic::new(0_u32).unwrap();
            let task = |n: u64, gate: Atomic<u32>| {
                run(n);
                until("the gate is open", || gate.load(SeqCst) == 1);
                n
            };
            let results: Vec<_> = (0..300).map(|n| pool.apply_async(task, (n, gate.clone()))).collect();
            until("both work", || runs.get(0) == Some(1) && runs.get(1) == Some(1));
            pool.close();
            let all = pids(&pool);
            all.iter().for_each(|pid| kill(*pid));
            gate.store(1, SeqCst);
            pool.join().unwrap();
            for (n, result) in (0..).zip(results) {
                match n {
                    0 | 1 => assert!(all.contains(&died(result.get()).0), "round {round}"),
                    _ => assert_eq!(result.get(), Ok(n), "round {round}"),
                }
            }
            assert_eq!(counts(&runs, 0..300), [1; 300]);
            assert!(pids(&pool).is_empty() && all.iter().all(|pid| !is_running(*pid)));
        }
    });
}

#[test]
fn a_pool_ends_although_its_workers_are_stopped() {
    within(60, || {
        for by_drop in [false, true] {
            let pool = Pool::new(2).unwrap();
            let pending = pool.map_async(square, 0..100_000);
            let workers = pids(&pool);
            for pid in &workers {
                // SAFETY: a worker of ours.
                unsafe { libc::kill(*pid as i32, libc::SIGSTOP) };
            }
            until("they have stopped", || workers.iter().all(|pid| state(*pid) == Some('T')));
            let start = Instant::now();
            if !by_drop {
                pool.terminate();
                pool.join().unwrap();
            }
            drop(pool);
            assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
            assert!(workers.iter().all(|pid| !is_running(*pid)));
            assert!(matches!(pending.get(), Err(TaskError::Cancelled) | Ok(_)));
        }
    });
}
