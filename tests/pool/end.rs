//! The end of a pool: closed, terminated, dropped, cancelled, beside a fork, and what is left afterwards.

use super::common::{cube, gates, held, pids};
use crate::util::{
    self, by_itself, children_of, in_a_program, is_running, open_descriptors, role, until, until_killed, within,
};
use crossproc::{Atomic, Pool, PoolError, TaskError};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc;
use std::time::{Duration, Instant};

#[test]
fn a_pool_that_is_closed_takes_nothing_and_ends_in_order() {
    within(60, || {
        let pool = Pool::new(2).unwrap();
        assert_eq!(pool.join(), Err(PoolError::StillRunning));
        let before: Vec<_> = (0..100).map(|n| pool.apply_async(cube, (n,))).collect();
        let workers = pids(&pool);
        pool.close();
        pool.close();
        assert_eq!(pool.apply(cube, (1,)), Err(TaskError::PoolClosed));
        assert_eq!(pool.apply_async(cube, (1,)).get(), Err(TaskError::PoolClosed));
        assert_eq!(pool.map(cube, [1]), Err(TaskError::PoolClosed));
        assert_eq!(pool.map(cube, []), Err(TaskError::PoolClosed));
        assert_eq!(pool.starmap(cube, [(1,)]), Err(TaskError::PoolClosed));
        assert_eq!(pool.map_with(&1, |_: &u8, x: u8| x, [1]), Err(TaskError::PoolClosed));
        let mut lazy = pool.imap(cube, [1]);
        assert_eq!((lazy.next(), lazy.next()), (Some(Err(TaskError::PoolClosed)), None));
        pool.join().unwrap();
        pool.join().unwrap();
        assert!(before.iter().all(|result| result.ready()));
        assert!(workers.iter().all(|pid| !is_running(*pid)));
        assert_eq!(before.into_iter().map(|result| result.get().unwrap()).sum::<u64>(), (0..100).map(cube).sum());
        pool.terminate();
        pool.join().unwrap();
        assert!(pool.workers().is_empty());
    });
}

#[test]
fn ten_thousand_tasks_of_an_hour_end_at_once() {
    in_a_program(60, ten_thousand_tasks_of_an_hour_role);
}

#[test]
fn ten_thousand_tasks_of_an_hour_role() {
    let Some(_) = role() else { return };
    let pool = Pool::new(3).unwrap();
    let begun = Atomic::new(0_u32).unwrap();
    let sleep = |begun: Atomic<u32>| {
        begun.fetch_add(1, SeqCst);
        std::thread::sleep(Duration::from_secs(3600));
    };
    let results: Vec<_> = (0..10_000).map(|_| pool.apply_async(sleep, (begun.clone(),))).collect();
    until("all workers work", || begun.load(SeqCst) == 3);
    let start = Instant::now();
    pool.terminate();
    pool.join().unwrap();
    assert!(start.elapsed() < Duration::from_secs(3));
    assert!(results.into_iter().all(|result| result.get() == Err(TaskError::Cancelled)));
    assert_eq!(begun.load(SeqCst), 3);
    let workers =
        children_of(std::process::id()).into_iter().filter(|pid| util::name_of(*pid).starts_with("PoolWorker"));
    assert_eq!(workers.count(), 0);
}

#[test]
fn what_has_not_begun_can_be_taken_back() {
    within(60, || {
        let pool = Pool::new(1).unwrap();
        let (begun, gate) = gates();
        let first = pool.apply_async(held, (begun.clone(), gate.clone()));
        until("it has begun", || begun.load(SeqCst) == 1);
        assert!(!first.cancel(), "it has begun");
        let (to, from) = mpsc::channel();
        let queued = pool
            .apply_async(held, (begun.clone(), gate.clone()))
            .on_error(move |error| to.send(error.clone()).unwrap());
        assert!(queued.cancel() && !queued.cancel());
        assert_eq!((queued.get(), from.recv()), (Err(TaskError::Cancelled), Ok(TaskError::Cancelled)));
        let many = pool.map_async(|begun: Atomic<u32>| begun.fetch_add(1, SeqCst), vec![begun.clone(); 3000]);
        assert!(many.cancel());
        assert_eq!(many.get(), Err(TaskError::Cancelled));
        gate.store(1, SeqCst);
        assert_eq!(first.get(), Ok(7));
        assert_eq!((pool.apply(cube, (2,)), begun.load(SeqCst)), (Ok(8), 1), "and nothing of it ran");
        let done = pool.apply_async(cube, (1,));
        done.wait();
        assert!(!done.cancel());
    });
}

#[test]
fn one_thread_waits_and_another_cancels_or_terminates() {
    within(60, || {
        for round in 0..20 {
            let pool = Pool::new(1).unwrap();
            let (begun, gate) = gates();
            let first = pool.apply_async(held, (begun.clone(), gate.clone()));
            until("it has begun", || begun.load(SeqCst) == 1);
            let second = pool.apply_async(held, (begun.clone(), gate.clone()));
            std::thread::scope(|threads| {
                let waits = threads.spawn(|| second.wait());
                let (pool, second) = (&pool, &second);
                threads.spawn(move || if round % 2 == 0 { assert!(second.cancel()) } else { pool.terminate() });
                waits.join().unwrap();
            });
            assert_eq!(second.get(), Err(TaskError::Cancelled));
            gate.store(1, SeqCst);
            let _ = first.get();
        }
    });
}

#[test]
fn nothing_is_left_of_many_pools() {
    in_a_program(120, nothing_is_left_of_many_pools_role);
}

#[test]
fn nothing_is_left_of_many_pools_role() {
    let Some(_) = role() else { return };
    let use_one = |round: u64| {
        let pool = Pool::new(2).unwrap();
        let pending = pool.map_async(|_: u64| -> u64 { until_killed() }, 0..100);
        if round.is_multiple_of(2) {
            assert_eq!(pool.insights().workers.len(), 2);
        }
        let workers = pids(&pool);
        drop(pool); // while it runs
        assert_eq!(pending.get(), Err(TaskError::Cancelled));
        assert!(workers.iter().all(|pid| !is_running(*pid)));
    };
    (0..3).for_each(use_one);
    let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
    let before = (open_descriptors().len(), threads());
    (0..50).for_each(use_one);
    assert!(open_descriptors().len() <= before.0 + 2, "{:?}", open_descriptors());
    assert!(threads() <= before.1 + 1);
}

#[test]
fn a_fork_of_the_program_has_no_pool() {
    by_itself(60, || {
        let pool = Pool::new(1).unwrap();
        let (begun, gate) = gates();
        let pending = pool.apply_async(held, (begun.clone(), gate.clone()));
        until("it has begun", || begun.load(SeqCst) == 1);
        // SAFETY: the child uses what the pool's threads do not hold.
        let child = unsafe {
            crossproc::fork(|| {
                let refused = pool.apply(cube, (1,)) == Err(TaskError::PoolClosed);
                pool.close();
                pool.terminate();
                (refused, pool.join(), pool.workers().len(), pending.get())
            })
        };
        assert_eq!(child.unwrap().join(), Ok((true, Ok(()), 0, Err(TaskError::PoolClosed))));
        gate.store(1, SeqCst);
        assert_eq!(pool.apply(cube, (2,)), Ok(8), "and here it goes on");
        drop(pool);
    });
}
