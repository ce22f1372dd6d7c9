//! Popping items: step 2 of the ring's protocol.
#![allow(unsafe_code)] // slots in shared memory

use super::error::RingError;
use super::ring::Ring;
use super::wake::Operation;
use crate::sync::section::{LongSection, Section};
use crate::sync::{Timeout, atomic_copy};
use bytemuck::Pod;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU64, fence};

/// A pop in progress: the head's lock is held. Dropping it releases the lock and wakes as a failed pop; what was not
/// committed stays. [`Popping::finish`] completes it.
#[must_use]
pub(crate) struct Popping<'a> {
    ring: &'a Ring,
    section: ManuallyDrop<Section<'a>>,
    /// The number of the next item.
    head: u64,
}

/// A pop during which the program reads in place, or other locks are taken.
///
/// It has no `Drop`: its owner may be dropped by a fork child, to which the lock does not belong. The owner checks
/// that, and calls [`KeptPopping::resume`].
#[must_use]
pub(crate) struct KeptPopping<'a> {
    ring: &'a Ring,
    section: LongSection<'a>,
    head: u64,
}

impl Drop for Popping<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: the section is taken once: here, or by `into_section`, which does not run this.
        let section = unsafe { ManuallyDrop::take(&mut self.section) };
        self.ring.leave(section, Operation::FailedPop);
    }
}

impl Ring {
    /// Takes the head's lock.
    #[inline(always)]
    pub(crate) fn begin_pop(&self, timeout: Timeout) -> Result<Popping<'_>, RingError> {
        let section = self.lock_head(timeout).map_err(|failure| self.give_up(failure))?;
        Ok(Popping { ring: self, section: ManuallyDrop::new(section), head: self.head().index.load(Relaxed) })
    }

    /// Pops items into the first places of `to`: at least one. Returns their number. They are copies of the bytes that
    /// were in the ring, whatever these are.
    #[inline(always)]
    pub(crate) fn pop<T>(&self, to: &mut [MaybeUninit<T>], timeout: Timeout) -> Result<usize, RingError> {
        let popping = self.begin_pop(timeout)?;
        let mut popped = 0;
        while popped < to.len() {
            // SAFETY: the place has room for a `T`.
            match unsafe { popping.copy(popped as u64, to[popped].as_mut_ptr()) } {
                Ok(true) => popped += 1,
                Ok(false) => break,
                Err(error) if popped == 0 => return Err(popping.fail(error)),
                Err(_) => break,
            }
            if popped as u64 > self.mask {
                break;
            }
        }
        if popped == 0 {
            return Err(popping.fail(RingError::NotNow));
        }
        popping.finish(popped as u32);
        Ok(popped)
    }
}

impl<'a> Popping<'a> {
    /// The number of the first item of this pop.
    pub(crate) fn number(&self) -> u64 {
        self.head
    }

    /// The stamp of the slot that is `offset` after the first one, and the ring's level, if its item was pushed. The
    /// item stays in this slot as long as the level stays.
    #[inline(always)]
    fn slot<T>(&self, offset: u64) -> Result<Option<(&'a AtomicU64, u32)>, RingError> {
        let number = self.head.wrapping_add(offset);
        let level = self.ring.level();
        let stamp = self.ring.slot_of::<T>(number, level)?;
        Ok((stamp.load(Acquire) == number.wrapping_add(1)).then_some((stamp, level)))
    }

    /// Whether what was copied since `level` was read is what was pushed (grow-G2).
    #[inline(always)]
    fn is_whole(&self, level: u32) -> bool {
        fence(Acquire);
        self.ring.level() == level
    }

    /// Copies the item that is `offset` after the first one. Returns false if it was not pushed yet.
    ///
    /// # Safety
    /// `to` leads to room for a `T`. Any bytes may be written to it.
    #[inline(always)]
    unsafe fn copy<T>(&self, offset: u64, to: *mut T) -> Result<bool, RingError> {
        loop {
            let (stamp, level) = match self.slot::<T>(offset)? {
                Some(slot) => slot,
                // While the ring grows, the item moves to another slot.
                None if self.ring.growth.is_some() && self.slot::<T>(offset)?.is_some() => continue,
                None => return Ok(false),
            };
            // SAFETY: after the stamp there are the bytes of a `T` by `slot_of`, and `to` has room for them.
            unsafe { atomic_copy::load(std::ptr::from_ref(stamp).add(1), to.cast(), size_of::<T>()) };
            if self.ring.growth.is_none() || self.is_whole(level) {
                return Ok(true);
            }
        }
    }

    /// Reads the item that is `offset` after the first one. Returns false if it was not pushed yet.
    #[inline(always)]
    pub(crate) fn read<T: Pod>(&self, offset: u64, to: &mut T) -> Result<bool, RingError> {
        // SAFETY: `to` is a `T`, and any bytes are one.
        unsafe { self.copy(offset, to) }
    }

    /// Commits the pop of the first `popped` items (ring-I2).
    #[inline(always)]
    pub(crate) fn commit(&self, popped: u32) {
        self.ring.head().index.store(self.head.wrapping_add(popped.into()), Release);
    }

    /// Commits and completes the pop of the first `popped` items.
    #[inline(always)]
    pub(crate) fn finish(self, popped: u32) {
        self.commit(popped);
        self.finish_committed(popped);
    }

    /// Completes the pop of `popped` items that were committed.
    #[inline(always)]
    pub(crate) fn finish_committed(self, popped: u32) {
        let ring = self.ring;
        ring.leave(self.into_section(), Operation::Pop(popped));
        if ring.level() != 0 {
            ring.shrink();
        }
    }

    /// Releases the lock after a change of the counts of [`acknowledge`](super::acknowledge), and wakes by them: all
    /// waiters if an item was requeued.
    pub(crate) fn finish_acknowledged(self, requeued: bool) {
        let operation = if requeued { Operation::Change } else { Operation::Acknowledge };
        self.ring.leave(self.into_section(), operation);
    }

    /// Aborts the pop, and returns the error.
    #[inline(always)]
    pub(crate) fn fail(self, error: RingError) -> RingError {
        drop(self);
        error
    }

    /// Keeps the lock for longer: from here on other locks may be taken, and code of the program may run.
    pub(crate) fn keep(self) -> KeptPopping<'a> {
        let (ring, head) = (self.ring, self.head);
        KeptPopping { ring, section: self.into_section().keep(), head }
    }

    /// Ends the pop without releasing the lock.
    #[inline(always)]
    fn into_section(self) -> Section<'a> {
        let mut popping = ManuallyDrop::new(self);
        // SAFETY: the section is taken once: `popping` is not dropped.
        unsafe { ManuallyDrop::take(&mut popping.section) }
    }
}

impl<'a> KeptPopping<'a> {
    pub(crate) fn resume(self) -> Popping<'a> {
        let KeptPopping { ring, section, head } = self;
        Popping { ring, section: ManuallyDrop::new(section.resume()), head }
    }
}
