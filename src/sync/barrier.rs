//! The state of a barrier.
//!
//! Each party that arrives takes a participant record, except the last one of a round, which ends the round. The
//! outcome of a round is written into the records of the parties that waited for it, so that a late one learns it
//! whatever has happened since.
//!
//! # Layout
//! ```text
//! phase    bits 0-31   the number of the round, from 0
//!          bit 32      the previous round was broken
//!          bit 33      this round is broken, until a reset
//!          bit 34      the last party has arrived, and runs the action
//! ```
//!
//! # Invariants
//! * barrier-B1: a round ends by one store to `phase`. The outcome is then written into the records (`settle`), which
//!   can be repeated.
//! * barrier-B2: outside of the lock, a record that waits does so for the present round, which is not broken.
//! * barrier-B3: a waiting party keeps the lock in its slot from its arrival on, so its death wakes another one that
//!   sleeps, which finds its record. The party that runs the action has all others check before it starts.
//! * barrier-B4: `notified` differs from `generation` while a party may sleep that can continue and was not woken. It
//!   follows `generation`, not `phase`: between the two a record may not have its outcome yet, and its owner, awake for
//!   another reason, would mark the round as notified and fall asleep again.
//!
//! # If a process dies here
//! Waiting, or running the action: another party that sleeps finds its record dead, or the next one that arrives does,
//! and the round is broken. In the lock: the records are settled again by `phase`, and those that wait are counted
//! anew. After the end of a round, before the others are woken: the notifications are sent as with any monitor, since
//! `notified` is not yet `generation`.

use super::event_count::EventCount;
use super::monitor::participant::Participant;
use super::monitor::{Monitor, MonitorState, Waited, Wakeups};
use super::raw_lock::LockFailure;
use crate::sys::{Deadline, futex};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::Duration;

const WAITING: u32 = 1;
const ACTING: u32 = 2;
const PASSED: u32 = 3;
const BROKEN: u32 = 4;

#[repr(C)]
pub(crate) struct BarrierState {
    phase: AtomicU64,
    parties: AtomicU32,
    /// The number of records that wait for this round.
    arrived: AtomicU32,
    /// The token up to which all records have their outcome.
    generation: AtomicU32,
    /// The token up to which sleeping parties were woken.
    notified: AtomicU32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct BarrierPhase(u64);

impl BarrierPhase {
    const ENDED_BROKEN: u64 = 1 << 32;
    const BROKEN: u64 = 1 << 33;
    const ACTING: u64 = 1 << 34;

    fn round(self) -> u32 {
        self.0 as u32
    }

    fn is_broken(self) -> bool {
        self.0 & Self::BROKEN != 0
    }

    fn is_acting(self) -> bool {
        self.0 & Self::ACTING != 0
    }

    /// Changes when sleepers must check: at the end of a round, when it is broken, and when the action starts.
    fn token(self) -> u32 {
        self.round() << 2 | u32::from(self.is_broken()) << 1 | u32::from(self.is_acting())
    }

    /// The outcome for parties that waited for the previous round.
    fn outcome(self) -> u32 {
        if self.0 & Self::ENDED_BROKEN != 0 { BROKEN } else { PASSED }
    }

    fn next(self, was_broken: bool) -> Self {
        let round = u64::from(self.round().wrapping_add(1));
        BarrierPhase(round | if was_broken { Self::ENDED_BROKEN } else { 0 })
    }
}

/// Why a party did not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BarrierFailure {
    Broken,
    Timeout,
    TooMany,
    Corrupt,
}

impl From<LockFailure> for BarrierFailure {
    fn from(failure: LockFailure) -> Self {
        match failure {
            LockFailure::TooMany => BarrierFailure::TooMany,
            _ => BarrierFailure::Corrupt,
        }
    }
}

/// A party that passed: its index in the order of arrival. The last one leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Passed {
    pub(crate) index: u32,
    pub(crate) is_last: bool,
}

