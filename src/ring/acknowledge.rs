//! Counts for a ring whose user acknowledges items after they were popped (a joinable queue).
//!
//! The ring stores these counts and wakes threads by them. The queue above says what they mean: it changes them under
//! the head's lock, and ends each such operation with
//! [`Popping::finish_acknowledged`](super::Popping::finish_acknowledged). All are 0 in other rings.

use super::ring::Ring;
use std::sync::atomic::Ordering::SeqCst;

impl Ring {
    /// The number of items that were popped and are available again, by the owner's means.
    pub(crate) fn requeued(&self) -> u32 {
        self.queues().requeued.load(SeqCst)
    }

    pub(crate) fn set_requeued(&self, count: u32) {
        self.queues().requeued.store(count, SeqCst);
    }

    /// The number of items, of all that were ever pushed, that are acknowledged.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.queues().acknowledged.load(SeqCst)
    }

    pub(crate) fn set_acknowledged(&self, count: u64) {
        self.queues().acknowledged.store(count, SeqCst);
    }

    /// Whether all items that were ever pushed are acknowledged.
    pub(crate) fn is_drained(&self) -> bool {
        self.committed_tail(self.tail().index.load(SeqCst)) <= self.acknowledged()
    }

    /// Whether a consumer has something to do.
    pub(super) fn has_work(&self) -> bool {
        self.has_items() || self.requeued() != 0
    }
}
