//! Values that the tasks of a job share, by number, while `map_with` runs. Under the lock of the pool's state.

use super::job::Job;
use super::protocol::SharedId;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

#[derive(Default)]
pub(super) struct SharedValues {
    jobs: HashMap<u64, Arc<dyn Job>>,
    /// The numbers that a map has, or has reserved.
    in_use: BTreeSet<u64>,
    last: u64,
}

impl SharedValues {
    /// Reserves a number; returns it with the oldest that is still in use. Workers drop the values before that one.
    pub(super) fn reserve(&mut self) -> SharedId {
        self.last += 1;
        self.in_use.insert(self.last);
        SharedId { number: self.last, oldest: self.in_use.first().copied().unwrap_or(self.last) }
    }

    /// Requests for this number go to this job from here on.
    pub(super) fn insert(&mut self, number: u64, job: Arc<dyn Job>) {
        self.jobs.insert(number, job);
    }

    pub(super) fn job(&self, number: u64) -> Option<Arc<dyn Job>> {
        self.jobs.get(&number).cloned()
    }

    /// Gives a number up.
    pub(super) fn remove(&mut self, number: u64) -> Option<Arc<dyn Job>> {
        self.in_use.remove(&number);
        self.jobs.remove(&number)
    }
}
