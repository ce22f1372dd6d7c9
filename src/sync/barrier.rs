//! Rounds: the state of a barrier.
//!
//! Who arrives has a seat, but for the last one of a round, who ends it. How the round ended is written into the seats of
//! those who waited for it, so that a late one learns it whatever came since.
//!
//! # Layout
//! ```text
//! phase    bits 0-31   the round, which began with 0
//!          bit 32      the round before was broken
//!          bit 33      this round is broken, until a reset
//!          bit 34      the last one has arrived, and acts
//! ```
//!
//! # Invariants
//! * B1: a round ends by one store to `phase`. The outcome then goes into the seats (`settle`), which can be done again.
//! * B2: outside of the lock, a seat that waits does so for the present round, which is not broken.
//! * B3: one who waits keeps the lock in its slot from its arrival on, so its death wakes another one that sleeps, which finds
//!   its seat. Who acts has all others look before it begins.
//! * B4: `announced` is another number than `told` while somebody may sleep who was told and not woken. It follows `told`,
//!   not `phase`: between the two a seat may not know yet, and its owner, awake for another reason, would announce the
//!   round and fall asleep again.
//!
//! # If a process dies here
//! Who waits, or acts: its seat is found dead by another one that sleeps, or by the next that arrives, and the round is
//! broken. In the lock: the seats are settled again by `phase`, and those that wait are counted anew. Behind an end, before
//! the others are woken: the debts are paid as with any monitor, for `announced` is not yet `told`.

use super::event_count::EventCount;
use super::monitor::participant::Participant;
use super::monitor::{Call, Monitor, State, Waited};
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
    /// How many seats wait for this round.
    arrived: AtomicU32,
    /// What all those who wait were told by their seats, as a token.
    told: AtomicU32,
    /// The token for which those who slept were woken.
    announced: AtomicU32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Phase(u64);

impl Phase {
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

    /// Who is broken is called as who has passed; so is who is to see the one that acts.
    fn token(self) -> u32 {
        self.round() << 2 | u32::from(self.is_broken()) << 1 | u32::from(self.is_acting())
    }

    /// What became of those who waited for the round before.
    fn outcome(self) -> u32 {
        if self.0 & Self::ENDED_BROKEN != 0 { BROKEN } else { PASSED }
    }

    fn next(self, was_broken: bool) -> Self {
        let round = u64::from(self.round().wrapping_add(1));
        Phase(round | if was_broken { Self::ENDED_BROKEN } else { 0 })
    }
}

/// Why one did not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BarrierFailure {
    Broken,
    Timeout,
    TooMany,
    Corrupt,
}

impl From<LockFailure> for BarrierFailure {
    fn from(refusal: LockFailure) -> Self {
        match refusal {
            LockFailure::TooMany => BarrierFailure::TooMany,
            _ => BarrierFailure::Corrupt,
        }
    }
}

/// The number of one that passed, in the order of arrival; the last one leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) index: u32,
    pub(crate) is_last: bool,
}

