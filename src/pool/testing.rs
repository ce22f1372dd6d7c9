//! A pool without threads and processes of its own: the kill suite plays its workers and its supervisor.

use super::job::{TaskCode, TypedJob};
use super::promise::Promise;
use super::protocol::WorkerConfig;
use super::result::AsyncResult;
use super::shared::{PoolConfig, PoolShared};
use super::sinks::OrderedResults;
use super::worker;
use super::worker_slots::WorkerExit;
use crate::{Message, RawArray, Receiver, Sender, StartMethod};
use std::sync::Arc;

/// A pool whose workers are the processes that call [`TestPool::work`].
#[derive(Debug)]
pub struct TestPool {
    shared: Arc<PoolShared>,
}

impl std::fmt::Debug for PoolShared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PoolShared").finish_non_exhaustive()
    }
}

impl TestPool {
    /// Creates a pool of `workers` workers. With `timed`, each item changes the task's entry.
    pub fn new(workers: usize, timed: bool) -> Self {
        let config = PoolConfig {
            processes: workers,
            initializer: None,
            max_tasks: None,
            method: StartMethod::default(),
            name: "test".into(),
            daemon: true,
            timeout: timed.then_some(std::time::Duration::from_secs(3600)),
            retries: 0,
            progress: false,
        };
        let shared = PoolShared::new(config).unwrap_or_else(|error| panic!("no pool: {error}"));
        for (worker, slot) in (1..).zip(shared.lock().workers.iter_mut()) {
            (slot.worker, slot.pid) = (worker, worker);
        }
        TestPool { shared: Arc::new(shared) }
    }

    /// Starts a map in chunks of `chunk` items.
    pub fn map<T: Message, R: Message>(&self, chunk: usize, f: fn(T) -> R, items: Vec<T>) -> AsyncResult<Vec<R>> {
        let task = TaskCode::of(f).unwrap_or_else(|error| panic!("no task: {error}"));
        let promise = Promise::new();
        let items: Vec<_> = items.into_iter().map(|item| (item,)).collect();
        let count = items.len();
        let job = TypedJob::new(task, items, OrderedResults::<R>::new(promise.clone(), count, None));
        if let Err(error) = self.shared.submit(job.clone(), (0, count), chunk, true) {
            panic!("not submitted: {error}");
        }
        AsyncResult::of(promise, self.shared.clone(), job)
    }

    /// Makes this process the worker in a slot, for `max_tasks` tasks.
    pub fn work(&self, slot: usize, max_tasks: u64) {
        worker::serve(WorkerConfig {
            tasks: self.shared.worker_ends.0.clone(),
            reports: self.shared.worker_ends.1.clone(),
            table: self.shared.table.clone(),
            worker_slot: slot as u32,
            worker: slot as u32 + 1,
            max_tasks: Some(max_tasks),
            is_timed: self.shared.config.timeout.is_some(),
            initializer: None,
        });
    }

    /// Reports that the worker in a slot has ended.
    pub fn report_death(&self, slot: usize, code: i32) {
        self.shared.report_death(slot, WorkerExit { code, panic: None });
    }

    /// Returns whether no task is in flight.
    pub fn is_idle(&self) -> bool {
        !self.shared.lock().in_flight.is_busy()
    }

    /// Returns what workers and pool share: tasks, reports, and the memory of the task table.
    pub fn shared(&self) -> (&Receiver<()>, &Sender<()>, &RawArray<u64>) {
        (&self.shared.worker_ends.0, &self.shared.worker_ends.1, self.shared.table.words())
    }
}
