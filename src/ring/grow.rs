//! More slots for a ring that is full, and fewer when it is empty again.
//!
//! # Protocol
//! Under the tail's lock, with a consumer at work:
//! 1. grow: pages for as many slots as there are; the items that will lie in them are copied there; then the **level** goes up
//!    (Release: the commit). Their old slots are written only by pushes behind that.
//! 2. A consumer looks at the level before and behind its copy of an item, and copies again if it has changed.
//! 3. shrink, when nothing is in: the level becomes 0, then the pages go back.
//!
//! # Invariants
//! * G1: at every level, item number n between head and tail lies in slot n modulo the slots of that level.
//! * G2: what a consumer has copied is the item if the level is the same behind the copy: the first store into an old slot
//!   comes behind the store of the level.
//!
//! # If a process dies here
//! Before the level: nothing happened, and the pages are taken by the next who grows. Behind it: the next one shrinks.
#![allow(unsafe_code)] // slots in shared memory

use super::{Operation, Ring, RingError, stride};
use crate::segment::{Location, RegionIndex, Segment};
use crate::sync::{Timeout, section};
use std::ptr::NonNull;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicU64, fence};

/// Where a ring grows.
#[derive(Debug)]
pub(crate) struct Growth {
    place: Location,
    wing: RegionIndex,
    /// For the messages in its items: what becomes of their bytes when somebody dies.
    burial: Option<Burial>,
}

/// What the owner of the items does when a holder of a lock died, under that lock.
#[derive(Clone, Copy)]
pub(crate) struct Burial {
    pub(crate) post: NonNull<u8>,
    pub(crate) producer: fn(&Growth, NonNull<u8>),
    pub(crate) consumer: fn(&Growth, NonNull<u8>, &Ring),
}

impl std::fmt::Debug for Burial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Burial").finish_non_exhaustive()
    }
}

impl Growth {
    pub(crate) fn new(place: Location, wing: RegionIndex, burial: Option<Burial>) -> Self {
        Growth { place, wing, burial }
    }

    pub(crate) fn segment(&self) -> &Segment {
        self.place.segment()
    }

    pub(crate) fn wing(&self) -> RegionIndex {
        self.wing
    }

    pub(super) fn producer_died(&self) {
        if let Some(burial) = self.burial {
            (burial.producer)(self, burial.post);
        }
    }

    pub(super) fn consumer_died(&self, ring: &Ring) {
        if let Some(burial) = self.burial {
            (burial.consumer)(self, burial.post, ring);
        }
    }
}

/// A ring with less in its slots stays as large as it is.
const WORTH_SHRINKING: usize = 1 << 20;

impl Ring {
    /// How many bytes the slots of level 0 take.
    fn first(&self, size: usize) -> usize {
        (self.mask as usize + 1) * stride(size)
    }

    #[cold]
    pub(super) fn slot_behind(&self, size: usize, index: u64) -> Result<&AtomicU64, RingError> {
        let growth = self.growth.as_ref().ok_or(RingError::Corrupt)?;
        let level = (index / (self.mask + 1)).ilog2() + 1;
        let chunk = growth.segment().chunk(growth.wing, self.first(size), level)?;
        let at = (index - self.slots(level - 1)) as usize * stride(size);
        // SAFETY: the chunk of this level has as many slots as all before it; aligned, since a stride is.
        Ok(unsafe { chunk.add(at).cast().as_ref() })
    }

    /// Step 1. Gives the new level.
    #[cold]
    #[inline(never)]
    pub(super) fn grow(&self, size: usize, tail: u64, level: u32) -> Result<u32, RingError> {
        let growth = self.growth.as_ref().ok_or(RingError::NotNow)?;
        let (slots, next) = (self.slots(level), level + 1);
        growth.segment().allocate_chunk(growth.wing, self.first(size), next)?;
        let head = self.head().index.load(Acquire);
        let count = tail.wrapping_sub(head).min(slots);
        for number in (0..count).map(|i| head.wrapping_add(i)).filter(|number| number & slots != 0) {
            let (from, to) = (self.slot(size, number, level)?, self.slot(size, number, next)?);
            for word in 0..stride(size) / 8 {
                // SAFETY: both slots have so many words.
                let (from, to) = unsafe { (&*std::ptr::from_ref(from).add(word), &*std::ptr::from_ref(to).add(word)) };
                to.store(from.load(Relaxed), Relaxed);
            }
        }
        self.doors().level.store(next, SeqCst); // G1
        fence(Release); // G2
        Ok(next)
    }

    /// Step 3, if it is worth it.
    #[cold]
    #[inline(never)]
    pub(super) fn shrink(&self, size: usize) {
        let Some(growth) = &self.growth else { return };
        let is_worth_it =
            |level: u32| level != 0 && (self.slots(level) as usize).saturating_mul(stride(size)) >= WORTH_SHRINKING;
        if !is_worth_it(self.level()) || self.has_items(size) {
            return;
        }
        let side = self.tail();
        let Ok(section) = section::enter(&side.lock, &self.doors().tail, Timeout::Now) else { return };
        if section.owner_died() {
            self.move_tail(size);
        }
        let (head, tail) = (self.head().index.load(SeqCst), side.index.load(Relaxed));
        if head == tail && is_worth_it(self.level()) {
            self.doors().level.store(0, SeqCst);
            growth.segment().punch_chunks(growth.wing);
        }
        self.leave(section, size, Operation::FailToPush);
    }
}
