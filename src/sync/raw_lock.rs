//! The lock: one 32-bit word that the kernel releases when its holder dies.
//!
//! # Layout
//! ```text
//! offset 0   word    a `LockWord`
//!        4   kind    what the block holds (used by the segment; beside the word to fill the line)
//!        8   owner   low half: the holder's process; high half: a stamp of the data (the sequence of a `DoubleBuffer`)
//!       16   start   when that process started
//!       24   room    for the thread's list node (`NODE_ROOM`), never data
//! ```
//!
//! # Protocol
//! 1. Lock: the word goes into the pending slot; 0 -> number of the thread (Acquire, pairs with 4).
//! 2. Contended: a free word is taken and keeps WAITERS. A held one gets WAITERS, then the thread sleeps on that value.
//!    A thread that slept takes the word with WAITERS, because others may sleep on it too, and gives up at its deadline
//!    only when the word has WAITERS.
//! 3. The holder writes its owner record: `start` first, then pid and stamp by one store.
//! 4. Unlock: owner = 0, then number -> 0, keeping WAITERS (SeqCst). With WAITERS, one sleeper is woken. If none was
//!    there, WAITERS is removed; a thread may have gone to sleep just before that, so there is one more wake, and if
//!    that one woke a thread, WAITERS is set again.
//! 5. The slot is cleared last.
//!
//! # Invariants
//! * lock-L1: the word is in one of the six states of `LockWord` (free, owner died, held; each with or without
//!   WAITERS); anything else is `Corrupt`.
//! * lock-L2: while the word holds a number, that thread runs, or its end is being noticed by the kernel or the
//!   backstop.
//! * lock-L3: a thread sleeps only on a word with WAITERS; WAITERS is only removed by step 4, when no thread slept.
//! * lock-L4: a free word with owner != 0 is poisoned: its holder died while its guard existed. Data under it that is
//!   changed in place may be half-written. `release_poisoned` keeps the record; `record` by a repairer replaces it.
//!
//! # If a process dies here
//! Before the exchange of step 1: nothing has happened, and the kernel wakes one more sleeper if the word is free (the
//! *relay*), so a wake that the dead thread consumed goes on. From there to the exchange of step 4: the kernel replaces
//! the number by OWNER_DIED and wakes one. The next holder reads the owner record: 0 means that no guard existed, any
//! other value names the dead process. After the exchange of step 4: the relay pays the wake that was owed. What the
//! kernel misses, the backstop finds.

use super::backstop::Backstop;
use super::lock_word::{LockState, LockWord};
use super::spin::Backoff;
use crate::error::{LockError, LockTimeoutError, TryLockError};
use crate::sys::process_id::ProcessId;
use crate::sys::robust_list::{self, NODE_ROOM, PendingSlot, TooMany};
use crate::sys::{Deadline, WAITERS, futex};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::Duration;

#[repr(C, align(8))]
pub(crate) struct RawLock {
    word: AtomicU32,
    kind: AtomicU32,
    owner: AtomicU64,
    start: AtomicU64,
    room: [AtomicU32; 4],
}

const _: () = assert!(size_of::<RawLock>() == 40 && std::mem::offset_of!(RawLock, word) == 0);
const _: () = assert!(std::mem::offset_of!(RawLock, room) <= NODE_ROOM.start && NODE_ROOM.end <= size_of::<RawLock>());

/// How long to wait.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Timeout {
    /// As long as it takes.
    Never,
    At(Deadline),
    /// Not at all.
    Now,
}

impl Timeout {
    pub(crate) fn at_most(duration: Duration) -> Self {
        Timeout::At(Deadline::after(duration))
    }
}

/// Why a lock was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LockFailure {
    WouldBlock,
    Timeout,
    Deadlock,
    Corrupt,
    TooMany,
    OwnerDied { pid: u32 },
}

impl From<LockFailure> for LockError {
    fn from(failure: LockFailure) -> Self {
        match failure {
            LockFailure::Deadlock => LockError::Deadlock,
            LockFailure::TooMany => LockError::TooMany,
            LockFailure::OwnerDied { pid } => LockError::OwnerDied { pid },
            // The first two never end a wait without a deadline.
            LockFailure::WouldBlock | LockFailure::Timeout | LockFailure::Corrupt => LockError::Corrupt,
        }
    }
}

impl From<LockFailure> for TryLockError {
    fn from(failure: LockFailure) -> Self {
        match failure {
            LockFailure::WouldBlock => TryLockError::WouldBlock,
            other => TryLockError::Lock(other.into()),
        }
    }
}

