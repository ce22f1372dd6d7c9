//! Waiting for an item, or for room: looking for a while, then sleeping (step 4 of the ring's protocol).

use super::{Did, Ring, Side, Stop};
use crate::sync::Patience;
use crate::sync::gate::{self, Gate};
use crate::sync::section::{self, Mark};
use crate::sys::{Deadline, process, thread};
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::Duration;

/// How often a sleeper looks by itself whether anybody else is left: one who is killed wakes nobody.
const PERIOD: Duration = Duration::from_secs(2);

/// What one waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum For {
    Items,
    Room,
}

/// How many looks pay before a sleep: more when they have paid lately, fewer when not. Private to a handle.
#[derive(Debug)]
pub(crate) struct Looks(AtomicU32);

impl Looks {
    /// Two dozen nanoseconds each: together as long as a wake on another core takes.
    const MOST: u32 = 2000;
    const FEWEST: u32 = 20;

    pub(crate) fn new() -> Self {
        Looks(AtomicU32::new(Self::MOST / 4))
    }

    /// Looks until it is so, or it is time to sleep.
    fn until(&self, is_so: impl Fn() -> bool) -> bool {
        if process::cores() < 2 {
            return is_so();
        }
        let most = self.0.load(Relaxed);
        for _ in 0..most {
            if is_so() {
                self.0.store((most + most / 8 + 1).min(Self::MOST), Relaxed);
                return true;
            }
            std::hint::spin_loop();
        }
        self.0.store((most / 2).max(Self::FEWEST), Relaxed);
        is_so()
    }
}

impl Ring {
    /// Waits until a try makes sense again. `alone` says whether nobody else has the ring; it is asked rarely.
    ///
    /// If it gives `Ok`, this thread may have a lock of the ring in its pending slot (I5): the try must follow at once.
    #[cold]
    #[inline(never)]
    pub(crate) fn wait(
        &self,
        size: usize,
        what: For,
        patience: Patience,
        looks: &Looks,
        alone: &dyn Fn() -> bool,
    ) -> Result<(), Stop> {
        let ready = || match what {
            For::Items => self.has_items(size),
            For::Room => self.has_room() || self.is_closed(), // the try says which
        };
        let deadline = match patience {
            Patience::Forever => None,
            Patience::Until(deadline) => Some(deadline),
            Patience::Try => return self.refuse(size, what, alone),
        };
        if looks.until(ready) {
            return Ok(());
        }
        let (gate, slot, failed) = match what {
            For::Items => (&self.doors().consumers, self.tail(), Did::FailToPop),
            For::Room => (&self.doors().producers, self.head(), Did::FailToPush),
        };
        let mut left_before = None;
        loop {
            let armed = gate.arm();
            let closed = self.is_closed();
            if ready() {
                return Ok(()); // also what was committed before the end
            }
            if closed {
                return Err(Stop::Closed);
            }
            self.check(size)?;
            let left = Some(self.doors().left.load(SeqCst));
            if left != left_before && alone() && !ready() {
                return Err(Stop::Alone);
            }
            left_before = left;
            if deadline.is_some_and(Deadline::has_passed) {
                return Err(Stop::Timeout);
            }
            let me = thread::enter_section(slot.lock.word());
            let marks = self
                .mark(size, self.tail(), patience)
                .and_then(|tail| Ok((tail, self.mark(size, self.head(), patience)?)))
                .inspect_err(|_| me.leave())?;
            let (Some(tail), Some(head)) = marks else {
                continue; // somebody had died: all were woken
            };
            if ready() {
                return Ok(());
            }
            let until = gate::slice(deadline, PERIOD);
            gate.wait(armed, [(self.tail().lock.word(), tail), (self.head().lock.word(), head)], until);
            if ready() {
                return Ok(());
            }
            // Whatever ended the sleep was not for us.
            self.wake(size, failed);
            me.leave();
            if until.is_some_and(Deadline::has_passed) {
                section::bury_holder(self.tail().lock.word());
                section::bury_holder(self.head().lock.word());
                left_before = None;
            }
        }
    }

    /// What a try that does not wait hears.
    fn refuse(&self, size: usize, what: For, alone: &dyn Fn() -> bool) -> Result<(), Stop> {
        if what == For::Room {
            return Err(if self.is_closed() { Stop::Closed } else { Stop::NotNow });
        }
        let stop = match (self.is_closed(), self.doors().left.load(SeqCst)) {
            (true, _) => Stop::Closed,
            (false, 0) => Stop::NotNow,
            _ if alone() => Stop::Alone,
            _ => Stop::NotNow,
        };
        if self.has_items(size) { Ok(()) } else { Err(stop) }
    }

    /// A lock is ready to be slept on. None: its holder had died; it was taken over, and all are awake.
    fn mark(&self, size: usize, side: &Side, patience: Patience) -> Result<Option<u32>, Stop> {
        match section::mark(&side.lock)? {
            Mark::Set(word) => Ok(Some(word)),
            Mark::Died => {
                let is_tail = std::ptr::eq(side, self.tail());
                let gate: &Gate = if is_tail { &self.doors().tail } else { &self.doors().head };
                let section = section::enter(&side.lock, gate, patience)?;
                if is_tail {
                    self.move_tail(size);
                }
                self.leave(section, size, Did::Change);
                Ok(None)
            }
        }
    }

    /// Whether head and tail can be what they are, as far as one can tell while others move them.
    fn check(&self, size: usize) -> Result<(), Stop> {
        let state = || {
            let (head, tail) = (self.head().index.load(SeqCst), self.tail().index.load(SeqCst));
            (head, tail, self.is_there(size, head))
        };
        let (head, tail, there) = state();
        let wrong = self.between(head, tail).is_none_or(|used| used > 0 && !there);
        if wrong && state() == (head, tail, there) { Err(Stop::Corrupt) } else { Ok(()) }
    }
}
