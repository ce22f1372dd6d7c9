//! The bytes of messages that are too long for their records: in a *buffer*, or, if they are too long for that, in the
//! *spill*.
//!
//! # Layout
//! ```text
//! offset 0    under the tail's lock: level (4), stale levels (4), written (8), level start (8), spilled (8),
//!             seen first used (8), unused (24)
//!        64   under the head's lock: read (8), spill read (8), unused (48)
//! ```
//! `written` and `read` count bytes from the first one ever written, in multiples of 8. Byte n is in the buffer at n
//! modulo the buffer's size. The buffer of the next level is twice as large, and is used from the byte `level start`
//! on. Buffers of earlier levels are *stale* until all bytes before `level start` were read. `seen first used` is the
//! first byte in use when a producer last looked. The spill is a part of the segment's file,
//! which the system reads and writes. It has counts of its own, `spilled` and `spill read`, and each message in it
//! begins at a page.
//!
//! # Protocol
//! A producer finds room from `written` on, writes the bytes, counts them as written, and only then commits the record.
//! A consumer commits its pop, gives back the pages of a spilled message, then counts its bytes as read;
//! all of that under the head's lock.
//!
//! # Invariants
//! * payload-P1: the bytes between the first unread message and `written` are not overwritten.
//! * payload-P2: a position in a record is checked against the private sizes before it is used. A record may contain
//!   anything.
//! * payload-P3: a buffer grows by these stores: the level, the seen first used byte, the level start, the stale
//!   levels. So no byte from the level start on is in an older buffer, and a stale buffer has no unread byte once all
//!   bytes before the level start were read. The seen first used byte is not before the level start, except while the
//!   buffer shrinks; then the ring is empty.
//!
//! # If a process dies here
//! A producer: bytes that it counted as written, without a record, are free once the bytes before them were read, or
//! the ring is empty. A buffer that it left and did not mark stale stays until the ring shrinks. Pages of a spilled
//! message that it did not commit are given back by the next holder of the tail's lock. A consumer that committed and
//! did not count: the next holder of the head's lock sets `read` to the first byte of the first message in the ring. If
//! the ring is empty, it sets `read` to `written`, unless a producer is at work; then a later pop does.
#![allow(unsafe_code)] // bytes in shared memory

use super::record::{Allocation, Record, RecordKind};
use crate::ring::{DeathHooks, Growth, Ring, RingError};
use crate::segment::{LINE, SPILL_BYTES};
use crate::sync::atomic_copy;
use crate::sys::copy;
use std::ptr::NonNull;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicU32, AtomicU64};

#[repr(C, align(64))]
struct Cursors {
    level: AtomicU32,
    /// A bit for each level whose buffer is stale.
    stale: AtomicU32,
    written: AtomicU64,
    level_start: AtomicU64,
    spilled: AtomicU64,
    /// The first byte in use when it was last computed. By now it may be a later one.
    seen_first_used: AtomicU64,
    _unused: [u64; 3],
    read: AtomicU64,
    spill_read: AtomicU64,
    _unused_too: [u64; 6],
}

/// The number of bytes of the cursors.
pub(super) const CURSORS_BYTES: usize = size_of::<Cursors>();
const _: () = assert!(CURSORS_BYTES == 2 * LINE && std::mem::offset_of!(Cursors, read) == LINE);

/// The longest buffered message of a ring that grows. Longer ones are spilled, so that one message does not enlarge the
/// buffer for good.
const LONGEST_BUFFERED: u64 = 4 << 20;
/// A buffer with fewer bytes does not shrink.
const WORTH_SHRINKING: u64 = 1 << 20;
const PAGE: u64 = 4096;
/// Shorter copies are made word by word.
const LONG_COPY: usize = 512;

/// The room for the bytes of a ring's messages.
#[derive(Debug)]
pub(super) struct PayloadArea {
    cursors: NonNull<u8>,
    first_buffer: NonNull<u8>,
    /// The number of bytes of the buffer of level 0: a power of two.
    first_size: usize,
    grows: bool,
}

impl PayloadArea {
    /// The area with cursors at one address, and at another the buffer of level 0, which has `first_size` bytes.
    pub(super) fn new(cursors: NonNull<u8>, first_buffer: NonNull<u8>, first_size: usize, grows: bool) -> Self {
        PayloadArea { cursors, first_buffer, first_size, grows }
    }

