//! Messages of any length in a ring: its items tell where their bytes are, and short ones hold them.
//!
//! # Layout
//! Two rings share an object (a queue uses one, a pipe both directions):
//! ```text
//! offset 0      sides       of the two rings, two lines each: the line's number is the role of who uses that side
//!        256    satchel     the table of descriptors that handles in messages need
//!               doors       a line for each ring
//!               posts       two lines for each ring
//!               tasks       one line, of a queue that hands out tasks
//!               slots       32 bytes each: stamp, and a note of 24 bytes
//!               areas       for the bytes that do not fit into a note
//! ```
//!
//! The protocol is the ring's, and `post`'s for the bytes.
#![allow(unsafe_code)] // bytes in shared memory

pub(crate) mod codec;
mod payload;
mod receive;
pub(crate) mod record;
mod send;

pub(crate) use payload::Allocation;

use crate::SegmentError;
use crate::ring::Growth;
use crate::ring::{AdaptiveSpin, Addresses, Ring, RingError};
use crate::segment::FD_TABLE_BYTES;
use crate::segment::{Handle, LINE, OpenFdStore, RegionIndex, Segment};
use crate::sync::Timeout;
use payload::{POST, PayloadArea};
use record::SLOT;
use std::ptr::NonNull;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64};

const SLOT_ROOM: usize = 8 + SLOT;

const TABLE_AT: usize = 4 * LINE;
const DOORS_AT: usize = TABLE_AT + FD_TABLE_BYTES;
const POSTS_AT: usize = DOORS_AT + 2 * LINE;
const TASKS_AT: usize = POSTS_AT + 2 * POST;
const SLOTS_AT: usize = TASKS_AT + LINE;
/// Lines with locks behind the first: three sides, and the table's.
const LOCKS: usize = 4;
/// In the line for tasks: one more than the number of the first of them that has handles in it, or 0.
pub(crate) const KEPT_AT: usize = 8;
/// More than anybody has memory for.
const ENDLESS: u64 = 1 << 48;

/// How large the rings are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MessageGeometry {
    pub(crate) rings: usize,
    /// Of each ring at first: powers of two.
    pub(crate) slots: usize,
    pub(crate) area: usize,
    /// At most so many messages at once, for which there is always memory; without it, as many as have room.
    pub(crate) items: Option<u64>,
}

impl MessageGeometry {
    /// At most so many messages; memory grows with them.
    pub(crate) fn of_items(items: Option<usize>) -> Self {
        const SLOTS: usize = 1024;
        const AREA: usize = 64 << 10;
        let slots = items.map_or(SLOTS, |items| items.min(SLOTS)).next_power_of_two();
        MessageGeometry { rings: 1, slots, area: AREA, items: Some(items.map_or(ENDLESS, |items| items as u64)) }
    }

    /// So many bytes, at least.
    pub(crate) fn of_bytes(rings: usize, bytes: usize) -> Option<Self> {
        let area = bytes.max(4096).checked_next_power_of_two()?;
        Some(MessageGeometry { rings, slots: (area / 256).clamp(64, 1 << 16), area, items: None })
    }

    /// Lines with locks, and bytes.
    pub(crate) fn shape(&self) -> Option<(usize, usize)> {
        let slots = self.slots.checked_mul(SLOT_ROOM)?.checked_mul(self.rings)?;
        Some((LOCKS, self.area.checked_mul(self.rings)?.checked_add(slots)?.checked_add(SLOTS_AT)?))
    }
}

/// One direction of messages, as an end of it sees it.
#[derive(Debug)]
pub(crate) struct MessageRing {
    pub(crate) ring: Ring,
    space: PayloadArea,
    object: NonNull<u8>,
    pub(super) wing: RegionIndex,
    /// Private: messages of a larger area were seen since it was last looked whether that can go.
    pub(super) has_large: AtomicBool,
    pub(crate) looks: AdaptiveSpin,
}

// SAFETY: as of the ring: the posts and areas are used under its locks.
unsafe impl Send for MessageRing {}
// SAFETY: as above.
unsafe impl Sync for MessageRing {}

/// The doors of a ring of an object, for who only says that holders have come or gone.
pub(crate) fn tell_change(object: NonNull<u8>) {
    (0..2).for_each(|wing| bare_ring(object, wing).tell_change());
}

pub(crate) fn tell_arrival(object: NonNull<u8>) {
    (0..2).for_each(|wing| bare_ring(object, wing).tell_arrival());
}

