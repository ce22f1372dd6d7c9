//! A value that changes as a whole: two slots, and a sequence that says which one counts.
//!
//! # Layout
//! ```text
//! offset 0   lock   RawLock; the stamp of its owner record is the low half of seq at the time of the lock
//!       40   seq    the published slot is seq & 1
//!       48   slot 0, then slot 1, each padded to words
//! ```
//!
//! # Protocol
//! 1. write, under the lock: fence(Release); the hidden slot by relaxed stores; `seq = seq + 1` (Release) commits.
//! 2. read, without the lock: seq (Acquire); the published slot by relaxed loads; fence(Acquire); again if seq moved.
//!    The fences pair: whoever read a word of the write that follows sees the seq of the write before it.
//!
//! # Invariants
//! * T1: seq moves only under the lock, by one; the store is the one commit point.
//! * T2: the published slot is not written.
//! * T3: no reference into a slot exists; slots are copied by atomics.
//!
//! # If a process dies here
//! Before the store of seq: nothing happened, for the hidden slot counts for nobody. After it: it had committed. The next
//! holder tells which by the owner record's stamp: equal to seq, the changes are gone as a whole; one less, they count.
#![allow(unsafe_code)] // slots lie behind the struct, in memory whose size only the caller knows

use super::{Held, LockFailure, RawLock, Timeout, atomic_copy};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU64, fence};

#[repr(C)]
pub(crate) struct DoubleBuffer {
    lock: RawLock,
    seq: AtomicU64,
    slots: [AtomicU64; 0],
}

const _: () = assert!(std::mem::offset_of!(DoubleBuffer, seq) == 40 && size_of::<DoubleBuffer>() == 48);

/// A lock on a twin, and what the one before left.
pub(crate) struct Transaction {
    pub(crate) held: Held,
    seq: u64,
    /// The process that was killed in its turn, if its changes are gone.
    pub(crate) rolled_back: Option<u32>,
}

impl DoubleBuffer {
    /// How many bytes a twin of values of `length` bytes takes; none if no memory could hold it.
    pub(crate) const fn bytes(length: usize) -> Option<usize> {
        match length.checked_next_multiple_of(8) {
            Some(slot) => match slot.checked_mul(2) {
                Some(slots) => slots.checked_add(size_of::<DoubleBuffer>()),
                None => None,
            },
            None => None,
        }
    }

    pub(crate) fn lock(&self) -> &RawLock {
        &self.lock
    }

    #[inline(always)]
    fn slot(&self, seq: u64, length: usize) -> *const AtomicU64 {
        let offset = if seq & 1 == 0 { 0 } else { length.div_ceil(8) };
        self.slots.as_ptr().wrapping_add(offset)
    }

    /// Fills a new twin, before anybody else sees it.
    ///
    /// # Safety
    /// `self` leads [`DoubleBuffer::bytes`]`(length)` bytes of memory; `from` is readable for `length`.
    pub(crate) unsafe fn init(&self, from: *const u8, length: usize) {
        self.seq.store(0, Relaxed);
        // SAFETY: both slots lie in the memory that the caller promised.
        unsafe {
            atomic_copy::store(self.slot(0, length), from, length);
            atomic_copy::store(self.slot(1, length), from, length);
        }
    }

    /// Takes the lock and says what became of the holder before.
    #[inline(always)]
    pub(crate) fn begin(&self, patience: Timeout) -> Result<Transaction, LockFailure> {
        let held = self.lock.acquire(patience, false)?;
        let seq = self.seq.load(Relaxed);
        let victim = self.lock.recorded();
        self.lock.record(&held, seq as u32);
        let rolled_back = victim.and_then(|(pid, stamp)| (stamp == seq as u32).then_some(pid));
        Ok(Transaction { held, seq, rolled_back })
    }

    /// Copies the published slot in one's turn, when it cannot change.
    ///
    /// # Safety
    /// As [`DoubleBuffer::init`], with `to` writable.
    #[inline(always)]
    pub(crate) unsafe fn read(&self, turn: &Transaction, to: *mut u8, length: usize) {
        // SAFETY: by the caller's promise.
        unsafe { atomic_copy::load(self.slot(turn.seq, length), to, length) };
    }

    /// Writes and commits, then gives up the lock.
    ///
    /// # Safety
    /// As [`DoubleBuffer::init`].
    #[inline(always)]
    pub(crate) unsafe fn commit(&self, turn: &Transaction, from: *const u8, length: usize) {
        if !turn.held.is_mine() {
            return; // a fork child's copy of its parent's guard
        }
        let next = turn.seq.wrapping_add(1);
        fence(Release);
        // SAFETY: by the caller's promise.
        unsafe { atomic_copy::store(self.slot(next, length), from, length) };
        self.seq.store(next, Release); // the commit point
        self.lock.release_mine(&turn.held);
    }

    /// Gives up the lock; nothing happened.
    #[inline]
    pub(crate) fn roll_back(&self, turn: &Transaction) {
        self.lock.release(&turn.held);
    }

    /// Copies the last committed value without the lock. False if a writer was faster, and the copy may be torn.
    ///
    /// # Safety
    /// As [`DoubleBuffer::read`].
    #[inline(always)]
    pub(crate) unsafe fn snapshot(&self, to: *mut u8, length: usize) -> bool {
        let seq = self.seq.load(Acquire);
        // SAFETY: by the caller's promise.
        unsafe { atomic_copy::load(self.slot(seq, length), to, length) };
        fence(Acquire);
        self.seq.load(Relaxed) == seq
    }

    /// Writers are fast. After some tries this reader takes a turn of its own where it can; where seq moves 65,536 times
    /// nonetheless, somebody scribbles over the memory, and the bytes are given as they are.
    ///
    /// # Safety
    /// As [`DoubleBuffer::read`].
    #[cold]
    #[inline(never)]
    pub(crate) unsafe fn snapshot_among_writers(&self, to: *mut u8, length: usize) {
        const QUICK: u32 = 16;
        const MOST: u32 = 65_536;
        for round in 0..MOST {
            // SAFETY: by the caller's promise.
            if unsafe { self.snapshot(to, length) } {
                return;
            }
            if round < QUICK {
                std::hint::spin_loop();
            } else if let Ok(held) = self.lock.acquire(Timeout::Now, false) {
                // SAFETY: as above.
                let done = unsafe { self.snapshot(to, length) };
                self.lock.release_marked(&held); // the next holder shall hear of one that died
                if done {
                    return;
                }
            }
        }
    }
}