    /// The hooks for the ring of this area's messages.
    pub(super) fn death_hooks(&self) -> DeathHooks {
        DeathHooks { context: self.cursors, producer_died: discard_partial_spill, consumer_died: count_read_anew }
    }

    fn cursors(&self) -> &Cursors {
        cursors_at(&self.cursors)
    }

    fn size(&self, level: u32) -> u64 {
        (self.first_size as u64) << level.min(31)
    }

    /// The first byte in use: `start` if the ring is empty.
    fn first_used(&self, positions: (u64, u64), start: u64) -> u64 {
        let cursors = self.cursors();
        if positions.0 == positions.1 {
            start
        } else {
            cursors.read.load(SeqCst).max(cursors.level_start.load(Relaxed))
        }
    }

    fn is_spilled(&self, length: u64) -> bool {
        length > if self.grows { LONGEST_BUFFERED.max(self.first_size as u64) } else { self.first_size as u64 }
    }

    /// The first position, from `written` on, at which `length` bytes are in one piece in the buffer of a level.
    fn start(&self, written: u64, length: u64, level: u32) -> u64 {
        let size = self.size(level);
        let at = written & (size - 1);
        if at + length > size { written.wrapping_add(size - at) } else { written }
    }

    /// Whether there seems to be room for a message of `length` bytes. Without the lock.
    pub(super) fn fits(&self, ring: &Ring, length: usize) -> bool {
        let length = (length as u64).next_multiple_of(8);
        let cursors = self.cursors();
        let positions = ring.positions();
        if self.grows || positions.0 == positions.1 {
            return true;
        }
        if self.is_spilled(length) {
            return cursors.spilled.load(SeqCst) == cursors.spill_read.load(SeqCst);
        }
        let start = self.start(cursors.written.load(SeqCst) & !7, length, 0);
        start.wrapping_add(length).wrapping_sub(self.first_used(positions, start)) <= self.size(0)
    }

    /// Finds room for a message of `length` bytes. Under the tail's lock.
    pub(super) fn allocate(&self, ring: &Ring, length: usize) -> Result<Allocation, RingError> {
        let cursors = self.cursors();
        let length = (length as u64).checked_next_multiple_of(8).ok_or(RingError::NoSpace)?;
        if self.is_spilled(length) {
            return self.allocate_spill(ring, length);
        }
        let (level, written) = (cursors.level.load(Relaxed).min(31), cursors.written.load(Relaxed) & !7);
        let start = self.start(written, length, level);
        // Bytes that were free stay free until they are used. As long as these are enough, no line that consumers write
        // is read.
        if start.wrapping_add(length).wrapping_sub(cursors.seen_first_used.load(Relaxed)) <= self.size(level) {
            return self.buffered(ring, level, start);
        }
        let first_used = self.first_used(ring.positions(), start);
        cursors.seen_first_used.store(first_used, Relaxed);
        if start.wrapping_add(length).wrapping_sub(first_used) <= self.size(level) {
            // The first used byte has passed the one that was seen, which is not before the level start (payload-P3):
            // all before that was read.
            if cursors.stale.load(Relaxed) != 0 {
                self.give_back_stale(ring);
            }
            return self.buffered(ring, level, start);
        }
        if !self.grows {
            return Err(RingError::NotNow);
        }
        self.grow(ring, level, written, length)
    }

    fn allocate_spill(&self, ring: &Ring, length: u64) -> Result<Allocation, RingError> {
        let positions = ring.positions();
        let cursors = self.cursors();
        let (position, read) = (cursors.spilled.load(Relaxed), cursors.spill_read.load(SeqCst));
        let used = position.wrapping_sub(read);
        match used {
            _ if used.saturating_add(length) > SPILL_BYTES => Err(RingError::NoSpace),
            _ if !self.grows && used > 0 && positions.0 != positions.1 => Err(RingError::NotNow),
            _ => Ok(Allocation::Spilled { position }),
        }
    }

    #[cold]
    fn grow(&self, ring: &Ring, level: u32, written: u64, length: u64) -> Result<Allocation, RingError> {
        let (cursors, growth) = (self.cursors(), ring.growth().ok_or(RingError::NoSpace)?);
        let next = (level + 1..31).find(|next| self.size(*next) / 4 >= length).ok_or(RingError::NoSpace)?;
        growth.segment().allocate_buffer(growth.region(), self.first_size, next)?;
        cursors.level.store(next, SeqCst); // payload-P3
        cursors.seen_first_used.store(written, SeqCst);
        cursors.level_start.store(written, SeqCst);
        cursors.stale.fetch_or(1 << level, SeqCst);
        self.buffered(ring, next, self.start(written, length, next))
    }

