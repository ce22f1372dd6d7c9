//! Out of the ring: step 2 of its protocol.
#![allow(unsafe_code)] // slots in shared memory

use super::{Operation, Ring, RingError};
use crate::sync::section::{self, LongSection, Section};
use crate::sync::{Timeout, atomic_copy};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU64, fence};

/// The head's lock is held. It ends with [`Popping::finish`] or [`Popping::fail`].
#[must_use]
pub(crate) struct Popping<'a> {
    ring: &'a Ring,
    section: Section<'a>,
    size: usize,
    /// The number of the next item.
    pub(crate) head: u64,
}

/// The same, while the program reads in place, or other locks are taken.
pub(crate) struct KeptPopping<'a> {
    ring: &'a Ring,
    section: LongSection<'a>,
    size: usize,
    head: u64,
}

impl Ring {
    #[inline(always)]
    pub(crate) fn begin_pop(&self, size: usize, patience: Timeout) -> Result<Popping<'_>, RingError> {
        let side = self.head();
        let section = section::enter(&side.lock, &self.doors().head, patience);
        let section = section.map_err(|refusal| self.give_up(size, refusal))?;
        if section.owner_died() {
            self.consumer_died();
        }
        Ok(Popping { ring: self, section, size, head: side.index.load(Relaxed) })
    }

    /// Takes at most `count` items out, one behind the other to `to`: at least one, or it says why not.
    ///
    /// # Safety
    /// `to` leads to room for `count` items of `size` bytes each, `count` not 0.
    #[inline(always)]
    pub(crate) unsafe fn pop(
        &self,
        size: usize,
        to: *mut u8,
        count: usize,
        patience: Timeout,
    ) -> Result<usize, RingError> {
        let popping = self.begin_pop(size, patience)?;
        let mut popped = 0;
        while popped < count {
            // SAFETY: `to` has room for `count` of them.
            match unsafe { popping.copy(popped as u64, to.add(popped * size)) } {
                Ok(true) => popped += 1,
                Ok(false) => break,
                Err(stop) if popped == 0 => return Err(popping.fail(stop)),
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
    /// The stamp of the next slot but so many, if its item is there; the item follows. It stays there as long as the level
    /// is this one.
    #[inline(always)]
    pub(crate) fn slot(&self, offset: u64) -> Result<Option<(&'a AtomicU64, u32)>, RingError> {
        let number = self.head.wrapping_add(offset);
        let level = self.ring.level();
        let stamp = self.ring.slot(self.size, number, level)?;
        Ok((stamp.load(Acquire) == number.wrapping_add(1)).then_some((stamp, level)))
    }

    /// Whether what was copied since that level was seen is what was pushed (G2).
    #[inline(always)]
    pub(crate) fn is_whole(&self, level: u32) -> bool {
        fence(Acquire);
        self.ring.level() == level
    }

    /// Copies the next item but so many out, if it is there.
    ///
    /// # Safety
    /// `to` leads to room for an item.
    #[inline(always)]
    pub(crate) unsafe fn copy(&self, offset: u64, to: *mut u8) -> Result<bool, RingError> {
        loop {
            let (stamp, level) = match self.slot(offset)? {
                Some(slot) => slot,
                // A ring that grows has the item elsewhere from one moment to the next.
                None if self.ring.growth.is_some() && self.slot(offset)?.is_some() => continue,
                None => return Ok(false),
            };
            // SAFETY: the slot has an item behind its stamp, `to` room for one.
            unsafe { atomic_copy::load(std::ptr::from_ref(stamp).add(1), to, self.size) };
            if self.ring.growth.is_none() || self.is_whole(level) {
                return Ok(true);
            }
        }
    }

    /// The first so many are out (I2).
    #[inline(always)]
    pub(crate) fn commit(&self, popped: u32) {
        self.ring.head().index.store(self.head.wrapping_add(popped.into()), Release);
    }

    /// They are out, and that is all.
    #[inline(always)]
    pub(crate) fn finish(self, popped: u32) {
        self.commit(popped);
        self.leave(popped);
    }

    /// So many were committed.
    #[inline(always)]
    pub(crate) fn leave(self, popped: u32) {
        let (ring, size) = (self.ring, self.size);
        ring.leave(self.section, size, Operation::Pop(popped));
        if ring.level() != 0 {
            ring.shrink(size);
        }
    }

    /// Nothing was.
    #[inline(always)]
    pub(crate) fn fail(self, stop: RingError) -> RingError {
        self.ring.leave(self.section, self.size, Operation::FailToPop);
        stop
    }

    /// A task ended, or came back: those who care are woken.
    pub(crate) fn leave_task(self, came_back: bool) {
        self.ring.leave(self.section, self.size, if came_back { Operation::Change } else { Operation::Finish });
    }

    pub(crate) fn keep(self) -> KeptPopping<'a> {
        let Popping { ring, section, size, head } = self;
        KeptPopping { ring, section: section.keep(), size, head }
    }
}

impl<'a> KeptPopping<'a> {
    pub(crate) fn resume(self) -> Popping<'a> {
        let KeptPopping { ring, section, size, head } = self;
        Popping { ring, section: section.resume(), size, head }
    }
}
