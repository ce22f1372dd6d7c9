//! One ring of messages, as a handle uses it.
#![allow(unsafe_code)] // the object's memory

use super::layout::{self, KEPT_AT, MessageGeometry};
use super::payload::PayloadArea;
use super::record::Record;
use crate::SegmentError;
use crate::ring::{Growth, Popping, Ring, RingError};
use crate::segment::{Handle, OpenFdStore, RegionIndex, Segment};
use crate::sync::Timeout;
use std::ptr::NonNull;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64};

/// A ring of messages of any length.
#[derive(Debug)]
pub(crate) struct MessageRing {
    pub(crate) ring: Ring,
    pub(super) payload: PayloadArea,
    object: NonNull<u8>,
    pub(super) index: RegionIndex,
    /// Private: whether messages in a larger buffer were seen since the last time that it was checked whether it can
    /// shrink.
    pub(super) has_large: AtomicBool,
}

// SAFETY: the object's address is of shared memory that any thread may use, under the ring's locks. The owner has the
// handle that keeps the memory mapped.
unsafe impl Send for MessageRing {}
// SAFETY: all shared memory is accessed by atomics or under the ring's locks, and the private fields are atomics or do
// not change.
unsafe impl Sync for MessageRing {}

/// Wakes the waiters of an object's rings after its holders have changed.
pub(crate) fn notify_change(object: NonNull<u8>) {
    (0..2).for_each(|index| layout::bare_ring(object, index).notify_change());
}

/// Wakes the waiters of an object's rings that wait for the arrival of a holder.
pub(crate) fn notify_arrival(object: NonNull<u8>) {
    (0..2).for_each(|index| layout::bare_ring(object, index).notify_arrival());
}

/// Records that an object's first ring has, or is about to have, a second holder.
pub(crate) fn mark_shared(object: NonNull<u8>) {
    layout::bare_ring(object, 0).mark_shared();
}

impl MessageRing {
    /// The ring with number `index` of the object of a handle, which has [`MessageGeometry::layout`].
    pub(crate) fn of(handle: &Handle, geometry: &MessageGeometry, index: usize) -> Self {
        let object = handle.object();
        let first_buffer = geometry.first_buffer(object, index);
        let cursors = layout::cursors(object, index);
        let payload = PayloadArea::new(cursors, first_buffer, geometry.buffer, geometry.grows());
        let growth = Growth::new(handle.location().clone(), RegionIndex(index), Some(payload.death_hooks()));
        let ring = geometry.ring(object, index).growing(geometry.capacity(), growth);
        let ring = if geometry.grows() { ring } else { ring.waking_all_producers() };
        MessageRing { ring, payload, object, index: RegionIndex(index), has_large: AtomicBool::new(false) }
    }

    /// The number of this ring in its object.
    pub(crate) fn index(&self) -> usize {
        self.index.0
    }

    /// The line of a queue that hands out tasks.
    pub(crate) fn tasks(&self) -> NonNull<u8> {
        layout::tasks(self.object)
    }

    pub(crate) fn segment(&self) -> Result<&Segment, SegmentError> {
        self.ring.growth().map(Growth::segment).ok_or(SegmentError::NotASegment)
    }

    #[inline(always)]
    pub(crate) fn has_messages(&self) -> bool {
        self.ring.has_items()
    }

    pub(crate) fn len(&self) -> usize {
        self.ring.len()
    }

    pub(crate) fn close(&self) {
        self.ring.close();
    }

    /// Calls `job` with the file descriptor store of the object.
    pub(super) fn with_fd_store<R>(
        &self,
        job: impl FnOnce(OpenFdStore<'_>) -> Result<R, SegmentError>,
    ) -> Result<R, SegmentError> {
        let store = self.segment()?.fd_store().ok_or(SegmentError::NotASegment)?;
        let positions = || self.positions();
        // SAFETY: the object has the table there (`MessageGeometry::layout`), and is mapped as long as the segment.
        job(unsafe { store.open(layout::fd_table(self.object), &positions, Timeout::Never)? })
    }

    /// For both rings of the object: the numbers of the first message that may still be read, and of the next one.
    fn positions(&self) -> [(u64, u64); 2] {
        let positions = [0, 1].map(|index| layout::bare_ring(self.object, index).positions());
        // SAFETY: the line of tasks is inside the object, and consists of atomics. It is zero where there are no tasks.
        let kept = unsafe { self.tasks().add(KEPT_AT).cast::<AtomicU64>().as_ref() }.load(SeqCst);
        match kept {
            0 => positions,
            kept => [(positions[0].0.min(kept - 1), positions[0].1), positions[1]],
        }
    }

    /// Removes from the file descriptor store what no message needs any more.
    #[cold]
    pub(crate) fn tidy_fd_store(&self) {
        let _ = self.with_fd_store(|store| {
            store.tidy();
            Ok(())
        });
    }

    /// Commits and completes the pop of a message.
    pub(crate) fn take(&self, popping: Popping<'_>, record: &Record) {
        popping.commit(1);
        self.finish_committed(popping, record);
    }

    /// Completes the pop of a message that was committed.
    pub(crate) fn finish_committed(&self, popping: Popping<'_>, record: &Record) {
        self.payload.count_read(&self.ring, record);
        if PayloadArea::is_in_larger_buffer(record) {
            self.has_large.store(true, Relaxed);
        }
        popping.finish_committed(1);
        self.shrink_if_empty();
    }

    /// Gives a large buffer back if the ring is empty.
    #[inline(always)]
    pub(super) fn shrink_if_empty(&self) {
        if self.has_large.load(Relaxed) && !self.has_messages() {
            self.shrink();
        }
    }

    #[cold]
    fn shrink(&self) {
        self.has_large.store(false, Relaxed);
        if !self.payload.is_large() {
            return;
        }
        let Ok(pushing) = self.ring.begin_push(Timeout::Now) else { return };
        let (head, tail) = self.ring.positions();
        if head == tail {
            self.payload.shrink(&self.ring);
        }
        let _ = pushing.fail(RingError::NotNow);
    }
}
