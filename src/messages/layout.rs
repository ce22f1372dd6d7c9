//! The object of a queue or pipe: where its rings, their payloads and its file descriptor table are.
#![allow(unsafe_code)] // addresses in shared memory

use super::payload::CURSORS_BYTES;
use super::record::{RECORD_BYTES, Record};
use crate::ring::{Addresses, Ring, slot_bytes};
use crate::segment::{FD_TABLE_BYTES, LINE};
use std::ptr::NonNull;

const TABLE_AT: usize = 4 * LINE;
const WAIT_QUEUES_AT: usize = TABLE_AT + FD_TABLE_BYTES;
const CURSORS_AT: usize = WAIT_QUEUES_AT + 2 * LINE;
const TASKS_AT: usize = CURSORS_AT + 2 * CURSORS_BYTES;
const SLOTS_AT: usize = TASKS_AT + LINE;
/// The number of lines with locks after the first one: three halves, and the table's.
const LOCKS: usize = 4;
/// In the line for tasks: the number of the first task with handles that may be read again, plus 1; or 0.
pub(crate) const KEPT_AT: usize = 8;
/// More items than there is memory for.
const NO_LIMIT: u64 = 1 << 48;

/// The sizes of the rings of an object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MessageGeometry {
    /// The number of rings: 1 or 2.
    pub(crate) rings: usize,
    /// The number of slots of each ring at first: a power of two.
    slots: usize,
    /// The number of bytes of each ring's buffer at first: a power of two.
    pub(super) buffer: usize,
    /// The largest number of messages at once, for which the memory grows. `None`: as many as the buffer has room for.
    items: Option<u64>,
}

impl MessageGeometry {
    /// One ring for at most `items` messages. Its memory grows with them.
    pub(crate) fn of_items(items: Option<usize>) -> Self {
        const SLOTS: usize = 1024;
        const BUFFER: usize = 64 << 10;
        let slots = items.map_or(SLOTS, |items| items.min(SLOTS)).next_power_of_two();
        let items = Some(items.map_or(NO_LIMIT, |items| items as u64));
        MessageGeometry { rings: 1, slots, buffer: BUFFER, items }
    }

    /// Rings with buffers of at least `bytes` bytes, which do not grow.
    pub(crate) fn of_bytes(rings: usize, bytes: usize) -> Option<Self> {
        let buffer = bytes.max(4096).checked_next_power_of_two()?;
        Some(MessageGeometry { rings, slots: (buffer / 256).clamp(64, 1 << 16), buffer, items: None })
    }

    /// The number of lines with locks, and the number of bytes, of the object.
    pub(crate) fn layout(&self) -> Option<(usize, usize)> {
        let slots = slot_bytes(self.slots, RECORD_BYTES)?.checked_mul(self.rings)?;
        Some((LOCKS, self.buffer.checked_mul(self.rings)?.checked_add(slots)?.checked_add(SLOTS_AT)?))
    }

    /// Whether the memory grows.
    pub(super) fn grows(&self) -> bool {
        self.items.is_some()
    }

    /// The largest number of messages in a ring.
    pub(super) fn capacity(&self) -> u64 {
        self.items.unwrap_or(self.slots as u64)
    }

    /// The ring with number `index`.
    pub(super) fn ring(&self, object: NonNull<u8>, index: usize) -> Ring {
        attach(object, index, SLOTS_AT + index * self.ring_slot_bytes(), self.slots)
    }

    /// The buffer of level 0 of the ring with number `index`.
    pub(super) fn first_buffer(&self, object: NonNull<u8>, index: usize) -> NonNull<u8> {
        at(object, SLOTS_AT + self.rings * self.ring_slot_bytes() + index * self.buffer)
    }

    fn ring_slot_bytes(&self) -> usize {
        self.slots * (8 + RECORD_BYTES)
    }
}

/// The cursors of the payloads of the ring with number `index`.
pub(super) fn cursors(object: NonNull<u8>, index: usize) -> NonNull<u8> {
    at(object, CURSORS_AT + index * CURSORS_BYTES)
}

/// The line of a queue that hands out tasks.
pub(super) fn tasks(object: NonNull<u8>) -> NonNull<u8> {
    at(object, TASKS_AT)
}

/// The table of the file descriptors that handles in messages need.
pub(super) fn fd_table(object: NonNull<u8>) -> NonNull<u8> {
    at(object, TABLE_AT)
}

/// A ring of an object without its items: for its holders, and its positions.
pub(super) fn bare_ring(object: NonNull<u8>, index: usize) -> Ring {
    attach(object, index, SLOTS_AT, 1)
}

fn attach(object: NonNull<u8>, index: usize, slots_at: usize, slots: usize) -> Ring {
    let addresses = Addresses {
        halves: at(object, index * 2 * LINE),
        wait_queues: at(object, WAIT_QUEUES_AT + index * LINE),
        slots: at(object, slots_at),
    };
    Ring::attach(addresses, size_of::<Record>(), slots)
}

fn at(object: NonNull<u8>, offset: usize) -> NonNull<u8> {
    // SAFETY: all offsets in this file are inside the object, which has the number of bytes of
    // `MessageGeometry::layout`.
    unsafe { object.add(offset) }
}
