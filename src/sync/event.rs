//! The state of an event: a flag that threads wait for.
//!
//! # Layout
//! ```text
//! word        bit 31 WAITERS, a thread may sleep; bit 30 SET; the rest: how often it was set
//! wake_word   always 0: where waiting threads are woken; they have it in the pending slot
//! ```
//!
//! # Protocol
//! 1. Set: the wake word goes into the slot. Unless the word is SET, one store sets SET and adds 1 to the count. With
//!    WAITERS, all are woken, and WAITERS is removed if the word has not changed. Nothing else, so a signal handler may
//!    do it.
//! 2. Wait: read the count; the wake word goes into the slot; while the word is not SET, and the count is the same: set
//!    WAITERS, and sleep on wake word and word, in this order. A thread that returns because of a set, and sees
//!    WAITERS, wakes all the others too, as in 1.
//!
//! # Invariants
//! * event-N1: a thread sleeps only on a word with WAITERS that is not SET. WAITERS is only removed after all were
//!   woken, from a word with SET that was not cleared since.
//!
//! # If a process dies here
//! In a set, before the store: nothing has happened. After it: the kernel wakes one thread that sleeps on the wake
//! word, and that one wakes the others, unless the event was cleared meanwhile and that thread started to wait after
//! that. The slot is not used if it is occupied (a guard is alive, or a signal handler interrupted this library), nor
//! in a thread that has never used this library before. What the kernel misses, the backstop finds. A waiter that dies
//! leaves at most WAITERS.

use super::backstop::{self, PERIOD};
use crate::sys::robust_list::PendingSlot;
use crate::sys::{Deadline, WAITERS, futex};
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::SeqCst;

const SET: u32 = 1 << 30;
const COUNT: u32 = SET - 1;

#[repr(C)]
#[derive(Debug)]
pub struct EventState {
    word: AtomicU32,
    wake_word: AtomicU32,
}

impl EventState {
    pub(crate) fn is_set(&self) -> bool {
        self.word.load(SeqCst) & SET != 0
    }

    /// Step 1.
    pub(crate) fn set(&self) {
        let slot = PendingSlot::set_if_free(&self.wake_word);
        let mut word = self.word.load(SeqCst);
        while word & SET == 0 {
            let next = word & WAITERS | SET | word.wrapping_add(1) & COUNT;
            match self.word.compare_exchange(word, next, SeqCst, SeqCst) {
                Ok(_) => word = next,
                Err(now) => word = now,
            }
        }
        self.notify(word);
        slot.into_iter().for_each(PendingSlot::clear);
    }

    pub(crate) fn clear(&self) {
        self.word.fetch_and(!SET, SeqCst);
    }

    /// Wakes all, if `word` says that a thread may sleep.
    #[inline(always)]
    fn notify(&self, word: u32) {
        if word & WAITERS != 0 {
            self.wake_all(word);
        }
    }

    #[cold]
    fn wake_all(&self, word: u32) {
        futex::wake(&self.wake_word, i32::MAX as u32);
        if word & SET != 0 {
            let _ = self.word.compare_exchange(word, word & !WAITERS, SeqCst, SeqCst);
        }
    }

    /// Step 2. Returns whether it was set before the deadline.
    pub(crate) fn wait(&self, deadline: Option<Deadline>) -> bool {
        let begin = self.word.load(SeqCst);
        if begin & SET != 0 {
            return true;
        }
        let slot = PendingSlot::set_in_section(&self.wake_word);
        let was_set = loop {
            let word = self.word.load(SeqCst);
            if word & SET != 0 || (word ^ begin) & COUNT != 0 {
                self.notify(word);
                break true;
            }
            if deadline.is_some_and(Deadline::has_passed) {
                break false;
            }
            if word & WAITERS == 0 && self.word.compare_exchange(word, word | WAITERS, SeqCst, SeqCst).is_err() {
                continue;
            }
            futex::wait_any(&self.words(word), backstop::slice(deadline, PERIOD));
        };
        slot.clear();
        was_set
    }

    /// For a thread that was woken for any reason: if the event is set, all others should be woken too.
    pub(crate) fn pass_on(&self) {
        let word = self.word.load(SeqCst);
        if word & SET != 0 {
            self.notify(word);
        }
    }

    /// For a thread that sleeps on several words: the wake word and the word, with their values.
    pub(crate) fn prepare_wait(&self) -> [(&AtomicU32, u32); 2] {
        self.words(self.word.fetch_or(WAITERS, SeqCst))
    }

    /// The word is compared after the wake word: a set from then on wakes this thread, also by the setter's death.
    fn words(&self, word: u32) -> [(&AtomicU32, u32); 2] {
        // The wake word as it is now: in memory that another program has written over, the thread sleeps too.
        [(&self.wake_word, self.wake_word.load(SeqCst)), (&self.word, word | WAITERS)]
    }
}