pub(crate) fn share(object: NonNull<u8>) {
    bare_ring(object, 0).share();
}

fn site(object: NonNull<u8>, wing: usize, slots: usize) -> Addresses {
    let at = |offset: usize| {
        // SAFETY: inside the object by `MessageGeometry::shape`.
        unsafe { object.add(offset) }
    };
    Addresses { sides: at(wing * 2 * LINE), doors: at(DOORS_AT + wing * LINE), slots: at(slots) }
}

fn bare_ring(object: NonNull<u8>, wing: usize) -> Ring {
    Ring::of(site(object, wing, SLOTS_AT), 1)
}

impl MessageRing {
    /// One of the rings in an object of [`MessageGeometry::shape`]; the first is number 0.
    pub(crate) fn of(handle: &Handle, plan: &MessageGeometry, wing: usize) -> Self {
        let object = handle.object();
        let slots_at = SLOTS_AT + wing * plan.slots * SLOT_ROOM;
        let area_at = SLOTS_AT + plan.rings * plan.slots * SLOT_ROOM + wing * plan.area;
        // SAFETY: inside the object by `MessageGeometry::shape`.
        let (post, area) = unsafe { (object.add(POSTS_AT + wing * POST), object.add(area_at)) };
        let space = PayloadArea::new(post, area, plan.area, plan.items.is_some());
        let growth = Growth::new(handle.location().clone(), RegionIndex(wing), Some(space.burial()));
        let ring = Ring::of(site(object, wing, slots_at), plan.slots);
        let ring = match plan.items {
            Some(items) => ring.growing(items, growth),
            None => ring.growing(plan.slots as u64, growth).waking_all(),
        };
        MessageRing {
            ring,
            space,
            object,
            wing: RegionIndex(wing),
            has_large: AtomicBool::new(false),
            looks: AdaptiveSpin::new(),
        }
    }

    /// Where a queue keeps its tasks.
    pub(crate) fn tasks(&self) -> NonNull<u8> {
        // SAFETY: inside the object by `MessageGeometry::shape`.
        unsafe { self.object.add(TASKS_AT) }
    }

    pub(crate) fn segment(&self) -> Result<&Segment, SegmentError> {
        self.ring.growth.as_ref().map(Growth::segment).ok_or(SegmentError::NotASegment)
    }

    /// Does something with the satchel open.
    pub(super) fn with_satchel<R>(
        &self,
        job: impl FnOnce(OpenFdStore<'_>) -> Result<R, SegmentError>,
    ) -> Result<R, SegmentError> {
        let satchel = self.segment()?.fd_store().ok_or(SegmentError::NotASegment)?;
        let marks = || self.marks();
        // SAFETY: the table lies there by `MessageGeometry::shape`, and is mapped as long as the segment.
        job(unsafe { satchel.open(self.object.add(TABLE_AT), &marks, Timeout::Never)? })
    }

    /// Of both rings of the object: the numbers of the first message that somebody may still read, and of the next.
    fn marks(&self) -> [(u64, u64); 2] {
        let marks = [0, 1].map(|wing| bare_ring(self.object, wing).marks());
        // SAFETY: a line of the object; zeros where there are no tasks.
        let kept = unsafe { self.tasks().add(KEPT_AT).cast::<AtomicU64>().as_ref() }.load(SeqCst);
        match kept {
            0 => marks,
            kept => [(marks[0].0.min(kept - 1), marks[0].1), marks[1]],
        }
    }

    pub(crate) fn wing(&self) -> usize {
        self.wing.0
    }

    #[inline(always)]
    pub(crate) fn has_messages(&self) -> bool {
        self.ring.has_items(SLOT)
    }

    pub(crate) fn len(&self) -> usize {
        self.ring.len(SLOT)
    }

    pub(crate) fn close(&self) {
        self.ring.close(SLOT);
    }

    /// Gives a large area back when nothing is in.
    #[inline(always)]
    pub(super) fn tidy(&self) {
        if self.has_large.load(Relaxed) && !self.has_messages() {
            self.shrink();
        }
    }

    #[cold]
    fn shrink(&self) {
        self.has_large.store(false, Relaxed);
        if !self.space.is_large() {
            return;
        }
        let Ok(pushing) = self.ring.begin_push(SLOT, Timeout::Now) else { return };
        let (head, tail) = self.ring.marks();
        if head == tail {
            self.space.shrink(&self.ring);
        }
        let _ = pushing.fail(RingError::NotNow);
    }
}
