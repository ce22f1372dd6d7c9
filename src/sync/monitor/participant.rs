//! A participant of a monitor: a record of one thread's part in something shared, which shows whether that thread is
//! alive.
//!
//! # Invariants
//! * participant-T1: the word is 0 (free), or the number of a living thread with WAITERS, or OWNER_DIED: the kernel
//!   writes that when the thread ends, since the word is in its list, and wakes a thread that sleeps on the word.
//! * participant-T2: records are taken and released under the monitor's lock, or released by their own thread. A dead
//!   one's is freed by the next thread under the lock.
//!
//! # If a process dies here
//! The word is in the list before it carries the number, and leaves the list afterwards: participant-T1 holds between
//! any two stores.

use crate::sync::lock_word::LockWord;
use crate::sys::robust_list::{NODE_ROOM, PendingSlot, TooMany};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64};

#[repr(C, align(64))]
pub(crate) struct Participant {
    word: AtomicU32,
    /// What the primitive makes of it.
    state: AtomicU32,
    data: AtomicU64,
    room: [AtomicU32; 12],
}

const _: () = assert!(size_of::<Participant>() == 64 && std::mem::offset_of!(Participant, word) == 0);
const _: () =
    assert!(std::mem::offset_of!(Participant, room) <= NODE_ROOM.start && NODE_ROOM.end <= size_of::<Participant>());

impl Participant {
    #[inline(always)]
    pub(crate) fn word(&self) -> &AtomicU32 {
        &self.word
    }

    #[inline(always)]
    pub(crate) fn is_free(&self) -> bool {
        self.word.load(Acquire) == 0
    }

    #[inline(always)]
    pub(crate) fn is_dead(&self) -> bool {
        LockWord(self.word.load(Acquire)).owner_died()
    }

    /// Taken by a thread, dead or alive.
    #[inline(always)]
    pub(crate) fn is_taken(&self) -> bool {
        !self.is_free()
    }

    #[inline(always)]
    pub(crate) fn state(&self) -> u32 {
        self.state.load(Acquire)
    }

    #[inline(always)]
    pub(crate) fn set_state(&self, state: u32) {
        self.state.store(state, Release);
    }

    #[inline(always)]
    pub(crate) fn data(&self) -> u64 {
        self.data.load(Relaxed)
    }

    /// Takes a free record, under the lock.
    #[inline(always)]
    pub(crate) fn take(&self, slot: PendingSlot, state: u32, data: u64) -> Result<(), TooMany> {
        slot.link(&self.word)?;
        self.data.store(data, Relaxed);
        self.state.store(state, Release);
        self.word.store(LockWord(slot.tid).with_waiters().0, Release);
        Ok(())
    }

    /// Releases the calling thread's own record.
    #[inline(always)]
    pub(crate) fn release(&self, slot: PendingSlot) {
        self.word.store(0, Release);
        slot.unlink(&self.word);
    }

    /// Frees the record of a dead thread.
    pub(crate) fn clear(&self) {
        self.word.store(0, Release);
    }
}
