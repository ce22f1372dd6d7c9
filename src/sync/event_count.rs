//! A gate: where those sleep who wait for data to change, and where they are woken.
//!
//! # Layout
//! ```text
//! bit 31      ASLEEP   somebody may sleep here
//! bits 0-30   count    of those who armed and of the wakes
//! ```
//!
//! # Protocol
//! 1. A sleeper *arms*: one more, and ASLEEP. Then it looks at the data once more, and sleeps while the word is what it made.
//! 2. A waker has changed the data. If it sees ASLEEP then, it *rings*: one more, and a wake. If that woke nobody, ASLEEP
//!    goes, unless the word has changed since.
//!
//! # Invariants
//! * G1: where somebody sleeps, or will without another look at the data, ASLEEP is set. It goes only from a word that its
//!   remover made, so nobody armed behind that; and who armed before does not sleep, for the word is another, or the wake
//!   would have found it.
//!
//! # If a process dies here
//! A sleeper: ASLEEP stays, and costs the next waker one wake. A waker, before its wake: ASLEEP is there for the next one;
//! that somebody is the next one, sees to it whoever uses the gate (see `ring`).

use super::raw_lock;
use crate::sys::{Deadline, futex};
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::SeqCst;

#[repr(transparent)]
#[derive(Debug)]
pub(crate) struct EventCount(AtomicU32);

const ASLEEP: u32 = 1 << 31;

fn one_more(word: u32) -> u32 {
    word.wrapping_add(1) | ASLEEP
}

impl EventCount {
    /// All of them. Never more are woken at once than the kernel's numbers allow.
    pub(crate) const ALL: u32 = i32::MAX as u32;

    #[inline(always)]
    pub(crate) fn has_sleepers(&self) -> bool {
        self.0.load(SeqCst) & ASLEEP != 0
    }

    /// Step 1; gives the word to sleep on with [`EventCount::wait`].
    pub(crate) fn arm(&self) -> u32 {
        let mut word = self.0.load(SeqCst);
        while let Err(now) = self.0.compare_exchange_weak(word, one_more(word), SeqCst, SeqCst) {
            word = now;
        }
        one_more(word)
    }

    /// The word to sleep on, beside others than [`EventCount::wait`] takes.
    pub(crate) fn word(&self) -> &AtomicU32 {
        &self.0
    }

    /// Sleeps while nobody rings, and the other words stay what they are. Whether a wake at one of those ended it.
    pub(crate) fn wait<const N: usize>(
        &self,
        armed: u32,
        others: [(&AtomicU32, u32); N],
        deadline: Option<Deadline>,
    ) -> bool {
        let mut words = [(&self.0, armed); 5];
        words[1..=N].copy_from_slice(&others);
        futex::wait_any(&words[..=N], deadline) == futex::Sleep::Elsewhere
    }

    /// Step 2: wakes that many.
    #[cold]
    pub(crate) fn ring(&self, most: u32) {
        loop {
            let word = self.0.load(SeqCst);
            if word & ASLEEP == 0 {
                return;
            }
            if self.0.compare_exchange(word, one_more(word), SeqCst, SeqCst).is_err() {
                continue;
            }
            if futex::wake(&self.0, most) > 0 {
                return;
            }
            // Who armed in between looks at the data behind that, which is changed already.
            let _ = self.0.compare_exchange(one_more(word), one_more(word) & !ASLEEP, SeqCst, SeqCst);
            return;
        }
    }
}

/// Until when to sleep at most: the caller's deadline, or the next look of the backstop.
pub(crate) fn slice(deadline: Option<Deadline>, period: std::time::Duration) -> Option<Deadline> {
    if raw_lock::backstop_is_off() {
        return deadline;
    }
    let next = Deadline::after(period);
    Some(deadline.map_or(next, |deadline| deadline.min(next)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asleep_goes_when_nobody_sleeps_and_stays_for_one_who_armed_since() {
        let gate = EventCount(AtomicU32::new(0));
        gate.ring(1);
        assert!(!gate.has_sleepers());
        let armed = gate.arm();
        assert!(gate.has_sleepers());
        assert_ne!(gate.arm(), armed, "each who arms makes a word of its own");
        gate.ring(1);
        assert!(!gate.has_sleepers());
        gate.wait(armed, [], None); // at once: the word is another
    }

    #[test]
    fn the_count_wraps_without_losing_the_bit() {
        let gate = EventCount(AtomicU32::new(ASLEEP | 0x7fff_ffff));
        assert_eq!(gate.arm() & ASLEEP, ASLEEP);
    }
}