    #[cold]
    fn give_back_stale(&self, ring: &Ring) {
        let Some(growth) = ring.growth() else { return };
        let stale = self.cursors().stale.swap(0, SeqCst);
        let now = self.cursors().level.load(Relaxed);
        for level in (1..32).filter(|level| stale >> level & 1 == 1 && *level != now) {
            growth.segment().punch_buffer(growth.region(), self.first_size, level);
        }
    }

    /// Gives a large buffer back. Under the tail's lock; the ring is empty.
    pub(super) fn shrink(&self, ring: &Ring) {
        let (cursors, level) = (self.cursors(), self.level());
        if level != 0 && self.size(level) >= WORTH_SHRINKING {
            // All levels, also those that a dead process left and did not mark.
            cursors.stale.fetch_or(u32::MAX >> (31 - level), SeqCst);
            cursors.level_start.store(cursors.written.load(Relaxed), SeqCst);
            cursors.seen_first_used.store(cursors.written.load(Relaxed), SeqCst);
            cursors.level.store(0, SeqCst);
            self.give_back_stale(ring);
        }
    }

    /// Whether [`PayloadArea::shrink`] has something to do.
    pub(super) fn is_large(&self) -> bool {
        let level = self.level();
        level != 0 && self.size(level) >= WORTH_SHRINKING
    }

    /// Whether the bytes of a message are in a buffer that may be worth giving back.
    pub(super) fn is_in_larger_buffer(record: &Record) -> bool {
        record.kind() == Some(RecordKind::Buffered) && record.level() != 0
    }

    fn level(&self) -> u32 {
        self.cursors().level.load(Relaxed).min(31)
    }

    fn buffered(&self, ring: &Ring, level: u32, position: u64) -> Result<Allocation, RingError> {
        Ok(Allocation::Buffered { level, position, at: self.address(ring, level, position)? })
    }

    fn address(&self, ring: &Ring, level: u32, position: u64) -> Result<NonNull<u8>, RingError> {
        let base = match (level, ring.growth()) {
            (0, _) => self.first_buffer,
            (_, Some(growth)) => growth.segment().buffer(growth.region(), self.first_size, level)?,
            (_, None) => return Err(RingError::Corrupt),
        };
        // SAFETY: the buffer of a level has `size(level)` bytes, a power of two, so the offset is inside.
        Ok(unsafe { base.add((position & (self.size(level) - 1)) as usize) })
    }

    /// Counts the bytes of an allocation as written. Before the record is committed.
    pub(super) fn count_written(&self, allocation: Allocation, length: usize) {
        let length = (length as u64).next_multiple_of(8);
        let cursors = self.cursors();
        match allocation {
            Allocation::Buffered { position, .. } => cursors.written.store(position.wrapping_add(length), SeqCst),
            Allocation::Spilled { position } => cursors.spilled.store(spill_end(position, length), SeqCst),
        }
    }

    /// The address of the bytes of a buffered message. All of them are inside the buffer (payload-P2).
    pub(super) fn locate(&self, ring: &Ring, record: &Record) -> Result<NonNull<u8>, RingError> {
        let (level, position) = (record.level(), record.position());
        let length = record.length().checked_next_multiple_of(8).ok_or(RingError::Corrupt)?;
        let size = if level < 31 { self.size(level) } else { return Err(RingError::Corrupt) };
        if length > size || (position & (size - 1)) > size - length || !position.is_multiple_of(8) {
            return Err(RingError::Corrupt);
        }
        self.address(ring, level, position)
    }

    /// Counts the bytes of a message as read. Under the head's lock, after the commit of the pop.
    pub(super) fn count_read(&self, ring: &Ring, record: &Record) {
        let Some(length) = record.length().checked_next_multiple_of(8) else { return };
        match (record.kind(), ring.growth()) {
            (Some(RecordKind::Buffered), _) => {
                self.cursors().read.store(record.position().wrapping_add(length), SeqCst);
            }
            (Some(RecordKind::Spilled), Some(growth)) => {
                count_spill_read(growth, self.cursors(), spill_end(record.position(), length));
            }
            _ => {}
        }
    }

