//! A lock for a few instructions at a time, inside this library only: no code of the program's runs under it, unless it is
//! *kept* (to read and write in place), which makes it a guard's like any other.
//!
//! It is the word of a [`RawLock`], always in the pending slot of the thread and never in its list, with one difference:
//! its waiters sleep at a gate, not on the word. So whoever sleeps on the word does so for the kernel's wake at a death.
//! W, once there, stays: it costs nothing here.
//!
//! # Protocol
//! 1. enter: the word goes into the pending slot; a free word gets the thread's number (Acquire, pairs with 3), keeping W.
//! 2. A waiter arms the gate, sets W, and sleeps while gate and word are what they were.
//! 3. leave: the number goes (SeqCst), then the caller pays its wakes, this lock's gate among them, and the slot is
//!    emptied last.
//!
//! # Invariants
//! * E1: the slot holds the word from before 1's exchange until the caller's wakes are paid.
//! * E2: a word that loses its number by a death is DIED, and whoever enters next is told so.
//!
//! # If a process dies here
//! With the number in the word: DIED, and the kernel wakes one who sleeps on the word. Behind that: the kernel wakes one
//! who sleeps on the word, if the word is free; if not, its holder will ring. What the kernel misses a waiter finds twice
//! a second.

use super::event_count::{self, EventCount};
use super::raw_lock::{LockFailure, RawLock, Spin, Timeout};
use crate::sys::robust_list::{self, HANDED_OVER, PendingSlot};
use crate::sys::{Deadline, OWNER_DIED, WAITERS, process_id};
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Relaxed, SeqCst};
use std::time::Duration;

/// How often a sleeper looks by itself whether a holder is gone.
pub(crate) const PERIOD: Duration = Duration::from_millis(500);

/// The lock is held. Not `Send`: it stands for a thread.
#[must_use]
pub(crate) struct Section<'a> {
    word: &'a AtomicU32,
    me: PendingSlot,
    died: bool,
}

/// A word that may be slept on.
pub(crate) enum Mark {
    Set(u32),
    Died,
}

/// Takes the lock.
#[inline(always)]
pub(crate) fn enter<'a>(lock: &'a RawLock, gate: &EventCount, patience: Timeout) -> Result<Section<'a>, LockFailure> {
    let word = lock.word();
    let me = robust_list::enter_section(word);
    let free = word.load(Relaxed);
    if free & !WAITERS == 0 && word.compare_exchange(free, free | me.tid, Acquire, Relaxed).is_ok() {
        return Ok(Section { word, me, died: false });
    }
    enter_contended(word, gate, me, patience)
}

#[cold]
#[inline(never)]
fn enter_contended<'a>(
    word: &'a AtomicU32,
    gate: &EventCount,
    me: PendingSlot,
    patience: Timeout,
) -> Result<Section<'a>, LockFailure> {
    let mut spin = Spin::new();
    // The lock is only ever held for moments: who does not want to wait waits for one of those all the same.
    let (deadline, in_the_end) = match patience {
        Timeout::Never => (None, LockFailure::Timeout),
        Timeout::At(deadline) => (Some(deadline), LockFailure::Timeout),
        Timeout::Now => (Some(Deadline::after(PERIOD / 10)), LockFailure::WouldBlock),
    };
    let refusal = loop {
        let now = word.load(Relaxed);
        let holder = now & !(WAITERS | OWNER_DIED);
        if holder == 0 {
            let mine = me.tid | now & WAITERS;
            if word.compare_exchange(now, mine, Acquire, Relaxed).is_ok() {
                return Ok(Section { word, me, died: now & OWNER_DIED != 0 });
            }
            continue;
        }
        if now & OWNER_DIED != 0 {
            break LockFailure::Corrupt;
        }
        if holder == me.tid {
            break LockFailure::Deadlock;
        }
        if spin.once_more() {
            continue;
        }
        if deadline.is_some_and(Deadline::has_passed) {
            break in_the_end;
        }
        let armed = gate.arm();
        if word.compare_exchange(now, now | WAITERS, SeqCst, Relaxed).is_err() {
            continue;
        }
        let until = event_count::slice(deadline, PERIOD);
        gate.wait(armed, [(word, now | WAITERS)], until);
        if until.is_some_and(Deadline::has_passed) {
            bury_holder(word);
        }
    };
    me.leave();
    Err(refusal)
}

/// Makes a word ready to be slept on, for the kernel's wake at a holder's death.
pub(crate) fn mark(lock: &RawLock) -> Result<Mark, LockFailure> {
    let word = lock.word();
    loop {
        let now = word.load(SeqCst);
        let (died, holder) = (now & OWNER_DIED != 0, now & !(WAITERS | OWNER_DIED));
        match (died, holder) {
            (true, 0) => return Ok(Mark::Died),
            (true, _) => return Err(LockFailure::Corrupt),
            _ if now & WAITERS != 0 || word.compare_exchange(now, now | WAITERS, SeqCst, Relaxed).is_ok() => {
                return Ok(Mark::Set(now | WAITERS));
            }
            _ => {}
        }
    }
}

/// The backstop: a word whose holder is gone gets the mark that the kernel would have put.
pub(crate) fn bury_holder(word: &AtomicU32) {
    let now = word.load(SeqCst);
    let holder = now & !(WAITERS | OWNER_DIED | HANDED_OVER);
    if now & OWNER_DIED == 0 && holder != 0 && !process_id::exists(holder) {
        let _ = word.compare_exchange(now, OWNER_DIED | WAITERS, SeqCst, Relaxed);
    }
}

/// A section that lasts: the program's code runs in it, or other locks are taken. Not `Send`: it stands for a thread.
#[must_use]
pub(crate) struct LongSection<'a> {
    word: &'a AtomicU32,
    died: bool,
    thread: std::marker::PhantomData<*const ()>,
}

impl<'a> LongSection<'a> {
    /// Back to a section of a few instructions.
    pub(crate) fn resume(self) -> Section<'a> {
        Section { word: self.word, me: PendingSlot::retire(self.word), died: self.died }
    }
}

impl<'a> Section<'a> {
    /// From here on the lock is a guard's: in the slot as long as nobody needs that, then in the list.
    pub(crate) fn keep(self) -> LongSection<'a> {
        self.me.hold(self.word, true);
        LongSection { word: self.word, died: self.died, thread: std::marker::PhantomData }
    }

    pub(crate) fn me(&self) -> PendingSlot {
        self.me
    }

    /// Whether the holder before died in the section (E2).
    #[inline(always)]
    pub(crate) fn died(&self) -> bool {
        self.died
    }

    /// Step 3; `pay` wakes those who wait for what was done.
    #[inline(always)]
    pub(crate) fn leave(self, pay: impl FnOnce()) {
        self.leave_with_slot(pay).leave();
    }

    /// The same, but for the slot.
    #[inline(always)]
    pub(crate) fn leave_with_slot(self, pay: impl FnOnce()) -> PendingSlot {
        self.word.fetch_and(WAITERS, SeqCst);
        pay();
        self.me
    }
}
