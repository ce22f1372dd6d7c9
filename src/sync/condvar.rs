//! The state of a condition variable.
//!
//! A waiter has a record with a ticket. A notification *grants* a number of wakes to waiters whose tickets exist by
//! then. A waiter that wakes takes one of the grants, and keeps its record until it holds its lock again. So if it is
//! killed before that, the grant comes back.
//!
//! # Invariants
//! * condvar-C1: a record is `WAITING` from before its owner's lock is released, or `GRANTED` until that is held again.
//! * condvar-C2: `grants` is at most the number of waiting records with tickets below `limit`, except after deaths.
//! * condvar-C3: while one record is granted and another one waits asleep, some sleeper watches the granted one: a
//!   waiter that takes a grant has another one check.
//! * condvar-C4: `waiting` is never less than the number of taken records.
//!
//! # If a process dies here
//! Waiting: its record is found dead, and freed. With a grant: the grant comes back, as the thread that watches the
//! record finds. A record is `GRANTED` before `grants` decreases, so the worst case is one wake too many, which a
//! condition variable allows. Notifying: before the store of `grants` no waiter is notified; after it the notifications
//! are sent as with any monitor.

use super::monitor::participant::Participant;
use super::monitor::{Monitor, MonitorState, Waited, Wakeups};
use super::raw_lock::LockFailure;
use crate::sys::Deadline;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64};

const WAITING: u32 = 1;
const GRANTED: u32 = 2;

#[repr(C)]
pub(crate) struct CondvarState {
    waiting: AtomicU32,
    grants: AtomicU32,
    /// The next ticket.
    tickets: AtomicU64,
    /// Waiters with tickets below this one may take grants.
    limit: AtomicU64,
}

/// A waiter, with its record.
pub(crate) struct CondvarWaiter<'a> {
    record: &'a Participant,
    ticket: u64,
}

impl MonitorState for CondvarState {
    fn wakeups(&self) -> Wakeups {
        Wakeups { most: self.grants.load(Acquire), token: 0 }
    }

    fn remove_dead(&self, dead: &Participant, participants: &[Participant]) {
        let returned = u32::from(dead.state() == GRANTED);
        self.grants.store(self.grants.load(Relaxed).saturating_add(returned).min(self.eligible(participants)), Release);
        self.waiting.store(self.waiting.load(Relaxed).saturating_sub(1), Release);
    }

    fn recount(&self, participants: &[Participant]) {
        self.waiting.store(participants.iter().filter(|waiter| waiter.is_taken()).count() as u32, Release);
    }
}

impl CondvarState {
    #[inline(always)]
    pub(crate) fn has_no_waiters(&self) -> bool {
        self.waiting.load(Acquire) == 0
    }

    fn has_grant(&self, ticket: u64) -> bool {
        self.grants.load(Acquire) > 0 && ticket < self.limit.load(Acquire)
    }

    /// The number of living waiters that waited at the last notification: more grants than that belong to no waiter.
    fn eligible(&self, participants: &[Participant]) -> u32 {
        let limit = self.limit.load(Relaxed);
        let is_alive = |waiter: &&Participant| waiter.is_taken() && !waiter.is_dead();
        let is_eligible = |waiter: &&Participant| waiter.state() == WAITING && waiter.data() < limit;
        participants.iter().filter(is_alive).filter(is_eligible).count() as u32
    }

    fn add_waiting(&self, more: i32) {
        self.waiting.store(self.waiting.load(Relaxed).saturating_add_signed(more), Release);
    }
}

impl<'a> Monitor<'a, CondvarState> {
    /// Registers a waiter, before its lock is released: notifications from then on mean it too.
    pub(crate) fn register(&self) -> Result<CondvarWaiter<'a>, LockFailure> {
        let guard = self.enter()?;
        guard.reap_dead();
        let slot = guard.slot();
        let ticket = self.state.tickets.load(Relaxed);
        self.state.add_waiting(1);
        let taken = self.free_record().ok_or(LockFailure::TooMany).and_then(|record| {
            record.take(slot, WAITING, ticket)?;
            Ok(record)
        });
        let record = match taken {
            Ok(record) => record,
            Err(failure) => {
                self.state.add_waiting(-1);
                guard.leave();
                return Err(failure);
            }
        };
        self.state.tickets.store(ticket.wrapping_add(1), Release);
        guard.leave_changed();
        Ok(CondvarWaiter { record, ticket })
    }

    /// Sleeps until the waiter has a grant, or until the deadline. Returns whether it has one.
    pub(crate) fn wait_for_grant(
        &self,
        waiter: &CondvarWaiter<'a>,
        deadline: Option<Deadline>,
    ) -> Result<bool, LockFailure> {
        let has_grant = || self.state.has_grant(waiter.ticket);
        let is_granted = |other: &Participant| other.is_taken() && other.state() == GRANTED;
        loop {
            let waited = self.wait(&has_grant, &is_granted, deadline)?;
            let guard = self.enter()?;
            if has_grant() {
                waiter.record.set_state(GRANTED);
                self.state.grants.store(self.state.grants.load(Relaxed).saturating_sub(1), Release);
                guard.leave_and_wake(1);
                return Ok(true);
            }
            if waited == Waited::TimedOut {
                // condvar-C3: this may have been the waiter that watched.
                guard.leave_and_wake(u32::from(self.participants.iter().any(is_granted)));
                return Ok(false);
            }
            guard.leave();
        }
    }

    /// Ends a wait: the lock is held again, or never will be.
    pub(crate) fn unregister(&self, waiter: &CondvarWaiter<'a>) -> Result<(), LockFailure> {
        let guard = self.enter().inspect_err(|_| self.end_wait_and_release(waiter.record))?;
        waiter.record.release(guard.slot());
        self.state.add_waiting(-1);
        guard.leave_changed();
        Ok(())
    }

    /// Notifies up to `most` of the threads that wait now.
    pub(crate) fn notify_some(&self, most: u32) -> Result<(), LockFailure> {
        let state = self.state;
        let guard = self.enter()?;
        guard.reap_dead();
        let before = state.grants.load(Relaxed).min(state.eligible(self.participants));
        state.limit.store(state.tickets.load(Relaxed), Release);
        state.grants.store(before.saturating_add(most).min(state.eligible(self.participants)), Release);
        guard.leave_changed();
        Ok(())
    }
}
