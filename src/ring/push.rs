//! Into the ring: step 1 of its protocol.
#![allow(unsafe_code)] // slots in shared memory

use super::{Half, Operation, Ring, RingError};
use crate::sync::section::{self, LongSection, Section};
use crate::sync::{Timeout, atomic_copy};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// The tail's lock is held. It ends with [`Pushing::finish`] or [`Pushing::fail`].
#[must_use]
pub(crate) struct Pushing<'a> {
    ring: &'a Ring,
    section: Section<'a>,
    size: usize,
    /// The number of the next item.
    pub(crate) tail: u64,
    level: u32,
}

/// The same, while the program writes in place.
pub(crate) struct KeptPushing<'a> {
    ring: &'a Ring,
    section: LongSection<'a>,
    size: usize,
    tail: u64,
    level: u32,
}

impl Ring {
    #[inline(always)]
    pub(crate) fn begin_push(&self, size: usize, patience: Timeout) -> Result<Pushing<'_>, RingError> {
        let side = self.tail();
        let section = section::enter(&side.lock, &self.doors().tail, patience);
        let section = section.map_err(|refusal| self.give_up(size, refusal))?;
        if section.owner_died() {
            self.move_tail(size);
        }
        Ok(Pushing { ring: self, section, size, tail: side.index.load(Relaxed), level: self.level() })
    }

    /// Puts items in that lie one behind the other at `from`, as many as there is room for: at least one, or it says why not.
    ///
    /// # Safety
    /// `from` leads to `count` items of `size` bytes each, `count` not 0.
    #[inline(always)]
    pub(crate) unsafe fn push(
        &self,
        size: usize,
        from: *const u8,
        count: usize,
        patience: Timeout,
    ) -> Result<usize, RingError> {
        let mut pushing = self.begin_push(size, patience)?;
        let room = match pushing.room() {
            Ok(room) => room,
            Err(stop) => return Err(pushing.fail(stop)),
        };
        let mut pushed = count.min(room as usize);
        for i in 0..pushed {
            let Ok(stamp) = pushing.slot(i as u64) else {
                pushed = i;
                break;
            };
            // SAFETY: the slot has room for an item behind its stamp, `from` for `count` of them.
            unsafe { atomic_copy::store(std::ptr::from_ref(stamp).add(1), from.add(i * size), size) };
            pushing.commit(stamp, i as u64);
        }
        if pushed == 0 {
            return Err(pushing.fail(RingError::NoSpace));
        }
        pushing.finish(pushed as u32);
        Ok(pushed)
    }

    /// How many items have room, under the tail's lock.
    #[inline(always)]
    fn room(&self, side: &Half, tail: u64, most: u64) -> Result<u64, RingError> {
        if side.closed.load(Relaxed) != 0 {
            return Err(RingError::Closed);
        }
        let used = tail.wrapping_sub(side.seen.load(Relaxed));
        if used < most { Ok(most - used) } else { self.room_now(side, tail, most) }
    }

    #[inline(never)]
    fn room_now(&self, side: &Half, tail: u64, most: u64) -> Result<u64, RingError> {
        let head = self.head().index.load(Acquire); // I3: the consumer's copy is behind us
        side.seen.store(head, Relaxed);
        match most.checked_sub(tail.wrapping_sub(head)) {
            Some(0) => Err(RingError::NotNow),
            Some(room) => Ok(room),
            None => Err(RingError::Corrupt),
        }
    }
}

impl<'a> Pushing<'a> {
    /// How many items have room: at least one, for which the ring grows if it may.
    #[inline(always)]
    pub(crate) fn room(&mut self) -> Result<u64, RingError> {
        let (ring, slots) = (self.ring, self.ring.slots(self.level));
        match ring.room(ring.tail(), self.tail, ring.items.min(slots)) {
            Err(RingError::NotNow) if slots < ring.items => {
                self.level = ring.grow(self.size, self.tail, self.level)?;
                ring.room(ring.tail(), self.tail, ring.items.min(ring.slots(self.level)))
            }
            room => room,
        }
    }

    /// The stamp of the next slot but so many; the item follows.
    #[inline(always)]
    pub(crate) fn slot(&self, offset: u64) -> Result<&'a AtomicU64, RingError> {
        self.ring.slot(self.size, self.tail.wrapping_add(offset), self.level)
    }

    /// The item behind this stamp is in (I1).
    #[inline(always)]
    pub(crate) fn commit(&self, stamp: &AtomicU64, offset: u64) {
        stamp.store(self.tail.wrapping_add(offset).wrapping_add(1), Release);
    }

    /// So many were committed.
    #[inline(always)]
    pub(crate) fn finish(self, pushed: u32) {
        self.ring.tail().index.store(self.tail.wrapping_add(pushed.into()), Release);
        self.ring.leave(self.section, self.size, Operation::Push(pushed));
    }

    /// Nothing was.
    #[inline(always)]
    pub(crate) fn fail(self, stop: RingError) -> RingError {
        self.ring.leave(self.section, self.size, Operation::FailToPush);
        stop
    }

    pub(crate) fn keep(self) -> KeptPushing<'a> {
        let Pushing { ring, section, size, tail, level } = self;
        KeptPushing { ring, section: section.keep(), size, tail, level }
    }
}

impl<'a> KeptPushing<'a> {
    pub(crate) fn resume(self) -> Pushing<'a> {
        let KeptPushing { ring, section, size, tail, level } = self;
        Pushing { ring, section: section.resume(), size, tail, level }
    }
}