impl From<LockFailure> for LockTimeoutError {
    fn from(failure: LockFailure) -> Self {
        match failure {
            LockFailure::Timeout => LockTimeoutError::Timeout,
            other => LockTimeoutError::Lock(other.into()),
        }
    }
}

impl From<TooMany> for LockFailure {
    fn from(TooMany: TooMany) -> Self {
        LockFailure::TooMany
    }
}

/// A lock that is held, and by which thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    by: u32,
}

impl Held {
    /// Whether the calling thread took the lock. A fork child has copies of guards that it does not own.
    #[inline]
    pub(crate) fn is_mine(&self) -> bool {
        robust_list::tid() == self.by
    }
}

impl RawLock {
    #[inline(always)]
    pub(crate) fn word(&self) -> &AtomicU32 {
        &self.word
    }

    pub(crate) fn new(kind: u32) -> Self {
        RawLock {
            word: AtomicU32::new(0),
            kind: AtomicU32::new(kind),
            owner: AtomicU64::new(0),
            start: AtomicU64::new(0),
            room: [const { AtomicU32::new(0) }; 4],
        }
    }

    /// Takes the lock. `in_place`: the guard gives references into shared memory, so if it is leaked the lock must
    /// outlive the thread.
    #[inline(always)]
    pub(crate) fn acquire(&self, timeout: Timeout, in_place: bool) -> Result<Held, LockFailure> {
        let slot = PendingSlot::set(&self.word)?;
        if self.word.compare_exchange(0, slot.tid, Acquire, Relaxed).is_ok() {
            slot.keep(&self.word, in_place);
            return Ok(Held { by: slot.tid });
        }
        self.acquire_contended(slot, timeout, in_place)
    }

    #[cold]
    #[inline(never)]
    fn acquire_contended(&self, slot: PendingSlot, timeout: Timeout, in_place: bool) -> Result<Held, LockFailure> {
        match self.contend(slot.tid, timeout) {
            Ok(()) => {
                slot.keep(&self.word, in_place);
                Ok(Held { by: slot.tid })
            }
            Err(failure) => {
                slot.clear();
                Err(failure)
            }
        }
    }

    /// Step 2.
    fn contend(&self, me: u32, timeout: Timeout) -> Result<(), LockFailure> {
        let mut slept = 0;
        let mut backoff = Backoff::new();
        let mut backstop = Backstop::new();
        loop {
            let word = LockWord(self.word.load(Relaxed));
            match word.state() {
                LockState::Free | LockState::OwnerDied => {
                    let mine = word.taken_by(me).0 | slept;
                    if self.word.compare_exchange(word.0, mine, Acquire, Relaxed).is_ok() {
                        return Ok(());
                    }
                    continue;
                }
                LockState::Held { tid } if tid == me => return Err(LockFailure::Deadlock),
                LockState::Held { .. } => {}
                LockState::Corrupt => return Err(LockFailure::Corrupt),
            }
            let deadline = match timeout {
                Timeout::Now => return Err(LockFailure::WouldBlock),
                _ if backoff.spin() => continue,
                Timeout::At(deadline) => Some(deadline),
                Timeout::Never => None,
            };
            let gives_up = deadline.is_some_and(Deadline::has_passed);
            let marked = word.with_waiters();
            // A thread that sleeps needs WAITERS. One that slept leaves it: the wake that ended its sleep may have been
            // meant for another thread.
            let needs_waiters = !gives_up || slept != 0;
            if needs_waiters && word != marked && self.word.compare_exchange(word.0, marked.0, SeqCst, Relaxed).is_err()
            {
                continue;
            }
            if gives_up {
                return Err(LockFailure::Timeout);
            }
            futex::wait(&self.word, marked.0, backstop.slice(deadline));
            slept = WAITERS;
            backoff = Backoff::new();
            backstop.probe(&self.word, marked, || self.owner());
        }
    }

    /// Takes the lock of data that is changed in place, unless it is poisoned (lock-L4).
    #[inline(always)]
    pub(crate) fn acquire_unpoisoned(&self, timeout: Timeout) -> Result<Held, LockFailure> {
        let held = self.acquire(timeout, true)?;
        match self.recorded() {
            None => {
                self.record(&held, 0);
                Ok(held)
            }
            Some((pid, _)) => {
                self.release_poisoned(&held);
                Err(LockFailure::OwnerDied { pid })
            }
        }
    }

