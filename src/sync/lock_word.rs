//! The bits of a lock word, as the kernel's robust futexes define them.
//!
//! # Layout
//! ```text
//! bit 31      WAITERS     a thread may sleep on the word, or on something that the kernel wakes through it
//! bit 30      OWNER_DIED  the kernel has removed the number of a dead holder
//! bits 0-29   holder      the number of the thread that holds the lock; 0: none
//! ```

use crate::sys::{OWNER_DIED, WAITERS};

/// The value of a lock word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LockWord(pub(crate) u32);

/// What a lock word stands for, whatever its WAITERS bit says.
pub(crate) enum LockState {
    Free,
    OwnerDied,
    Held { tid: u32 },
    Corrupt,
}

impl LockWord {
    #[inline(always)]
    pub(crate) const fn state(self) -> LockState {
        match (self.owner_died(), self.holder()) {
            (false, 0) => LockState::Free,
            (true, 0) => LockState::OwnerDied,
            (false, tid) => LockState::Held { tid },
            (true, _) => LockState::Corrupt,
        }
    }

    /// The number of the holding thread, 0 if there is none.
    #[inline(always)]
    pub(crate) const fn holder(self) -> u32 {
        self.0 & !(WAITERS | OWNER_DIED)
    }

    #[inline(always)]
    pub(crate) const fn is_held_by(self, tid: u32) -> bool {
        self.0 & !WAITERS == tid
    }

    /// Free, and the last holder did not die with it.
    #[inline(always)]
    pub(crate) const fn is_free(self) -> bool {
        self.0 & !WAITERS == 0
    }

    /// Free, or its holder died: the next thread may take it.
    #[inline(always)]
    pub(crate) const fn is_available(self) -> bool {
        self.holder() == 0
    }

    #[inline(always)]
    pub(crate) const fn owner_died(self) -> bool {
        self.0 & OWNER_DIED != 0
    }

    #[inline(always)]
    pub(crate) const fn has_waiters(self) -> bool {
        self.0 & WAITERS != 0
    }

    #[inline(always)]
    pub(crate) const fn with_waiters(self) -> Self {
        LockWord(self.0 | WAITERS)
    }

    /// The word after `tid` has taken the lock: WAITERS stays.
    #[inline(always)]
    pub(crate) const fn taken_by(self, tid: u32) -> Self {
        LockWord(tid | self.0 & WAITERS)
    }

    /// What the kernel writes when the holder of a lock with waiters dies.
    pub(crate) const DEAD_WITH_WAITERS: Self = LockWord(OWNER_DIED | WAITERS);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_has_one_state() {
        for waiters in [0, WAITERS] {
            assert!(matches!(LockWord(waiters).state(), LockState::Free));
            assert!(matches!(LockWord(OWNER_DIED | waiters).state(), LockState::OwnerDied));
            assert!(matches!(LockWord(7 | waiters).state(), LockState::Held { tid: 7 }));
            assert!(matches!(LockWord(7 | OWNER_DIED | waiters).state(), LockState::Corrupt));
            assert_eq!(LockWord(waiters).taken_by(7), LockWord(7 | waiters));
            assert_eq!(LockWord(waiters).has_waiters(), waiters != 0);
        }
    }
}
