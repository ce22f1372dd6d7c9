//! A lock for a few instructions at a time, inside the library only. No code of the program runs under it, unless it is
//! *kept* (for reading and writing in place), which makes it like a guard's lock.
//!
//! It is the word of a [`RawLock`] that stays in the pending slot of the thread and is never in its list, with one
//! difference: threads that wait for it sleep on an event count, not on the word. A thread that sleeps on the word does
//! so only for the kernel's wake at a death. WAITERS, once set, stays: it costs nothing here.
//!
//! # Protocol
//! 1. Enter: the word goes into the pending slot; a free word gets the thread's number (Acquire, pairs with 3), keeping
//!    WAITERS.
//! 2. Wait: prepare to wait at the event count, set WAITERS, and sleep while event count and word do not change.
//! 3. Leave: the number is removed (SeqCst), then the caller notifies, this lock's event count among others, and the
//!    slot is cleared last.
//!
//! # Invariants
//! * section-E1: the slot holds the word from before the exchange of step 1 until the caller has notified.
//! * section-E2: a word that loses its number by a death is OWNER_DIED, and the next thread that enters is told.
//!
//! # If a process dies here
//! With the number in the word: the word becomes OWNER_DIED, and the kernel wakes one thread that sleeps on the word.
//! After step 3 removed the number: the kernel wakes one thread that sleeps on the word if the word is free; if it is
//! not, its holder will notify. What the kernel misses, the backstop finds.

use super::backstop::{self, PERIOD};
use super::event_count::EventCount;
use super::lock_word::LockWord;
use super::raw_lock::{LockFailure, RawLock, Timeout};
use super::spin::Backoff;
use crate::sys::robust_list::PendingSlot;
use crate::sys::{Deadline, WAITERS};
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Relaxed, SeqCst};

/// The held lock. Not `Send`: it belongs to a thread.
#[must_use]
pub(crate) struct Section<'a> {
    word: &'a AtomicU32,
    slot: PendingSlot,
    owner_died: bool,
}

/// A lock word that a thread wants to sleep on.
pub(crate) enum SleepWord {
    /// The value to sleep on.
    Ready(u32),
    OwnerDied,
}

/// Takes the lock. `waiters` is where threads wait for it.
#[inline(always)]
pub(crate) fn enter<'a>(lock: &'a RawLock, waiters: &EventCount, timeout: Timeout) -> Result<Section<'a>, LockFailure> {
    let word = lock.word();
    let slot = PendingSlot::set_in_section(word);
    let free = LockWord(word.load(Relaxed));
    if free.is_free() && word.compare_exchange(free.0, free.taken_by(slot.tid).0, Acquire, Relaxed).is_ok() {
        return Ok(Section { word, slot, owner_died: false });
    }
    enter_contended(word, waiters, slot, timeout)
}

#[cold]
#[inline(never)]
fn enter_contended<'a>(
    word: &'a AtomicU32,
    waiters: &EventCount,
    slot: PendingSlot,
    timeout: Timeout,
) -> Result<Section<'a>, LockFailure> {
    let mut backoff = Backoff::new();
    // The lock is held for short times only, so a caller that does not want to wait still waits for one of these.
    let (deadline, at_the_end) = match timeout {
        Timeout::Never => (None, LockFailure::Timeout),
        Timeout::At(deadline) => (Some(deadline), LockFailure::Timeout),
        Timeout::Now => (Some(Deadline::after(PERIOD / 10)), LockFailure::WouldBlock),
    };
    let failure = loop {
        let now = LockWord(word.load(Relaxed));
        if now.is_available() {
            if word.compare_exchange(now.0, now.taken_by(slot.tid).0, Acquire, Relaxed).is_ok() {
                return Ok(Section { word, slot, owner_died: now.owner_died() });
            }
            continue;
        }
        if now.owner_died() {
            break LockFailure::Corrupt;
        }
        if now.holder() == slot.tid {
            break LockFailure::Deadlock;
        }
        if backoff.spin() {
            continue;
        }
        if deadline.is_some_and(Deadline::has_passed) {
            break at_the_end;
        }
        let key = waiters.prepare_wait();
        let marked = now.with_waiters().0;
        if word.compare_exchange(now.0, marked, SeqCst, Relaxed).is_err() {
            continue;
        }
        let until = backstop::slice(deadline, PERIOD);
        waiters.wait(key, [(word, marked)], until);
        if until.is_some_and(Deadline::has_passed) {
            backstop::mark_owner_died(word);
        }
    };
    slot.clear();
    Err(failure)
}

/// Sets WAITERS in a lock's word, so that the kernel wakes a thread that sleeps on it when its holder dies.
pub(crate) fn set_waiters(lock: &RawLock) -> Result<SleepWord, LockFailure> {
    let word = lock.word();
    loop {
        let now = LockWord(word.load(SeqCst));
        match (now.owner_died(), now.holder()) {
            (true, 0) => return Ok(SleepWord::OwnerDied),
            (true, _) => return Err(LockFailure::Corrupt),
            _ => {
                let marked = now.with_waiters().0;
                if now.has_waiters() || word.compare_exchange(now.0, marked, SeqCst, Relaxed).is_ok() {
                    return Ok(SleepWord::Ready(marked));
                }
            }
        }
    }
}

/// A section that is held for longer: code of the program runs in it, or other locks are taken. Not `Send`: it belongs
/// to a thread.
#[must_use]
pub(crate) struct LongSection<'a> {
    word: &'a AtomicU32,
    owner_died: bool,
    thread: std::marker::PhantomData<*const ()>,
}

impl<'a> LongSection<'a> {
    /// Turns it back into a section of a few instructions.
    pub(crate) fn resume(self) -> Section<'a> {
        Section { word: self.word, slot: PendingSlot::take_back(self.word), owner_died: self.owner_died }
    }
}

impl<'a> Section<'a> {
    /// From here on the lock is like a guard's: in the slot as long as nothing else needs that, then in the list.
    pub(crate) fn keep(self) -> LongSection<'a> {
        self.slot.keep(self.word, true);
        LongSection { word: self.word, owner_died: self.owner_died, thread: std::marker::PhantomData }
    }

    pub(crate) fn slot(&self) -> PendingSlot {
        self.slot
    }

    /// Whether the previous holder died in the section (section-E2).
    #[inline(always)]
    pub(crate) fn owner_died(&self) -> bool {
        self.owner_died
    }

    /// Step 3. `notify` wakes the threads that wait for what was done.
    #[inline(always)]
    pub(crate) fn leave(self, notify: impl FnOnce()) {
        self.leave_with_slot(notify).clear();
    }

    /// Step 3 without its end: the word stays in the slot.
    #[inline(always)]
    pub(crate) fn leave_with_slot(self, notify: impl FnOnce()) -> PendingSlot {
        self.word.fetch_and(WAITERS, SeqCst);
        notify();
        self.slot
    }
}