    /// Takes the lock of data that is changed in place, and runs `repair` first if it is poisoned. It stays poisoned if
    /// `repair` does not return.
    pub(crate) fn acquire_repaired(&self, repair: impl FnOnce()) -> Result<Held, LockFailure> {
        struct Poisoned<'a>(&'a RawLock, Held);
        impl Drop for Poisoned<'_> {
            fn drop(&mut self) {
                self.0.release_poisoned(&self.1);
            }
        }
        let held = self.acquire(Timeout::Never, true)?;
        if self.recorded().is_some() {
            let poisoned = Poisoned(self, held);
            repair();
            std::mem::forget(poisoned);
        }
        self.record(&held, 0);
        Ok(held)
    }

    /// The lock, if the calling thread holds it: for locks that one thread may take several times.
    #[inline(always)]
    pub(crate) fn held_by_this_thread(&self) -> Option<Held> {
        let by = robust_list::tid();
        (by != 0 && LockWord(self.word.load(Relaxed)).is_held_by(by)).then_some(Held { by })
    }

    /// Step 3.
    #[inline]
    pub(crate) fn record(&self, held: &Held, stamp: u32) {
        debug_assert!(held.is_mine());
        let process = robust_list::process();
        // It is usually there from the last time, and a store before the next locked instruction costs more than a
        // load.
        if self.start.load(Relaxed) != process.start {
            self.start.store(process.start, Relaxed);
        }
        self.owner.store(u64::from(process.pid) | u64::from(stamp) << 32, Release);
    }

    /// The owner record as (pid, stamp), if there is one: the holder's, or that of a holder that died.
    #[inline]
    pub(crate) fn recorded(&self) -> Option<(u32, u32)> {
        let owner = self.owner.load(Acquire);
        (owner != 0).then_some((owner as u32, (owner >> 32) as u32))
    }

    /// The process in the owner record; pid 0 if there is none.
    fn owner(&self) -> ProcessId {
        ProcessId { pid: self.owner.load(SeqCst) as u32, start: self.start.load(SeqCst) }
    }

    /// Steps 4 and 5. A copy of a guard in a fork child releases nothing.
    #[inline]
    pub(crate) fn release(&self, held: &Held) {
        if held.is_mine() {
            self.release_mine(held);
        }
    }

    /// Steps 4 and 5, for a caller that has checked [`Held::is_mine`].
    #[inline(always)]
    pub(crate) fn release_mine(&self, held: &Held) {
        self.owner.store(0, Release);
        self.free(held);
    }

    /// Releases the lock and keeps the record of the holder that died before (lock-L4).
    #[cold]
    pub(crate) fn release_poisoned(&self, held: &Held) {
        if held.is_mine() {
            self.free(held);
        }
    }

    #[inline(always)]
    fn free(&self, held: &Held) {
        let slot = PendingSlot::take_back(&self.word);
        if self.word.compare_exchange(held.by, 0, SeqCst, Relaxed).is_err() {
            self.free_contended(held.by);
        }
        slot.clear();
    }

    #[cold]
    #[inline(never)]
    fn free_contended(&self, tid: u32) {
        // If another process has written over the word, it is not this thread's to free.
        let freed = |word: u32| LockWord(word).is_held_by(tid).then_some(word & WAITERS);
        let Ok(before) = self.word.fetch_update(SeqCst, Relaxed, freed) else { return };
        if !LockWord(before).has_waiters() || futex::wake(&self.word, 1) > 0 {
            return;
        }
        let no_thread_slept = self.word.compare_exchange(WAITERS, 0, SeqCst, Relaxed).is_ok();
        if no_thread_slept && futex::wake(&self.word, 1) > 0 {
            self.word.fetch_or(WAITERS, SeqCst);
        }
    }

    /// The process that holds the lock, as far as can be told from outside.
    pub(crate) fn holder(&self) -> Option<u32> {
        match LockWord(self.word.load(Acquire)).state() {
            LockState::Held { tid } => Some(self.recorded().map_or(tid, |(pid, _)| pid)),
            _ => None,
        }
    }

    /// Whether a guard, alive or leaked, may still use what this lock protects.
    pub(crate) fn is_held(&self) -> bool {
        !LockWord(self.word.load(Acquire)).is_available()
    }

    /// What the block with this lock holds.
    pub(crate) fn kind(&self) -> u32 {
        self.kind.load(Relaxed)
    }

    /// Makes a lock that no thread holds new again.
    pub(crate) fn reset(&self, kind: u32) {
        self.word.store(0, Relaxed);
        self.kind.store(kind, Relaxed);
        self.owner.store(0, Relaxed);
    }
}
