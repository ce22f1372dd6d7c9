//! Waiters: the state of a condition.
//!
//! Who waits has a seat with a ticket. Who notifies *grants* so many wakes to those who have their tickets by then; who
//! wakes takes one of the grants, and has its seat until it holds its lock again. So a grant that was taken by one who is
//! killed before that comes back.
//!
//! # Invariants
//! * C1: a seat is `WAITING` from before its owner's lock is given up, or `GRANTED` until that is held again.
//! * C2: `grants` is at most the number of waiting seats with tickets below `limit`, but for deaths.
//! * C3: while a seat is granted and another one waits asleep, one who sleeps watches the granted one: whoever takes a
//!   grant has another one look.
//! * C4: `waiting` is never less than the number of taken seats.
//!
//! # If a process dies here
//! Waiting: its seat is found dead, and free. With a grant: the grant comes back, as whoever watches the seat finds; that
//! some seat was `GRANTED` before `grants` went down makes one wake too many at worst, which a condition may. Notifying: before
//! `grants` nobody is called; behind it the debts are paid as with any monitor.

use super::monitor::participant::Participant;
use super::monitor::{Call, Monitor, State, Waited};
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
    /// Tickets below this one may take grants.
    limit: AtomicU64,
}

/// One that waits, at its seat.
pub(crate) struct Waiter<'a> {
    seat: &'a Participant,
    ticket: u64,
}

impl State for CondvarState {
    fn calls(&self) -> Call {
        Call { most: self.grants.load(Acquire), token: 0 }
    }

    fn bury(&self, seat: &Participant, seats: &[Participant]) {
        let comes_back = u32::from(seat.state() == GRANTED);
        self.grants.store(self.grants.load(Relaxed).saturating_add(comes_back).min(self.callable(seats)), Release);
        self.waiting.store(self.waiting.load(Relaxed).saturating_sub(1), Release);
    }

    fn recount(&self, seats: &[Participant]) {
        self.waiting.store(seats.iter().filter(|seat| seat.is_taken()).count() as u32, Release);
    }
}

impl CondvarState {
    #[inline(always)]
    pub(crate) fn nobody_waits(&self) -> bool {
        self.waiting.load(Acquire) == 0
    }

    fn is_called(&self, ticket: u64) -> bool {
        self.grants.load(Acquire) > 0 && ticket < self.limit.load(Acquire)
    }

    /// How many live who wait, and did at the last notify: what is granted beyond that is nobody's.
    fn callable(&self, seats: &[Participant]) -> u32 {
        let limit = self.limit.load(Relaxed);
        let lives = |seat: &&Participant| seat.is_taken() && !seat.is_dead();
        seats.iter().filter(lives).filter(|seat| seat.state() == WAITING && seat.data() < limit).count() as u32
    }

    fn add_waiting(&self, more: i32) {
        self.waiting.store(self.waiting.load(Relaxed).saturating_add_signed(more), Release);
    }
}

impl<'a> Monitor<'a, CondvarState> {
    /// Before the lock is given up: who notifies behind that means this waiter, too.
    pub(crate) fn begin_to_wait(&self) -> Result<Waiter<'a>, LockFailure> {
        let visit = self.enter()?;
        visit.bury();
        let me = visit.me();
        let ticket = self.state.tickets.load(Relaxed);
        self.state.add_waiting(1);
        let taken = self.free_seat().ok_or(LockFailure::TooMany).and_then(|seat| {
            seat.take(me, WAITING, ticket)?;
            Ok(seat)
        });
        let seat = match taken {
            Ok(seat) => seat,
            Err(refusal) => {
                self.state.add_waiting(-1);
                visit.leave();
                return Err(refusal);
            }
        };
        self.state.tickets.store(ticket.wrapping_add(1), Release);
        visit.leave_changed();
        Ok(Waiter { seat, ticket })
    }

    /// Sleeps until it is called, or the deadline; whether it was called.
    pub(crate) fn wait_for_call(&self, waiter: &Waiter<'a>, deadline: Option<Deadline>) -> Result<bool, LockFailure> {
        let is_called = || self.state.is_called(waiter.ticket);
        let is_granted = |seat: &Participant| seat.is_taken() && seat.state() == GRANTED;
        loop {
            let waited = self.wait(&is_called, &is_granted, deadline)?;
            let visit = self.enter()?;
            if is_called() {
                waiter.seat.set_state(GRANTED);
                self.state.grants.store(self.state.grants.load(Relaxed).saturating_sub(1), Release);
                visit.leave_and_call(1);
                return Ok(true);
            }
            if waited == Waited::TimedOut {
                // C3: it may have been the one who watched.
                visit.leave_and_call(u32::from(self.seats.iter().any(is_granted)));
                return Ok(false);
            }
            visit.leave();
        }
    }

    /// The lock is held again, or never will be.
    pub(crate) fn end_wait(&self, waiter: &Waiter<'a>) -> Result<(), LockFailure> {
        let visit = self.enter().inspect_err(|_| self.settle_seat(waiter.seat))?;
        waiter.seat.give_up(visit.me());
        self.state.add_waiting(-1);
        visit.leave_changed();
        Ok(())
    }

    /// Calls that many of those who wait by now.
    pub(crate) fn call(&self, most: u32) -> Result<(), LockFailure> {
        let state = self.state;
        let visit = self.enter()?;
        visit.bury();
        let before = state.grants.load(Relaxed).min(state.callable(self.seats));
        state.limit.store(state.tickets.load(Relaxed), Release);
        state.grants.store(before.saturating_add(most).min(state.callable(self.seats)), Release);
        visit.leave_changed();
        Ok(())
    }
}
