//! A signal: the state of an event. It is set, or not, and those who wait for it sleep while its word stays as it is.
//!
//! # Layout
//! ```text
//! word     bit 31 W, somebody may sleep; bit 30 SET; the rest: how often it was set
//! bell     always 0: where those who wait are woken; they have it in the pending slot
//! ```
//!
//! # Protocol
//! 1. set: the bell into the slot; unless it is SET, by one store SET and one more; if there is W, all are woken, and W goes
//!    if the word has not changed. Nothing else: a signal handler may do it.
//! 2. wait: note how often it was set; the bell into the slot; while it is not SET, and was not set meanwhile: W, and sleep
//!    on bell and word, in this order. Who leaves because it was set, and sees W, wakes all the others, too, as in 1.
//!
//! # Invariants
//! * N1: whoever sleeps, sleeps on a word with W that is not SET; W goes only behind a wake of all, from a word with SET that
//!   nobody has cleared since.
//!
//! # If a process dies here
//! In `set`, before the store: nothing happened. Behind it: the kernel wakes one who sleeps on the bell, and that one wakes the
//! others, unless somebody cleared it meanwhile and the one began to wait behind that. The slot is not used where something
//! else is in it (a guard is alive, or a signal handler interrupted this library), nor in a thread that never used this library
//! before. What the kernel misses a sleeper finds at its own look, twice a second. A sleeper: the same.

use super::event_count;
use crate::sys::robust_list;
use crate::sys::{Deadline, WAITERS, futex};
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

const SET: u32 = 1 << 30;
const ROUNDS: u32 = SET - 1;
const PERIOD: Duration = Duration::from_millis(500);

#[repr(C)]
#[derive(Debug)]
pub struct Signal {
    word: AtomicU32,
    bell: AtomicU32,
}

impl Signal {
    pub(crate) fn is_set(&self) -> bool {
        self.word.load(SeqCst) & SET != 0
    }

    /// Step 1.
    pub(crate) fn set(&self) {
        let slot = robust_list::lend_slot(&self.bell);
        let mut word = self.word.load(SeqCst);
        while word & SET == 0 {
            let next = word & WAITERS | SET | word.wrapping_add(1) & ROUNDS;
            match self.word.compare_exchange(word, next, SeqCst, SeqCst) {
                Ok(_) => word = next,
                Err(now) => word = now,
            }
        }
        self.wake_all(word);
        slot.into_iter().for_each(robust_list::PendingSlot::leave);
    }

    pub(crate) fn clear(&self) {
        self.word.fetch_and(!SET, SeqCst);
    }

    /// If anybody sleeps there.
    #[inline(always)]
    fn wake_all(&self, word: u32) {
        if word & WAITERS != 0 {
            self.wake_sleepers(word);
        }
    }

    #[cold]
    fn wake_sleepers(&self, word: u32) {
        futex::wake(&self.bell, i32::MAX as u32);
        if word & SET != 0 {
            let _ = self.word.compare_exchange(word, word & !WAITERS, SeqCst, SeqCst);
        }
    }

    /// Step 2. Whether it was set before the deadline.
    pub(crate) fn wait(&self, deadline: Option<Deadline>) -> bool {
        let begin = self.word.load(SeqCst);
        if begin & SET != 0 {
            return true;
        }
        let me = robust_list::enter_section(&self.bell);
        let was_set = loop {
            let word = self.word.load(SeqCst);
            if word & SET != 0 || (word ^ begin) & ROUNDS != 0 {
                self.wake_all(word);
                break true;
            }
            if deadline.is_some_and(Deadline::has_passed) {
                break false;
            }
            if word & WAITERS == 0 && self.word.compare_exchange(word, word | WAITERS, SeqCst, SeqCst).is_err() {
                continue;
            }
            futex::wait_any(&self.words(word), event_count::slice(deadline, PERIOD));
        };
        me.leave();
        was_set
    }

    /// One who was woken, for whatever reason: if it is set, so should all others be.
    pub(crate) fn pass_on(&self) {
        let word = self.word.load(SeqCst);
        if word & SET != 0 {
            self.wake_all(word);
        }
    }

    /// For one who sleeps on several words: the bell and this one, and what is expected of them.
    pub(crate) fn arm(&self) -> [(&AtomicU32, u32); 2] {
        self.words(self.word.fetch_or(WAITERS, SeqCst))
    }

    /// The word is compared behind the bell: who sets it from then on wakes this sleeper, and be it by its death.
    fn words(&self, word: u32) -> [(&AtomicU32, u32); 2] {
        // Whatever stands there by now: in memory that somebody scribbled over, too, one sleeps.
        [(&self.bell, self.bell.load(SeqCst)), (&self.word, word | WAITERS)]
    }
}
