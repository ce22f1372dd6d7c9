//! Tasks and checks that several modules use.

use crate::util::{is_running, until, until_killed};
use crossproc::{Atomic, Pool, Queue, TaskError};
use std::sync::atomic::Ordering::SeqCst;

pub fn cube(x: u64) -> u64 {
    x.wrapping_mul(x).wrapping_mul(x)
}

pub fn square(n: u64) -> u64 {
    n * n
}

pub fn pids(pool: &Pool) -> Vec<u32> {
    pool.workers().iter().map(|worker| worker.id).collect()
}

/// Checks that the pool has all its workers, and that they work.
pub fn is_well(pool: &Pool, workers: usize) {
    until("all workers are there", || pids(pool).len() == workers && pids(pool).iter().all(|pid| is_running(*pid)));
    assert_eq!(pool.chunksize(1).map(square, 0..50).unwrap(), (0..50).map(square).collect::<Vec<_>>());
}

pub fn died(result: Result<impl std::fmt::Debug, TaskError>) -> (u32, i32, Option<usize>) {
    match result {
        Err(TaskError::WorkerDied { pid, exit_code, index }) => (pid, exit_code, index),
        other => panic!("{other:?}"),
    }
}

/// A task that says in which process it runs, and works until that is killed.
pub fn tell_and_stay(queue: Queue<u32>) -> u8 {
    queue.put(std::process::id()).unwrap();
    until_killed()
}

/// A task that works until the gate opens.
pub fn held(begun: Atomic<u32>, gate: Atomic<u32>) -> u32 {
    begun.fetch_add(1, SeqCst);
    until("the gate is open", || gate.load(SeqCst) == 1);
    7
}

pub fn gates() -> (Atomic<u32>, Atomic<u32>) {
    (Atomic::new(0).unwrap(), Atomic::new(0).unwrap())
}
