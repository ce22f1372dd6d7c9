//! Pushing items: step 1 of the ring's protocol.
#![allow(unsafe_code)] // slots in shared memory

use super::error::RingError;
use super::ring::Ring;
use super::wake::Operation;
use crate::sync::section::{LongSection, Section};
use crate::sync::{Timeout, atomic_copy};
use bytemuck::NoUninit;
use std::mem::ManuallyDrop;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// A push in progress: the tail's lock is held. Dropping it aborts the push; [`Pushing::finish`] completes it.
#[must_use]
pub(crate) struct Pushing<'a> {
    ring: &'a Ring,
    section: ManuallyDrop<Section<'a>>,
    /// The number of the next item.
    tail: u64,
    level: u32,
}

/// A push during which the program writes in place.
///
/// It has no `Drop`: its owner may be dropped by a fork child, to which the lock does not belong. The owner checks
/// that, and calls [`KeptPushing::resume`].
#[must_use]
pub(crate) struct KeptPushing<'a> {
    ring: &'a Ring,
    section: LongSection<'a>,
    tail: u64,
    level: u32,
}

impl Drop for Pushing<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: the section is taken once: here, or by `into_section`, which does not run this.
        let section = unsafe { ManuallyDrop::take(&mut self.section) };
        self.ring.leave(section, Operation::FailedPush);
    }
}

impl Ring {
    /// Takes the tail's lock.
    #[inline(always)]
    pub(crate) fn begin_push(&self, timeout: Timeout) -> Result<Pushing<'_>, RingError> {
        let section = self.lock_tail(timeout).map_err(|failure| self.give_up(failure))?;
        let tail = self.tail().index.load(Relaxed);
        Ok(Pushing { ring: self, section: ManuallyDrop::new(section), tail, level: self.level() })
    }

    /// Pushes the first of the items, as many as there is room for, at least one. Returns their number.
    #[inline(always)]
    pub(crate) fn push<T: NoUninit>(&self, items: &[T], timeout: Timeout) -> Result<usize, RingError> {
        let mut pushing = self.begin_push(timeout)?;
        let room = pushing.room()?;
        let mut pushed = items.len().min(room as usize);
        for (i, item) in items[..pushed].iter().enumerate() {
            if pushing.write(item, i as u64).is_err() {
                pushed = i;
                break;
            }
        }
        if pushed == 0 {
            return Err(pushing.fail(RingError::NoSpace));
        }
        pushing.finish(pushed as u32);
        Ok(pushed)
    }

    /// The number of items for which there is room, if at most `most` may be in the ring. Under the tail's lock.
    #[inline(always)]
    fn room(&self, tail: u64, most: u64) -> Result<u64, RingError> {
        let half = self.tail();
        if half.closed.load(Relaxed) != 0 {
            return Err(RingError::Closed);
        }
        let used = tail.wrapping_sub(half.seen_head.load(Relaxed));
        if used < most { Ok(most - used) } else { self.room_by_head(tail, most) }
    }

    #[inline(never)]
    fn room_by_head(&self, tail: u64, most: u64) -> Result<u64, RingError> {
        let head = self.head().index.load(Acquire); // ring-I3: the consumer's copy was made before
        self.tail().seen_head.store(head, Relaxed);
        match most.checked_sub(tail.wrapping_sub(head)) {
            Some(0) => Err(RingError::NotNow),
            Some(room) => Ok(room),
            None => Err(RingError::Corrupt),
        }
    }
}

impl<'a> Pushing<'a> {
    /// The number of the first item of this push.
    pub(crate) fn number(&self) -> u64 {
        self.tail
    }

    /// The number of items for which there is room: at least one. The ring grows for it if it can.
    #[inline(always)]
    pub(crate) fn room(&mut self) -> Result<u64, RingError> {
        let (ring, slots) = (self.ring, self.ring.slots(self.level));
        match ring.room(self.tail, ring.capacity.min(slots)) {
            Err(RingError::NotNow) if slots < ring.capacity => {
                self.level = ring.grow(self.tail, self.level)?;
                ring.room(self.tail, ring.capacity.min(ring.slots(self.level)))
            }
            room => room,
        }
    }

    /// Writes and commits the item that is `offset` after the first one (ring-I1). [`Pushing::room`] was at least
    /// `offset + 1`.
    #[inline(always)]
    pub(crate) fn write<T: NoUninit>(&self, item: &T, offset: u64) -> Result<(), RingError> {
        let number = self.tail.wrapping_add(offset);
        let stamp = self.ring.slot_of::<T>(number, self.level)?;
        let from = std::ptr::from_ref(item).cast();
        // SAFETY: after the stamp there is room for a `T` by `slot_of`; `item` has that many bytes, all of them
        // initialised.
        unsafe { atomic_copy::store(std::ptr::from_ref(stamp).add(1), from, size_of::<T>()) };
        stamp.store(number.wrapping_add(1), Release);
        Ok(())
    }

    /// Completes the push of the first `pushed` items, which were written.
    #[inline(always)]
    pub(crate) fn finish(self, pushed: u32) {
        let ring = self.ring;
        ring.tail().index.store(self.tail.wrapping_add(pushed.into()), Release);
        ring.leave(self.into_section(), Operation::Push(pushed));
    }

    /// Aborts the push, and returns the error.
    #[inline(always)]
    pub(crate) fn fail(self, error: RingError) -> RingError {
        drop(self);
        error
    }

    /// Keeps the lock for longer: from here on other locks may be taken, and code of the program may run.
    pub(crate) fn keep(self) -> KeptPushing<'a> {
        let (ring, tail, level) = (self.ring, self.tail, self.level);
        KeptPushing { ring, section: self.into_section().keep(), tail, level }
    }

    /// Ends the push without releasing the lock.
    #[inline(always)]
    fn into_section(self) -> Section<'a> {
        let mut pushing = ManuallyDrop::new(self);
        // SAFETY: the section is taken once: `pushing` is not dropped.
        unsafe { ManuallyDrop::take(&mut pushing.section) }
    }
}

impl<'a> KeptPushing<'a> {
    pub(crate) fn resume(self) -> Pushing<'a> {
        let KeptPushing { ring, section, tail, level } = self;
        Pushing { ring, section: ManuallyDrop::new(section.resume()), tail, level }
    }
}