/// What one who arrived is to do.
enum Arrival<'a> {
    Wait(&'a Participant, u32),
    /// It is the last one, and acts.
    Act(&'a Participant, u32),
    Passed(Place),
    /// The others of this round are not through, or there is no seat.
    Later,
}

impl State for BarrierState {
    fn calls(&self) -> Call {
        let token = self.told.load(Acquire);
        Call { most: if token == self.announced.load(Acquire) { 0 } else { EventCount::ALL }, token }
    }

    fn paid(&self, call: Call) {
        self.announced.store(call.token, Release);
    }

    fn bury(&self, seat: &Participant, seats: &[Participant]) {
        if matches!(seat.state(), WAITING | ACTING) && !self.phase().is_broken() {
            self.end_broken(seats);
        }
    }

    fn recount(&self, seats: &[Participant]) {
        self.settle(seats);
    }
}

fn round_of(seat: &Participant) -> u32 {
    seat.data() as u32
}

impl BarrierState {
    /// Fills zeros.
    pub(crate) fn init(&self, parties: u32) {
        self.parties.store(parties, Relaxed);
    }

    fn phase(&self) -> Phase {
        Phase(self.phase.load(Acquire))
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

    /// B1: tells those who wait what became of their round.
    fn settle(&self, seats: &[Participant]) {
        let phase = self.phase();
        let mut waiting = 0;
        for seat in seats.iter().filter(|seat| seat.is_taken() && matches!(seat.state(), WAITING | ACTING)) {
            match round_of(seat) == phase.round() {
                true if phase.is_broken() => seat.set_state(BROKEN),
                true => waiting += u32::from(seat.state() == WAITING),
                false => seat.set_state(phase.outcome()),
            }
        }
        self.arrived.store(waiting, Release);
        self.told.store(phase.token(), Release);
    }

    fn begin_phase(&self, phase: Phase, seats: &[Participant]) {
        self.phase.store(phase.0, Release);
        self.settle(seats);
    }

    fn end_broken(&self, seats: &[Participant]) {
        let phase = self.phase();
        self.begin_phase(Phase(u64::from(phase.round()) | Phase::BROKEN), seats);
    }
}

impl<'a> Monitor<'a, BarrierState> {
    /// Arrives, and waits for the others. The last one acts before all pass, if it is to; an action that fails breaks the
    /// round.
    pub(crate) fn meet<E: From<BarrierFailure>>(
        &self,
        deadline: Option<Deadline>,
        act: Option<&dyn Fn() -> Result<(), E>>,
    ) -> Result<Place, E> {
        loop {
            match self.arrive(act.is_some())? {
                Arrival::Passed(place) => return Ok(place),
                Arrival::Wait(seat, index) => {
                    self.await_end(seat, deadline)?;
                    return Ok(Place { index, is_last: false });
                }
                Arrival::Act(seat, index) => {
                    let answer = act.map_or(Ok(()), |act| act());
                    self.end_action(seat, answer.is_ok())?;
                    answer?;
                    return Ok(Place { index, is_last: true });
                }
                Arrival::Later => self.await_turn(deadline)?,
            }
        }
    }

    #[inline]
    fn arrive(&self, acts: bool) -> Result<Arrival<'a>, BarrierFailure> {
        let state = self.state;
        let visit = self.enter()?;
        visit.bury();
        let phase = state.phase();
        if phase.is_broken() {
            visit.leave();
            return Err(BarrierFailure::Broken);
        }
        let index = state.arrived.load(Relaxed);
        let is_last = index.saturating_add(1) >= state.parties();
        if phase.is_acting() {
            visit.leave();
            return Ok(Arrival::Later);
        }
        if is_last && !acts {
            state.begin_phase(phase.next(false), self.seats);
            visit.leave_changed();
            return Ok(Arrival::Passed(Place { index, is_last }));
        }
        let me = visit.me();
        let Some(seat) = self.free_seat() else {
            visit.leave();
            return Ok(Arrival::Later);
        };
        let what = if is_last { ACTING } else { WAITING };
        if let Err(error) = seat.take(me, what, u64::from(phase.round())) {
            visit.leave();
            return Err(LockFailure::from(error).into());
        }
        if is_last {
            state.begin_phase(Phase(phase.0 | Phase::ACTING), self.seats);
            visit.leave_changed();
            return Ok(Arrival::Act(seat, index));
        }
        state.arrived.store(index.saturating_add(1), Release);
        visit.leave_to_wait();
        Ok(Arrival::Wait(seat, index))
    }

    fn await_end(&self, seat: &'a Participant, deadline: Option<Deadline>) -> Result<(), BarrierFailure> {
        let is_over = || seat.state() != WAITING;
        // Where there are too many to watch all, it is the one who acts that matters, once there is one.
        let watches_all = || self.seats.len() < futex::MOST_WORDS || !self.state.phase().is_acting();
        let matters = |seat: &Participant| match seat.state() {
            ACTING => seat.is_taken(),
            WAITING => seat.is_taken() && watches_all(),
            _ => false,
        };
        let give_up = |_: &LockFailure| self.settle_seat(seat);
        match self.wait(&is_over, &matters, deadline).inspect_err(give_up)? {
            Waited::Ready => {
                let passed = seat.state() == PASSED;
                self.settle_seat(seat);
                if passed { Ok(()) } else { Err(BarrierFailure::Broken) }
            }
            Waited::TimedOut => {
                let visit = self.enter().inspect_err(give_up)?;
                let state = seat.state();
                if state == WAITING {
                    self.state.end_broken(self.seats);
                }
                seat.give_up(visit.me());
                visit.leave_changed();
                match state {
                    PASSED => Ok(()),
                    WAITING => Err(BarrierFailure::Timeout),
                    _ => Err(BarrierFailure::Broken),
                }
            }
        }
    }

    /// For one that came while the round before is acted for, or found no seat.
    fn await_turn(&self, deadline: Option<Deadline>) -> Result<(), BarrierFailure> {
        const SLICE: Duration = Duration::from_millis(1);
        let slice = Deadline::after(SLICE);
        let until = deadline.map_or(slice, |deadline| deadline.min(slice));
        let matters = |seat: &Participant| seat.is_taken() && seat.state() == ACTING;
        let waited = self.wait(&|| !self.state.phase().is_acting(), &matters, Some(until))?;
        self.settle_own();
        if waited == Waited::Ready {
            // Without a seat there is nothing to wait for but that somebody leaves.
            std::thread::yield_now();
        }
        if deadline.is_some_and(Deadline::has_passed) {
            // It has not arrived, so nobody has waited for it.
            return Err(BarrierFailure::Timeout);
        }
        Ok(())
    }

    fn end_action(&self, seat: &'a Participant, passes: bool) -> Result<(), BarrierFailure> {
        let visit = self.enter().inspect_err(|_| self.settle_seat(seat))?;
        let phase = self.state.phase();
        let is_mine = seat.state() == ACTING;
        if is_mine && passes {
            self.state.begin_phase(phase.next(false), self.seats);
        } else if is_mine {
            self.state.end_broken(self.seats);
        }
        seat.give_up(visit.me());
        visit.leave_changed();
        // Aborted, or reset, meanwhile.
        if is_mine { Ok(()) } else { Err(BarrierFailure::Broken) }
    }

    /// Breaks the barrier, for those who wait and those who come, until a reset.
    pub(crate) fn abort(&self) -> Result<(), LockFailure> {
        let visit = self.enter()?;
        visit.bury();
        self.state.end_broken(self.seats);
        visit.leave_changed();
        Ok(())
    }

    /// A new round begins, whatever there was; those who wait have a broken one.
    pub(crate) fn reset(&self) -> Result<(), LockFailure> {
        let visit = self.enter()?;
        visit.bury();
        self.state.begin_phase(self.state.phase().next(true), self.seats);
        visit.leave_changed();
        Ok(())
    }
}