/// What a party that arrived has to do.
enum Arrival<'a> {
    Wait(&'a Participant, u32),
    /// It is the last one, and runs the action.
    Act(&'a Participant, u32),
    Passed(Passed),
    /// Parties of the previous round have not left yet, or there is no free record.
    Later,
}

impl MonitorState for BarrierState {
    fn wakeups(&self) -> Wakeups {
        let token = self.generation.load(Acquire);
        Wakeups { most: if token == self.notified.load(Acquire) { 0 } else { EventCount::ALL }, token }
    }

    fn woken(&self, wakeups: Wakeups) {
        self.notified.store(wakeups.token, Release);
    }

    fn remove_dead(&self, dead: &Participant, participants: &[Participant]) {
        if matches!(dead.state(), WAITING | ACTING) && !self.phase().is_broken() {
            self.end_broken(participants);
        }
    }

    fn recount(&self, participants: &[Participant]) {
        self.settle(participants);
    }
}

fn round_of(party: &Participant) -> u32 {
    party.data() as u32
}

impl BarrierState {
    /// Initialises zeroed memory.
    pub(crate) fn init(&self, parties: u32) {
        self.parties.store(parties, Relaxed);
    }

    fn phase(&self) -> BarrierPhase {
        BarrierPhase(self.phase.load(Acquire))
    }

    pub(crate) fn parties(&self) -> u32 {
        self.parties.load(Relaxed)
    }

    pub(crate) fn waiting(&self) -> u32 {
        self.arrived.load(Acquire)
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.phase().is_broken()
    }

    /// barrier-B1: writes the outcome of their round into the records that wait.
    fn settle(&self, participants: &[Participant]) {
        let phase = self.phase();
        let mut waiting = 0;
        let in_round = |party: &&Participant| party.is_taken() && matches!(party.state(), WAITING | ACTING);
        for party in participants.iter().filter(in_round) {
            match round_of(party) == phase.round() {
                true if phase.is_broken() => party.set_state(BROKEN),
                true => waiting += u32::from(party.state() == WAITING),
                false => party.set_state(phase.outcome()),
            }
        }
        self.arrived.store(waiting, Release);
        self.generation.store(phase.token(), Release);
    }

    fn begin_phase(&self, phase: BarrierPhase, participants: &[Participant]) {
        self.phase.store(phase.0, Release);
        self.settle(participants);
    }

    fn end_broken(&self, participants: &[Participant]) {
        let phase = self.phase();
        self.begin_phase(BarrierPhase(u64::from(phase.round()) | BarrierPhase::BROKEN), participants);
    }
}

impl<'a> Monitor<'a, BarrierState> {
    /// Arrives, and waits for the other parties. The last one runs `action`, if there is one, before any passes. An
    /// action that fails breaks the round.
    pub(crate) fn arrive_and_wait<E: From<BarrierFailure>>(
        &self,
        deadline: Option<Deadline>,
        action: Option<&dyn Fn() -> Result<(), E>>,
    ) -> Result<Passed, E> {
        loop {
            match self.arrive(action.is_some())? {
                Arrival::Passed(passed) => return Ok(passed),
                Arrival::Wait(own, index) => {
                    self.await_end(own, deadline)?;
                    return Ok(Passed { index, is_last: false });
                }
                Arrival::Act(own, index) => {
                    let outcome = action.map_or(Ok(()), |action| action());
                    self.end_action(own, outcome.is_ok())?;
                    outcome?;
                    return Ok(Passed { index, is_last: true });
                }
                Arrival::Later => self.await_round(deadline)?,
            }
        }
    }

    #[inline]
    fn arrive(&self, has_action: bool) -> Result<Arrival<'a>, BarrierFailure> {
        let state = self.state;
        let guard = self.enter()?;
        guard.reap_dead();
        let phase = state.phase();
        if phase.is_broken() {
            guard.leave();
            return Err(BarrierFailure::Broken);
        }
        let index = state.arrived.load(Relaxed);
        let is_last = index.saturating_add(1) >= state.parties();
        if phase.is_acting() {
            guard.leave();
            return Ok(Arrival::Later);
        }
        if is_last && !has_action {
            state.begin_phase(phase.next(false), self.participants);
            guard.leave_changed();
            return Ok(Arrival::Passed(Passed { index, is_last }));
        }
        let slot = guard.slot();
        let Some(own) = self.free_record() else {
            guard.leave();
            return Ok(Arrival::Later);
        };
        let role = if is_last { ACTING } else { WAITING };
        if let Err(error) = own.take(slot, role, u64::from(phase.round())) {
            guard.leave();
            return Err(LockFailure::from(error).into());
        }
        if is_last {
            state.begin_phase(BarrierPhase(phase.0 | BarrierPhase::ACTING), self.participants);
            guard.leave_changed();
            return Ok(Arrival::Act(own, index));
        }
        state.arrived.store(index.saturating_add(1), Release);
        guard.leave_to_wait();
        Ok(Arrival::Wait(own, index))
    }

    fn await_end(&self, own: &'a Participant, deadline: Option<Deadline>) -> Result<(), BarrierFailure> {
        let is_over = || own.state() != WAITING;
        // If there are too many parties to watch all, the one that runs the action matters, once there is one.
        let watches_all = || self.participants.len() < futex::MOST_WORDS || !self.state.phase().is_acting();
        let matters = |party: &Participant| match party.state() {
            ACTING => party.is_taken(),
            WAITING => party.is_taken() && watches_all(),
            _ => false,
        };
        let give_up = |_: &LockFailure| self.end_wait_and_release(own);
        match self.wait(&is_over, &matters, deadline).inspect_err(give_up)? {
            Waited::Ready => {
                let passed = own.state() == PASSED;
                self.end_wait_and_release(own);
                if passed { Ok(()) } else { Err(BarrierFailure::Broken) }
            }
            Waited::TimedOut => {
                let guard = self.enter().inspect_err(give_up)?;
                let state = own.state();
                if state == WAITING {
                    self.state.end_broken(self.participants);
                }
                own.release(guard.slot());
                guard.leave_changed();
                match state {
                    PASSED => Ok(()),
                    WAITING => Err(BarrierFailure::Timeout),
                    _ => Err(BarrierFailure::Broken),
                }
            }
        }
    }

    /// Waits before arriving: the action of the previous round runs, or there was no free record.
    fn await_round(&self, deadline: Option<Deadline>) -> Result<(), BarrierFailure> {
        const SLICE: Duration = Duration::from_millis(1);
        let slice = Deadline::after(SLICE);
        let until = deadline.map_or(slice, |deadline| deadline.min(slice));
        let matters = |party: &Participant| party.is_taken() && party.state() == ACTING;
        let waited = self.wait(&|| !self.state.phase().is_acting(), &matters, Some(until))?;
        self.end_wait();
        if waited == Waited::Ready {
            // Without a record there is nothing to wait for but that another party leaves.
            std::thread::yield_now();
        }
        if deadline.is_some_and(Deadline::has_passed) {
            // This party has not arrived, so no other has waited for it.
            return Err(BarrierFailure::Timeout);
        }
        Ok(())
    }

    fn end_action(&self, own: &'a Participant, passes: bool) -> Result<(), BarrierFailure> {
        let guard = self.enter().inspect_err(|_| self.end_wait_and_release(own))?;
        let phase = self.state.phase();
        let is_mine = own.state() == ACTING;
        if is_mine && passes {
            self.state.begin_phase(phase.next(false), self.participants);
        } else if is_mine {
            self.state.end_broken(self.participants);
        }
        own.release(guard.slot());
        guard.leave_changed();
        // Otherwise the barrier was aborted or reset meanwhile.
        if is_mine { Ok(()) } else { Err(BarrierFailure::Broken) }
    }

    /// Breaks the barrier until a reset, for parties that wait and for those to come.
    pub(crate) fn abort(&self) -> Result<(), LockFailure> {
        let guard = self.enter()?;
        guard.reap_dead();
        self.state.end_broken(self.participants);
        guard.leave_changed();
        Ok(())
    }

    /// Starts a new round in any case. The round is broken for parties that wait.
    pub(crate) fn reset(&self) -> Result<(), LockFailure> {
        let guard = self.enter()?;
        guard.reap_dead();
        self.state.begin_phase(self.state.phase().next(true), self.participants);
        guard.leave_changed();
        Ok(())
    }
}
