//! A signal: the state of an event. It is set, or not, and those who wait for it sleep on its word.
//!
//! # Layout
//! ```text
//! word     bit 31 W, somebody may sleep; bit 30 SET; the rest 0
//! rounds   how often it was set
//! ```
//!
//! # Protocol
//! 1. set: SET; `rounds` + 1; if there was W, all are woken, and W goes. Nothing else: a signal handler may do it.
//! 2. wait: note `rounds`; while it is not SET, and `rounds` is the same: W, and sleep on the word. Who leaves
//!    and sees SET and W wakes all the others, too, and W goes.
//!
//! # Invariants
//! * N1: whoever sleeps, sleeps on a word with W; W goes only behind a wake of all, from a word that has not changed.
//!
//! # If a process dies here
//! In `set`, before the first store: nothing happened. Behind it: the kernel wakes one sleeper, if the word is in the slot of
//! the thread; that one wakes the others. The slot is not used where something else is in it (a guard is alive, or a signal
//! handler interrupted this library), nor in a thread that never used this library before: then a sleeper finds it at
//! its own look, twice a second. A sleeper: the same.

use super::gate;
use crate::sys::thread;
use crate::sys::{Deadline, OWNER_DIED, WAITERS, futex};
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

/// The kernel's bit for a dead owner: there is none here, and it is no number of a thread.
const SET: u32 = OWNER_DIED;
const PERIOD: Duration = Duration::from_millis(500);

#[repr(C)]
#[derive(Debug)]
pub struct Signal {
    word: AtomicU32,
    rounds: AtomicU32,
}

impl Signal {
    pub(crate) fn is_set(&self) -> bool {
        self.word.load(SeqCst) & SET != 0
    }

    /// Step 1.
    pub(crate) fn set(&self) {
        let slot = thread::lend_slot(&self.word);
        let before = self.word.fetch_or(SET, SeqCst);
        if before & SET == 0 {
            self.rounds.fetch_add(1, SeqCst);
        }
        if before & WAITERS != 0 {
            self.wake_all(before | SET);
        }
        slot.into_iter().for_each(thread::Me::leave);
    }

    pub(crate) fn clear(&self) {
        self.word.fetch_and(!SET, SeqCst);
    }

    #[cold]
    fn wake_all(&self, word: u32) {
        futex::wake(&self.word, i32::MAX as u32);
        let _ = self.word.compare_exchange(word, word & !WAITERS, SeqCst, SeqCst);
    }

    /// Step 2. Whether it was set before the deadline.
    pub(crate) fn wait(&self, deadline: Option<Deadline>) -> bool {
        if self.is_set() {
            return true;
        }
        let rounds = self.rounds.load(SeqCst);
        let me = thread::enter_section(&self.word);
        let was_set = loop {
            let word = self.word.load(SeqCst);
            if word & SET != 0 || self.rounds.load(SeqCst) != rounds {
                break true;
            }
            if deadline.is_some_and(Deadline::has_passed) {
                break false;
            }
            if word & WAITERS == 0 && self.word.compare_exchange(word, word | WAITERS, SeqCst, SeqCst).is_err() {
                continue;
            }
            futex::wait(&self.word, word | WAITERS, gate::slice(deadline, PERIOD));
        };
        if was_set {
            self.pass_on();
        }
        me.leave();
        was_set
    }

    /// One who was woken: so should all others be.
    pub(crate) fn pass_on(&self) {
        let word = self.word.load(SeqCst);
        if word & SET != 0 && word & WAITERS != 0 {
            self.wake_all(word);
        }
    }

    /// For one who sleeps on several words: this one, and what is expected of it.
    pub(crate) fn arm(&self) -> (&AtomicU32, u32) {
        (&self.word, self.word.fetch_or(WAITERS, SeqCst) | WAITERS)
    }
}
