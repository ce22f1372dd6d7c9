//! The parts of a ring in shared memory: two halves and the wait queues, each in a cache line of its own.

use crate::segment::{IN_FLIGHT_AT, LINE};
use crate::sync::{EventCount, RawLock};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64};

/// The tail half, which producers write under its lock, or the head half, which consumers write under its lock.
#[repr(C, align(64))]
pub(super) struct Half {
    pub(super) lock: RawLock,
    /// Tail half: 1 once the ring is closed.
    pub(super) closed: AtomicU32,
    /// Belongs to the segment: the number of handles that are in messages.
    in_flight: AtomicU32,
    /// The number of the next item to push (tail half) or to pop (head half).
    pub(super) index: AtomicU64,
    /// Tail half: a value that the head had. The head may be higher.
    pub(super) seen_head: AtomicU64,
}

/// Where threads sleep, and what else all holders share.
#[repr(C, align(64))]
pub(super) struct WaitQueues {
    pub(super) consumers: EventCount,
    pub(super) producers: EventCount,
    pub(super) tail_lock: EventCount,
    pub(super) head_lock: EventCount,
    /// 1 once the ring has had a second holder.
    pub(super) shared: AtomicU32,
    /// Incremented when the last holder of a process goes, and when one comes while `wants_arrivals` is set.
    pub(super) changes: AtomicU32,
    /// How many times the slots were doubled.
    pub(super) level: AtomicU32,
    /// Threads that wait until all items are acknowledged.
    pub(super) drained: EventCount,
    /// The number of items that are acknowledged.
    pub(super) acknowledged: AtomicU64,
    /// The number of items that were popped and are available again.
    pub(super) requeued: AtomicU32,
    /// 1 when a thread may sleep that knows that there are other holders, but not which processes they are.
    pub(super) wants_arrivals: AtomicU32,
}

const _: () = assert!(size_of::<Half>() == LINE && size_of::<WaitQueues>() == LINE);
const _: () = assert!(std::mem::offset_of!(Half, in_flight) == IN_FLIGHT_AT);

/// The addresses of the parts of a ring.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Addresses {
    /// Two lines: the tail half and the head half.
    pub(crate) halves: NonNull<u8>,
    /// One line.
    pub(crate) wait_queues: NonNull<u8>,
    pub(crate) slots: NonNull<u8>,
}

/// The number of bytes of a slot for an item of `size` bytes.
#[inline(always)]
pub(super) const fn stride(size: usize) -> usize {
    8 + size.next_multiple_of(8)
}

/// The number of bytes of the slots for `items` items of `size` bytes.
pub(crate) fn slot_bytes(items: usize, size: usize) -> Option<usize> {
    items.max(1).checked_next_power_of_two()?.checked_mul(stride(size))
}
