//! Taking and leaving the locks of a ring, and the wake rule (see the table in the module's header).

use super::error::RingError;
use super::ring::Ring;
use crate::sync::backstop;
use crate::sync::section::{self, Section};
use crate::sync::{EventCount, LockFailure, Timeout};
use std::sync::atomic::Ordering::SeqCst;

/// The operation after which the wake rule is applied.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Push(u32),
    Pop(u32),
    FailedPush,
    FailedPop,
    /// A thread did not get a lock in time: a wake that it received may be what others need.
    FailedLock,
    /// The ring was closed, or its holders changed, or a holder of a lock had died.
    Change,
    /// Items were acknowledged.
    Acknowledge,
}

impl Ring {
    /// Takes the tail's lock, and repairs the tail half if its holder died.
    #[inline(always)]
    pub(super) fn lock_tail(&self, timeout: Timeout) -> Result<Section<'_>, LockFailure> {
        let section = section::enter(&self.tail().lock, &self.queues().tail_lock, timeout)?;
        if section.owner_died() {
            self.repair_tail();
        }
        Ok(section)
    }

    /// Takes the head's lock, and repairs the head half if its holder died.
    #[inline(always)]
    pub(super) fn lock_head(&self, timeout: Timeout) -> Result<Section<'_>, LockFailure> {
        let section = section::enter(&self.head().lock, &self.queues().head_lock, timeout)?;
        if section.owner_died() {
            self.repair_head();
        }
        Ok(section)
    }

    /// Returns the error of a thread that did not get a lock, after it passed on a wake that it may have received.
    #[cold]
    pub(super) fn give_up(&self, failure: LockFailure) -> RingError {
        self.wake(Operation::FailedLock);
        failure.into()
    }

    /// Releases a lock and applies the wake rule.
    #[inline(always)]
    pub(super) fn leave(&self, section: Section<'_>, operation: Operation) {
        let operation = if section.owner_died() { Operation::Change } else { operation };
        section.leave(|| {
            let queues = self.queues();
            if operation == Operation::Change
                || operation == Operation::Acknowledge
                || queues.consumers.has_waiters()
                || queues.producers.has_waiters()
                || queues.tail_lock.has_waiters()
                || queues.head_lock.has_waiters()
            {
                self.wake(operation);
            }
        });
    }

    /// Applies the wake rule.
    #[cold]
    #[inline(never)]
    pub(super) fn wake(&self, operation: Operation) {
        let queues = self.queues();
        let all = operation == Operation::Change || self.is_closed();
        let most = |count: u32| if all { EventCount::ALL } else { count };
        let (pushed, popped) = match operation {
            Operation::Push(count) => (count, 1),
            Operation::Pop(count) => (1, count),
            _ => (1, 1),
        };
        let popped = if self.wakes_all_producers { EventCount::ALL } else { popped };
        if queues.consumers.has_waiters() && (all || operation != Operation::FailedPop && self.has_work()) {
            queues.consumers.notify(most(pushed));
        }
        if queues.producers.has_waiters() && (all || operation != Operation::FailedPush && self.has_room()) {
            queues.producers.notify(most(popped));
        }
        if queues.tail_lock.has_waiters() && (all || !self.tail().lock.is_held()) {
            queues.tail_lock.notify(most(1));
        }
        if queues.head_lock.has_waiters() && (all || !self.head().lock.is_held()) {
            queues.head_lock.notify(most(1));
        }
        if queues.drained.has_waiters() && (all || self.is_drained()) {
            queues.drained.notify(EventCount::ALL);
        }
    }

    /// Closes the ring: nothing can be pushed from here on.
    pub(crate) fn close(&self) {
        let half = self.tail();
        // A lock that cannot be had, because its word is damaged, does not keep the ring open.
        let section = section::enter(&half.lock, &self.queues().tail_lock, Timeout::at_most(2 * backstop::PERIOD));
        half.closed.store(1, SeqCst);
        match section {
            Ok(section) => {
                if section.owner_died() {
                    self.repair_tail();
                }
                self.leave(section, Operation::Change);
            }
            Err(_) => self.wake(Operation::Change),
        }
    }

    /// Called when a process has become a holder and is on the roster: a waiter that did not know its peers can watch
    /// it now.
    pub(crate) fn notify_arrival(&self) {
        if self.queues().wants_arrivals.swap(0, SeqCst) != 0 {
            self.notify_change();
        }
    }

    /// Called when the holders have changed: a waiter may be the last of them.
    pub(crate) fn notify_change(&self) {
        let queues = self.queues();
        queues.changes.fetch_add(1, SeqCst);
        queues.consumers.notify(EventCount::ALL);
        queues.producers.notify(EventCount::ALL);
    }
}
