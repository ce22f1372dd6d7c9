//! A value that changes as a whole: two slots, and a sequence number that says which one is published.
//!
//! # Layout
//! ```text
//! offset 0   lock   RawLock; the stamp of the owner record is the low half of seq when the lock was taken
//!       40   seq    the published slot is seq & 1
//!       48   slot 0, then slot 1, each padded to words
//! ```
//!
//! # Protocol
//! 1. Write, under the lock: fence(Release); the hidden slot by relaxed stores; `seq = seq + 1` (Release) commits.
//! 2. Read, without the lock: seq (Acquire); the published slot by relaxed loads; fence(Acquire); again if seq has
//!    changed. The fences pair: a reader that loaded a word of the following write also sees the seq of the write
//!    before it.
//!
//! # Invariants
//! * double_buffer-T1: seq changes only under the lock, by 1; that store is the one commit point.
//! * double_buffer-T2: the published slot is not written.
//! * double_buffer-T3: no reference into a slot exists; slots are copied by atomics.
//!
//! # If a process dies here
//! Before the store of seq: nothing has happened, since no reader uses the hidden slot. After it: the write is
//! committed. The next holder sees which from the stamp of the owner record: equal to seq, the changes are gone as a
//! whole; one less, they are valid.
#![allow(unsafe_code)] // the slots follow the struct, in memory whose size only the caller knows

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

/// The lock on a double buffer, and what became of the previous holder.
pub(crate) struct Transaction {
    pub(crate) held: Held,
    seq: u64,
    /// The process that was killed in its transaction, if its changes are gone.
    pub(crate) rolled_back: Option<u32>,
}

impl DoubleBuffer {
    /// The size in bytes for values of `length` bytes; `None` if it overflows.
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

    /// Initialises both slots, before another process sees them.
    ///
    /// # Safety
    /// `self` is followed by memory, [`DoubleBuffer::bytes`]`(length)` in all; `from` is readable for `length` bytes.
    pub(crate) unsafe fn init(&self, from: *const u8, length: usize) {
        self.seq.store(0, Relaxed);
        // SAFETY: both slots lie in the `bytes(length)` bytes of this object; no other process has it yet.
        unsafe {
            atomic_copy::store(self.slot(0, length), from, length);
            atomic_copy::store(self.slot(1, length), from, length);
        }
    }

    /// Takes the lock and finds out what became of the previous holder.
    #[inline(always)]
    pub(crate) fn begin(&self, timeout: Timeout) -> Result<Transaction, LockFailure> {
        let held = self.lock.acquire(timeout, false)?;
        let seq = self.seq.load(Relaxed);
        let victim = self.lock.recorded();
        self.lock.record(&held, seq as u32);
        let rolled_back = victim.and_then(|(pid, stamp)| (stamp == seq as u32).then_some(pid));
        Ok(Transaction { held, seq, rolled_back })
    }

    /// Copies the published slot during a transaction, when it cannot change.
    ///
    /// # Safety
    /// `self` is followed by memory, [`DoubleBuffer::bytes`]`(length)` in all; `to` is writable for `length` bytes.
    #[inline(always)]
    pub(crate) unsafe fn read(&self, transaction: &Transaction, to: *mut u8, length: usize) {
        // SAFETY: a slot of this object (double_buffer-T3), and `length` writable bytes, as the caller guarantees.
        unsafe { atomic_copy::load(self.slot(transaction.seq, length), to, length) };
    }

    /// Writes and commits, then releases the lock.
    ///
    /// # Safety
    /// `self` is followed by memory, [`DoubleBuffer::bytes`]`(length)` in all; `from` is readable for `length` bytes.
    #[inline(always)]
    pub(crate) unsafe fn commit(&self, transaction: &Transaction, from: *const u8, length: usize) {
        if !transaction.held.is_mine() {
            return; // a fork child's copy of its parent's guard
        }
        let next = transaction.seq.wrapping_add(1);
        fence(Release);
        // SAFETY: the hidden slot of this object (double_buffer-T2), and `length` readable bytes, as the caller
        // guarantees.
        unsafe { atomic_copy::store(self.slot(next, length), from, length) };
        self.seq.store(next, Release); // the commit point
        self.lock.release_mine(&transaction.held);
    }

    /// Releases the lock without a change.
    #[inline]
    pub(crate) fn roll_back(&self, transaction: &Transaction) {
        self.lock.release(&transaction.held);
    }

    /// Copies the last committed value without the lock. Returns false if a writer was faster, and the copy may be
    /// torn.
    ///
    /// # Safety
    /// See [`DoubleBuffer::read`].
    #[inline(always)]
    pub(crate) unsafe fn snapshot(&self, to: *mut u8, length: usize) -> bool {
        let seq = self.seq.load(Acquire);
        // SAFETY: a slot of this object, read by atomics (double_buffer-T3), and `length` writable bytes.
        unsafe { atomic_copy::load(self.slot(seq, length), to, length) };
        fence(Acquire);
        self.seq.load(Relaxed) == seq
    }

    /// Copies the last committed value while others write. After some tries this reader takes the lock where it can. If
    /// seq still changes 65,536 times, another program is overwriting the memory, and the bytes are returned as they
    /// are.
    ///
    /// # Safety
    /// See [`DoubleBuffer::read`].
    #[cold]
    #[inline(never)]
    pub(crate) unsafe fn snapshot_among_writers(&self, to: *mut u8, length: usize) {
        const QUICK: u32 = 16;
        const MOST: u32 = 65_536;
        for round in 0..MOST {
            // SAFETY: the caller guarantees what `snapshot` requires.
            if unsafe { self.snapshot(to, length) } {
                return;
            }
            if round < QUICK {
                std::hint::spin_loop();
            } else if let Ok(held) = self.lock.acquire(Timeout::Now, false) {
                // SAFETY: the caller guarantees what `snapshot` requires.
                let done = unsafe { self.snapshot(to, length) };
                self.lock.release_poisoned(&held); // the record of a dead holder stays for the next transaction
                if done {
                    return;
                }
            }
        }
    }
}
