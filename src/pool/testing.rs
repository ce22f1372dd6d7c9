//! A pool without threads and processes of its own, so that the kill suite can be its crew.

use super::job::{All, Call, Task};
use super::promise::Promise;
use super::protocol::WorkerConfig;
use super::result::AsyncResult;
use super::shared::{End, Plan, PoolShared};
use super::worker;
use crate::{Message, RawArray, Receiver, Sender, StartMethod};
use std::sync::Arc;

/// A pool whose workers are whoever calls [`TestPool::work`].
#[derive(Debug)]
pub struct TestPool {
    hub: Arc<PoolShared>,
}

impl std::fmt::Debug for PoolShared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PoolShared").finish_non_exhaustive()
    }
}

impl TestPool {
    /// With so many seats; `timed`, items are changed for one by one.
    pub fn new(seats: usize, timed: bool) -> Self {
        let plan = Plan {
            processes: seats,
            initializer: None,
            most_tasks: None,
            method: StartMethod::default(),
            name: "rehearsal".into(),
            daemon: true,
            timeout: timed.then_some(std::time::Duration::from_secs(3600)),
            retries: 0,
            #[cfg(feature = "progress")]
            progress: false,
        };
        let hub = PoolShared::new(plan).unwrap_or_else(|error| panic!("no pool: {error}"));
        for (worker, seat) in (1..).zip(hub.lock().seats.iter_mut()) {
            (seat.worker, seat.pid) = (worker, worker);
        }
        TestPool { hub: Arc::new(hub) }
    }

    /// A map in chunks.
    pub fn map<T: Message, R: Message>(&self, chunk: usize, f: fn(T) -> R, items: Vec<T>) -> AsyncResult<Vec<R>> {
        let task = Task::of(f).unwrap_or_else(|error| panic!("no task: {error}"));
        let promise = Promise::new();
        let items: Vec<_> = items.into_iter().map(|item| (item,)).collect();
        let count = items.len();
        let job = Call::<(T,), R, _>::new(task, items, All::new(promise.clone(), count, &self.hub));
        if let Err(error) = self.hub.submit(job.clone(), (0, count), chunk, true) {
            panic!("not taken: {error}");
        }
        AsyncResult::of(promise, self.hub.clone(), job)
    }

    /// This process is the worker of a seat, for so many tasks.
    pub fn work(&self, seat: usize, most: u64) {
        worker::serve(WorkerConfig {
            tasks: self.hub.desk.0.clone(),
            reports: self.hub.desk.1.clone(),
            board: self.hub.board.clone(),
            seat: seat as u32,
            worker: seat as u32 + 1,
            most: Some(most),
            timed: self.hub.plan.timeout.is_some(),
            initializer: None,
        });
    }

    /// The worker of a seat has ended.
    pub fn bury(&self, seat: usize, code: i32) {
        self.hub.tell_death(seat, End { code, panic: None });
    }

    /// Whether nothing is on its way.
    pub fn is_idle(&self) -> bool {
        !self.hub.lock().is_busy()
    }

    /// What workers and pool share: tasks, reports, board.
    pub fn shared(&self) -> (&Receiver<()>, &Sender<()>, &RawArray<u64>) {
        (&self.hub.desk.0, &self.hub.desk.1, self.hub.board.words())
    }
}
