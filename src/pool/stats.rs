//! Sums of what the workers of a slot did, and the slowest tasks of a pool. Times are in nanoseconds.

use super::insights::{SlowTask, WorkerInsights};
use super::task_table::WorkerCounts;
use std::time::Duration;

/// Counts of the workers of a slot that are gone.
#[derive(Default)]
pub(super) struct WorkerTotals {
    counts: WorkerCounts,
    start_up: u64,
    starts: u64,
    /// When the last worker was started.
    started: u64,
}

impl WorkerTotals {
    /// A worker starts.
    pub(super) fn begin(&mut self, now: u64) {
        self.started = now;
    }

    /// How long the last worker took to start; 0 if it never was ready.
    fn last_start_up(&self, counts: WorkerCounts) -> u64 {
        if counts.ready_at == 0 { 0 } else { counts.ready_at.saturating_sub(self.started) }
    }

    /// The last worker is gone.
    pub(super) fn add(&mut self, counts: WorkerCounts) {
        self.start_up += self.last_start_up(counts);
        self.starts += 1;
        let sum = &mut self.counts;
        sum.tasks += counts.tasks;
        sum.items += counts.items;
        sum.working += counts.working;
        sum.waiting += counts.waiting;
    }

    /// The sums, with the counts of the worker that is in the slot now, if there is one.
    pub(super) fn insights(&self, id: u32, name: String, current: Option<WorkerCounts>) -> WorkerInsights {
        let (past, starts) = (&self.counts, self.starts + u64::from(current.is_some()));
        let now = current.unwrap_or_default();
        WorkerInsights {
            id,
            name,
            starts,
            start_up: Duration::from_nanos(self.start_up + self.last_start_up(now)),
            waiting: Duration::from_nanos(past.waiting + now.waiting),
            working: Duration::from_nanos(past.working + now.working),
            tasks: past.tasks + now.tasks,
            items: past.items + now.items,
        }
    }
}

/// The tasks that took longest, the longest first.
#[derive(Default)]
pub(super) struct SlowestTasks(Vec<SlowTask>);

impl SlowestTasks {
    const MOST: usize = 5;

    /// Whether a task of this duration is one of them.
    #[inline]
    pub(super) fn includes(&self, took: u64) -> bool {
        self.0.len() < Self::MOST || self.0.last().is_some_and(|last| u128::from(took) > last.duration.as_nanos())
    }

    pub(super) fn add(&mut self, task: SlowTask) {
        let at = self.0.partition_point(|other| other.duration >= task.duration);
        self.0.insert(at, task);
        self.0.truncate(Self::MOST);
    }

    pub(super) fn to_vec(&self) -> Vec<SlowTask> {
        self.0.clone()
    }
}
