//! A seat: where somebody's part in something shared is written down, and whether that one still lives.
//!
//! # Invariants
//! * T1: a seat's word is 0 (free), or the number of a living thread with W, or DIED: the kernel puts that when the thread
//!   ends, for the word is in its list, and wakes one who sleeps on the word.
//! * T2: seats are taken and given up under the monitor's lock, or given up by their own thread; a dead one's by whoever
//!   comes next under the lock.
//!
//! # If a process dies here
//! It is in the list before it carries the number, and leaves the list behind that: T1 holds between any two stores.

use crate::sys::robust_list::{NODE_ROOM, PendingSlot, TooMany};
use crate::sys::{OWNER_DIED, WAITERS};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64};

#[repr(C, align(64))]
pub(crate) struct Participant {
    word: AtomicU32,
    /// What its owner does there.
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
        self.word.load(Acquire) & OWNER_DIED != 0
    }

    /// Somebody's, dead or alive.
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

    /// Takes a free seat, under the lock.
    #[inline(always)]
    pub(crate) fn take(&self, me: PendingSlot, state: u32, data: u64) -> Result<(), TooMany> {
        me.enlist(&self.word)?;
        self.data.store(data, Relaxed);
        self.state.store(state, Release);
        self.word.store(me.tid | WAITERS, Release);
        Ok(())
    }

    /// Gives up one's own seat.
    #[inline(always)]
    pub(crate) fn give_up(&self, me: PendingSlot) {
        self.word.store(0, Release);
        me.delist(&self.word);
    }

    /// A dead one's is free again.
    pub(crate) fn clear(&self) {
        self.word.store(0, Release);
    }
}
