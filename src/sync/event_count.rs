//! An event count: where threads sleep until data changes, and where they are woken.
//!
//! # Layout
//! ```text
//! bit 31      HAS_WAITERS   a thread may sleep here
//! bits 0-30   count         of waits prepared and of notifications
//! ```
//!
//! # Protocol
//! 1. A waiter *prepares*: count + 1, HAS_WAITERS set. It then checks the data once more, and sleeps while the word is
//!    the one that it made.
//! 2. A notifier has changed the data. If it sees HAS_WAITERS after that, it adds 1 and wakes. If that woke no thread,
//!    HAS_WAITERS is removed, unless the word has changed since.
//!
//! # Invariants
//! * event_count-G1: where a thread sleeps, or will sleep without another check of the data, HAS_WAITERS is set. It is
//!   only removed from a word that the remover made. So no thread has prepared since; and a thread that prepared before
//!   does not sleep, because the word is another one, or else the wake would have found it.
//!
//! # If a process dies here
//! A waiter: HAS_WAITERS stays, and costs the next notifier one wake. A notifier, before its wake: HAS_WAITERS is still
//! there for the next one. That there is a next one is up to the user of the event count (see `ring`).

use crate::sys::{Deadline, futex};
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::SeqCst;

#[repr(transparent)]
#[derive(Debug)]
pub(crate) struct EventCount(AtomicU32);

const HAS_WAITERS: u32 = 1 << 31;

fn one_more(word: u32) -> u32 {
    word.wrapping_add(1) | HAS_WAITERS
}

impl EventCount {
    /// Wakes all: as many as the kernel's type allows.
    pub(crate) const ALL: u32 = i32::MAX as u32;

    #[inline(always)]
    pub(crate) fn has_waiters(&self) -> bool {
        self.0.load(SeqCst) & HAS_WAITERS != 0
    }

    /// Step 1. Returns the key for [`EventCount::wait`].
    pub(crate) fn prepare_wait(&self) -> u32 {
        let mut word = self.0.load(SeqCst);
        while let Err(now) = self.0.compare_exchange_weak(word, one_more(word), SeqCst, SeqCst) {
            word = now;
        }
        one_more(word)
    }

    /// The word, for threads that sleep on more words than [`EventCount::wait`] takes.
    pub(crate) fn word(&self) -> &AtomicU32 {
        &self.0
    }

    /// Sleeps until a notification, or until one of the other words is not its value. Returns whether a wake at another
    /// word ended the sleep.
    pub(crate) fn wait<const N: usize>(
        &self,
        key: u32,
        others: [(&AtomicU32, u32); N],
        deadline: Option<Deadline>,
    ) -> bool {
        let mut words = [(&self.0, key); 5];
        words[1..=N].copy_from_slice(&others);
        futex::wait_any(&words[..=N], deadline) == futex::Sleep::Elsewhere
    }

    /// Step 2: wakes up to `most` waiters.
    #[cold]
    pub(crate) fn notify(&self, most: u32) {
        loop {
            let word = self.0.load(SeqCst);
            if word & HAS_WAITERS == 0 {
                return;
            }
            if self.0.compare_exchange(word, one_more(word), SeqCst, SeqCst).is_err() {
                continue;
            }
            if futex::wake(&self.0, most) > 0 {
                return;
            }
            // A thread that prepared in between checks the data after that, which has changed already.
            let _ = self.0.compare_exchange(one_more(word), one_more(word) & !HAS_WAITERS, SeqCst, SeqCst);
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bit_is_removed_when_no_thread_sleeps_and_kept_for_one_that_prepared_since() {
        let events = EventCount(AtomicU32::new(0));
        events.notify(1);
        assert!(!events.has_waiters());
        let key = events.prepare_wait();
        assert!(events.has_waiters());
        assert_ne!(events.prepare_wait(), key, "each wait has a key of its own");
        events.notify(1);
        assert!(!events.has_waiters());
        events.wait(key, [], None); // returns at once: the word has changed
    }

    #[test]
    fn the_count_wraps_without_losing_the_bit() {
        let events = EventCount(AtomicU32::new(HAS_WAITERS | 0x7fff_ffff));
        assert_eq!(events.prepare_wait() & HAS_WAITERS, HAS_WAITERS);
    }
}
