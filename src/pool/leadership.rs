//! Which thread reads the reports of the workers, and which threads could take over. Under the lock of the pool's
//! state.

use super::protocol::RETRY_FOR;
use crate::sys::Deadline;
use std::thread::{Thread, ThreadId};

#[derive(Default)]
pub(super) struct Leadership {
    leader: Option<ThreadId>,
    /// Threads that wait for a result, and could lead.
    waiters: Vec<Thread>,
    /// When a report that cannot be received whole is given up.
    give_up: Option<Deadline>,
}

impl Leadership {
    pub(super) fn has_leader(&self) -> bool {
        self.leader.is_some()
    }

    /// This thread leads from here on, unless another one does.
    pub(super) fn try_lead(&mut self) -> bool {
        let is_free = self.leader.is_none();
        if is_free {
            self.leader = Some(std::thread::current().id());
        }
        is_free
    }

    pub(super) fn resign(&mut self) {
        self.leader = None;
    }

    /// Whether one of these threads leads, and is not this thread.
    pub(super) fn is_other_leader_among(&self, threads: &[Thread]) -> bool {
        let leader = self.leader.filter(|leader| *leader != std::thread::current().id());
        threads.iter().any(|thread| Some(thread.id()) == leader)
    }

    pub(super) fn add_waiter(&mut self, waiter: &Thread) {
        if !self.waiters.iter().any(|other| other.id() == waiter.id()) {
            self.waiters.push(waiter.clone());
        }
    }

    pub(super) fn remove_waiter(&mut self, waiter: ThreadId) {
        self.waiters.retain(|other| other.id() != waiter);
    }

    pub(super) fn pop_waiter(&mut self) -> Option<Thread> {
        self.waiters.pop()
    }

    pub(super) fn take_waiters(&mut self) -> Vec<Thread> {
        std::mem::take(&mut self.waiters)
    }

    /// There is no memory or no descriptor for the next report. Whether that has been so for long enough to give the
    /// report up.
    pub(super) fn gives_up(&mut self) -> bool {
        self.give_up.get_or_insert_with(|| Deadline::after(RETRY_FOR)).has_passed()
    }

    /// Reports can be received again.
    pub(super) fn reset_give_up(&mut self) {
        self.give_up = None;
    }
}
