//! Permits: the state of a semaphore.
//!
//! # Invariants
//! * P1: what is available is `count - held`; `held` is how many seats are taken. Who holds a permit has a seat.
//! * P2: each call has one store that decides: a seat's word when one is taken or given back, `count` when one is added or
//!   forgotten.
//! * P3: whoever sleeps watches the first seats, taken or free; behind those, whoever takes one has a sleeper look again, which
//!   watches it then. So the death of one who has a permit wakes one who waits for it.
//!
//! # If a process dies here
//! Between that store and `held`: the lock is DIED, and `held` is counted anew. With permits: its seats are found dead, and
//! free. In the middle of `forget`: `count` came first, so the permit is gone.

use super::monitor::{Call, Monitor, State, Waited};
use super::raw_lock::{Patience, Refusal};
use super::seat::Seat;
use crate::sys::thread;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

#[repr(C)]
pub(crate) struct Permits {
    count: AtomicU64,
    held: AtomicU64,
    /// `count` is never more.
    bound: AtomicU64,
    /// How many seats a sleeper watches, whoever sits there: as many as it began with permits, within limits.
    watched: AtomicU64,
}

/// A few for those that are added later; no more than a sleeper can watch.
const WATCHED: std::ops::RangeInclusive<u64> = 4..=120;

/// A permit that is held. Not `Send`: its seat is in the list of a thread.
#[derive(Debug)]
pub(crate) struct Holding<'a> {
    seat: &'a Seat,
    by: u32,
}

impl std::fmt::Debug for Seat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seat")
    }
}

/// Why no permit was added.
pub(crate) enum Excess {
    OverRelease,
    Corrupt,
}

impl State for Permits {
    #[inline(always)]
    fn calls(&self) -> Call {
        // One after the other: who takes one calls the next.
        Call { most: u32::from(self.available() > 0), token: 0 }
    }

    fn bury(&self, _: &Seat, _: &[Seat]) {
        self.held.store(self.held.load(Relaxed).saturating_sub(1), Release);
    }

    fn recount(&self, seats: &[Seat]) {
        self.held.store(seats.iter().filter(|seat| seat.is_taken()).count() as u64, Release);
    }
}

impl Permits {
    /// Fills zeros.
    pub(crate) fn init(&self, count: u64, bound: u64) {
        self.count.store(count, Relaxed);
        self.bound.store(bound, Relaxed);
        self.watched.store(count.clamp(*WATCHED.start(), *WATCHED.end()), Relaxed);
    }

    #[inline(always)]
    pub(crate) fn available(&self) -> u64 {
        self.count.load(Acquire).saturating_sub(self.held.load(Acquire))
    }
}

impl<'a> Monitor<'a, Permits> {
    #[inline(always)]
    pub(crate) fn acquire(&self, patience: Patience) -> Result<Holding<'a>, Refusal> {
        loop {
            if let Some(holding) = self.take()? {
                return Ok(holding);
            }
            let deadline = match patience {
                Patience::Try => return Err(Refusal::WouldBlock),
                Patience::Until(deadline) => Some(deadline),
                Patience::Forever => None,
            };
            let watched = self.state.watched.load(Relaxed) as usize;
            match self.wait(&|| self.state.available() > 0, &|at, seat| at < watched || seat.is_taken(), deadline)? {
                Waited::Ready => {}
                Waited::TimedOut => {
                    self.settle_own(|_| {});
                    return Err(Refusal::Timeout);
                }
            }
        }
    }

    #[inline(always)]
    fn take(&self) -> Result<Option<Holding<'a>>, Refusal> {
        let visit = self.enter()?;
        if self.state.available() == 0 {
            visit.bury();
            if self.state.available() == 0 {
                visit.leave();
                return Ok(None);
            }
        }
        let me = visit.me();
        let seat = self.free_seat().or_else(|| {
            visit.bury();
            self.free_seat()
        });
        let taken = seat.ok_or(Refusal::TooMany).and_then(|(at, seat)| {
            seat.take(me, 0, 0)?;
            Ok((at, seat))
        });
        match taken {
            Ok((at, seat)) => {
                self.state.held.store(self.state.held.load(Relaxed) + 1, Release);
                // P3: one that is not watched is to be.
                visit.leave_and_call(u32::from(at as u64 >= self.state.watched.load(Relaxed)));
                Ok(Some(Holding { seat, by: me.tid }))
            }
            Err(refusal) => {
                visit.leave();
                Err(refusal)
            }
        }
    }

    /// Gives a permit back. A copy in a fork child gives nothing.
    #[inline(always)]
    pub(crate) fn give_back(&self, holding: &Holding<'a>) -> Result<(), Refusal> {
        self.end(holding, |_| {})
    }

    /// The permit is with nobody from now on, until one is added.
    pub(crate) fn forget(&self, holding: &Holding<'a>) -> Result<(), Refusal> {
        self.end(holding, |state| state.count.store(state.count.load(Relaxed).saturating_sub(1), Release))
    }

    #[inline(always)]
    fn end(&self, holding: &Holding<'a>, before: impl FnOnce(&Permits)) -> Result<(), Refusal> {
        if thread::tid() != holding.by {
            return Ok(());
        }
        let visit = self.enter()?;
        before(self.state);
        holding.seat.give_up(visit.me());
        self.state.held.store(self.state.held.load(Relaxed).saturating_sub(1), Release);
        visit.leave_changed();
        Ok(())
    }

    /// One more.
    pub(crate) fn add(&self) -> Result<(), Excess> {
        let visit = self.enter().map_err(|_| Excess::Corrupt)?;
        let count = self.state.count.load(Relaxed);
        if count >= self.state.bound.load(Relaxed) {
            visit.leave();
            return Err(Excess::OverRelease);
        }
        self.state.count.store(count + 1, Release);
        visit.leave_changed();
        Ok(())
    }
}