    /// Gives back the pages of a message for which the spill had not enough memory.
    #[cold]
    pub(super) fn discard_spill(&self, ring: &Ring, position: u64, length: usize) {
        if let Some(growth) = ring.growth() {
            growth.segment().punch_spill(growth.region(), position, spill_end(position, length as u64));
        }
    }
}

/// The position after a spilled message: the next page.
fn spill_end(position: u64, length: u64) -> u64 {
    position.wrapping_add(length).wrapping_add(PAGE - 1) & !(PAGE - 1)
}

fn cursors_at(address: &NonNull<u8>) -> &Cursors {
    // SAFETY: `MessageRing::of` passes the address of `CURSORS_BYTES` of the object, which is mapped as long as the
    // ring's owner exists. They are atomics.
    unsafe { address.cast().as_ref() }
}

/// A producer died, perhaps while it wrote a spilled message: gives back the pages after the last counted one.
fn discard_partial_spill(growth: &Growth, cursors: NonNull<u8>) {
    let cursors = cursors_at(&cursors);
    let (from, read) = (cursors.spilled.load(SeqCst), cursors.spill_read.load(SeqCst));
    let used = from.wrapping_sub(read).min(SPILL_BYTES);
    growth.segment().punch_spill(growth.region(), from, from.wrapping_add(SPILL_BYTES - used));
}

/// A consumer died, perhaps with messages that it had committed and not counted as read.
///
/// All bytes before the first message in the ring were read. If there is none, all bytes that were counted as written
/// were read, but only if no producer is at work: it counts before it commits. If one is, the next message that is read
/// brings the count up to date.
fn count_read_anew(growth: &Growth, cursors: NonNull<u8>, ring: &Ring) {
    let cursors = cursors_at(&cursors);
    let (written, spilled) = (cursors.written.load(SeqCst), cursors.spilled.load(SeqCst)); // before the next line
    let is_settled = !ring.is_pushing(); // before the search for items
    let first = |kind: RecordKind, counted: u64| {
        let position = ring.find_item(|record: &Record| (record.kind() == Some(kind)).then(|| record.position()));
        position.or(is_settled.then_some(counted))
    };
    if let Some(position) = first(RecordKind::Buffered, written) {
        cursors.read.store(position, SeqCst);
    }
    if let Some(position) = first(RecordKind::Spilled, spilled) {
        count_spill_read(growth, cursors, position);
    }
}

/// Gives back the pages of all spilled messages up to `end`, then counts them as read. Under the head's lock.
#[cold]
fn count_spill_read(growth: &Growth, cursors: &Cursors, end: u64) {
    let before = cursors.spill_read.load(SeqCst);
    if end.wrapping_sub(before) <= SPILL_BYTES {
        growth.segment().punch_spill(growth.region(), before, end);
    }
    cursors.spill_read.store(end, SeqCst);
}

/// Copies `bytes` to shared memory. The last word is filled up.
///
/// # Safety
/// `to` leads to that many bytes of shared memory, rounded up to words. It is aligned to words.
pub(super) unsafe fn copy_in(to: NonNull<u8>, bytes: &[u8]) {
    match bytes.len() {
        // SAFETY: `to` has room for the bytes, rounded up to words, and is aligned (the contract of this function).
        0..LONG_COPY => unsafe { atomic_copy::store(to.as_ptr().cast(), bytes.as_ptr(), bytes.len()) },
        // SAFETY: `to` has room for `length` bytes (the contract of this function), and shared memory does not overlap
        // `bytes`.
        length => unsafe { copy::copy(bytes.as_ptr(), to.as_ptr(), length) },
    }
}

/// Copies `length` bytes from shared memory.
///
/// # Safety
/// `from` leads to `length` bytes of shared memory, rounded up to words, and is aligned to words. `to` leads to room
/// for `length` private bytes.
pub(super) unsafe fn copy_out(from: NonNull<u8>, to: *mut u8, length: usize) {
    match length {
        // SAFETY: `from` has the bytes, rounded up to words, and is aligned; `to` has room (the contract of this
        // function).
        0..LONG_COPY => unsafe { atomic_copy::load(from.as_ptr().cast(), to, length) },
        // SAFETY: both have `length` bytes (the contract of this function), and shared memory does not overlap private
        // memory.
        _ => unsafe { copy::copy(from.as_ptr(), to, length) },
    }
}
