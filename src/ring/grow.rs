//! More slots for a full ring, and fewer for an empty one.
//!
//! # Protocol
//! Under the tail's lock, while consumers may be at work:
//! 1. Grow: allocate pages for as many slots as there are; copy into the new slots the items whose number, modulo the
//!    new number of slots, is in the new half; then raise the **level** (Release: the commit). The old slots of these
//!    items are written only by pushes after that.
//! 2. A consumer reads the level before and after it copies an item. If the level has changed, it copies again.
//! 3. Shrink, when the ring is empty: set the level to 0, then give the pages back.
//!
//! # Invariants
//! * grow-G1: at every level, each item between head and tail is in the slot of its number modulo the slots of that
//!   level.
//! * grow-G2: what a consumer copied is the item if the level is the same after the copy: the first store into an old
//!   slot comes after the store of the level.
//!
//! # If a process dies here
//! Before the level is raised, nothing happened: the next process that grows uses the pages. After it, the ring has
//! grown; it shrinks when it is empty, as usual. After the level was set to 0, the pages stay until the ring grows
//! again or ends.
#![allow(unsafe_code)] // slots in shared memory

use super::error::RingError;
use super::layout::stride;
use super::ring::Ring;
use super::wake::Operation;
use crate::sync::Timeout;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::fence;

/// A ring with fewer bytes in its slots does not shrink.
const WORTH_SHRINKING: usize = 1 << 20;

impl Ring {
    /// Step 1. Returns the new level.
    #[cold]
    #[inline(never)]
    pub(super) fn grow(&self, tail: u64, level: u32) -> Result<u32, RingError> {
        let growth = self.growth.as_ref().ok_or(RingError::NotNow)?;
        let (slots, next) = (self.slots(level), level + 1);
        growth.segment().allocate_chunk(growth.region(), self.first_bytes(), next)?;
        let head = self.head().index.load(Acquire);
        let count = tail.wrapping_sub(head).min(slots);
        for number in (0..count).map(|i| head.wrapping_add(i)).filter(|number| number & slots != 0) {
            let (from, to) = (self.slot(number, level)?, self.slot(number, next)?);
            for word in 0..stride(self.size) / 8 {
                // SAFETY: a slot has `stride / 8` words.
                let (from, to) = unsafe { (&*std::ptr::from_ref(from).add(word), &*std::ptr::from_ref(to).add(word)) };
                to.store(from.load(Relaxed), Relaxed);
            }
        }
        self.queues().level.store(next, SeqCst); // grow-G1
        fence(Release); // grow-G2
        Ok(next)
    }

    /// Step 3, if the slots are many enough.
    #[cold]
    #[inline(never)]
    pub(super) fn shrink(&self) {
        let Some(growth) = &self.growth else { return };
        let is_worth_it = |level: u32| {
            level != 0 && (self.slots(level) as usize).saturating_mul(stride(self.size)) >= WORTH_SHRINKING
        };
        if !is_worth_it(self.level()) || self.has_items() {
            return;
        }
        let Ok(section) = self.lock_tail(Timeout::Now) else { return };
        let (head, tail) = (self.head().index.load(SeqCst), self.tail().index.load(Relaxed));
        if head == tail && is_worth_it(self.level()) {
            self.queues().level.store(0, SeqCst);
            growth.segment().punch_chunks(growth.region());
        }
        self.leave(section, Operation::FailedPush);
    }
}
