//! Where the bytes of messages lie that are too long for their slots.
//!
//! # Layout
//! ```text
//! offset 0    under the tail's lock: level (4), stale levels (4), bytes (8), since (8), letters (8), the last
//!             seen floor (8), unused (24)
//!        64   under the head's lock: bytes that were read (8), letters that were read (8), unused (48)
//! ```
//! Bytes are counted without end, multiples of 8, and lie in an *area* modulo its size. An area of the next level, twice as
//! large, is used from the byte `since` on; the older ones are `stale` until all before that was read. *Letters*, too long for
//! an area, are counted by themselves; the system writes and reads them.
//!
//! # Protocol
//! A producer finds room from `bytes` on, writes there, counts it as used, and only then commits the item that tells where it is
//! (P1). A consumer commits, gives a letter's pages back, then counts it as read; all that under the head's lock.
//!
//! # Invariants
//! * P1: what lies between the first unread message and `bytes` is not written.
//! * P2: places in an item are checked against the private sizes before they are used; what stands there may be anything.
//! * P3: the area grows by the level, then the seen floor, then `since`, then `stale`. So no byte from `since` on lies in an
//!   older area, and none that is stale has one that is not read when all before `since` was. The seen floor is never less
//!   than `since`, but for a moment when the area shrinks, and then nothing is in.
//!
//! # If a process dies here
//! A producer: what it counted as used without an item behind it is free again when what lies before it was read, or nothing
//! is in. An area that it had left and not called stale stays until the ring shrinks. A letter that it did not commit is given
//! back by the next who has the lock. A consumer that committed and did not count: the next one's count is higher, and whoever
//! takes its lock over counts anew, or leaves it to the next one if a producer is at work.
#![allow(unsafe_code)] // bytes in shared memory

use super::record::{Kind, Record, SLOT};
use crate::ring::{Burial, Growth};
use crate::ring::{Ring, RingError};
use crate::segment::LINE;
use crate::sync::atomic_copy;
use crate::sys::copy;
use std::ptr::NonNull;
use std::sync::atomic::Ordering::{Acquire, Relaxed, SeqCst};
use std::sync::atomic::{AtomicU32, AtomicU64, fence};

#[repr(C, align(64))]
pub(super) struct Cursors {
    level: AtomicU32,
    stale: AtomicU32,
    bytes: AtomicU64,
    since: AtomicU64,
    letters: AtomicU64,
    /// The first byte that mattered once; it may be further.
    floor: AtomicU64,
    _unused: [u64; 3],
    bytes_read: AtomicU64,
    letters_read: AtomicU64,
    _unused_too: [u64; 6],
}

/// How many bytes a post takes.
pub(super) const POST: usize = size_of::<Cursors>();
const _: () = assert!(POST == 2 * LINE && std::mem::offset_of!(Cursors, bytes_read) == LINE);

/// In a ring that grows, longer messages are letters, lest one of them makes the area grow for good.
const LONGEST_IN_AREA: u64 = 4 << 20;
/// An area with less than that stays.
const WORTH_SHRINKING: u64 = 1 << 20;
const PAGE: u64 = 4096;
/// Below that, copies are done word by word.
const LONG_COPY: usize = 512;

/// The bytes of a ring's messages.
#[derive(Debug)]
pub(super) struct PayloadArea {
    post: NonNull<u8>,
    area: NonNull<u8>,
    /// How many bytes the area of level 0 has: a power of two.
    size: usize,
    /// Whether it may get larger.
    grows: bool,
}

/// Where a message goes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Allocation {
    Buffered { level: u32, place: u64, at: NonNull<u8> },
    Spilled { place: u64 },
}

impl PayloadArea {
    pub(super) fn new(post: NonNull<u8>, area: NonNull<u8>, size: usize, grows: bool) -> Self {
        PayloadArea { post, area, size, grows }
    }

    /// For the ring that this is the space of.
    pub(super) fn burial(&self) -> Burial {
        Burial { post: self.post, producer: give_back_letter, consumer: count_anew }
    }

    fn post(&self) -> &Cursors {
        post_at(&self.post)
    }

    fn size_of(&self, level: u32) -> u64 {
        (self.size as u64) << level.min(31)
    }

    /// The first unread byte that matters; `start` where nothing is in.
    fn floor(&self, marks: (u64, u64), start: u64) -> u64 {
        let post = self.post();
        if marks.0 == marks.1 { start } else { post.bytes_read.load(SeqCst).max(post.since.load(Relaxed)) }
    }

    fn is_letter(&self, length: u64) -> bool {
        length > if self.grows { LONGEST_IN_AREA.max(self.size as u64) } else { self.size as u64 }
    }

    /// Where in the area of a level this many bytes can lie in one piece, from `bytes` on.
    fn start(&self, bytes: u64, length: u64, level: u32) -> u64 {
        let size = self.size_of(level);
        let at = bytes & (size - 1);
        if at + length > size { bytes.wrapping_add(size - at) } else { bytes }
    }

    /// Whether a message of this length has room now, as far as one can tell without the lock.
    pub(super) fn fits(&self, ring: &Ring, length: usize) -> bool {
        let length = (length as u64).next_multiple_of(8);
        let post = self.post();
        let marks = ring.marks();
        if self.grows || marks.0 == marks.1 {
            return true;
        }
        if self.is_letter(length) {
            return post.letters.load(SeqCst) == post.letters_read.load(SeqCst);
        }
        let start = self.start(post.bytes.load(SeqCst) & !7, length, 0);
        start.wrapping_add(length).wrapping_sub(self.floor(marks, start)) <= self.size_of(0)
    }

    /// Room for a message, under the tail's lock.
    pub(super) fn find(&self, ring: &Ring, length: usize) -> Result<Allocation, RingError> {
        let post = self.post();
        let length = (length as u64).checked_next_multiple_of(8).ok_or(RingError::NoSpace)?;
        if self.is_letter(length) {
            let marks = ring.marks();
            let (place, read) = (post.letters.load(Relaxed), post.letters_read.load(SeqCst));
            let there = place.wrapping_sub(read);
            return match there {
                _ if there.saturating_add(length) > crate::segment::SPILL_BYTES => Err(RingError::NoSpace),
                _ if !self.grows && there > 0 && marks.0 != marks.1 => Err(RingError::NotNow),
                _ => Ok(Allocation::Spilled { place }),
            };
        }
        let (level, bytes) = (post.level.load(Relaxed).min(31), post.bytes.load(Relaxed) & !7);
        let start = self.start(bytes, length, level);
        // What was free once is free until it is used: as long as that is enough, no line of a consumer's is touched.
        if start.wrapping_add(length).wrapping_sub(post.floor.load(Relaxed)) <= self.size_of(level) {
            return self.spot(ring, level, start);
        }
        let marks = ring.marks();
        let floor = self.floor(marks, start);
        post.floor.store(floor, Relaxed);
        if start.wrapping_add(length).wrapping_sub(floor) <= self.size_of(level) {
            // More is free than `floor` said, which never says less than `since`: all before the last growth is read.
            if post.stale.load(Relaxed) != 0 {
                self.give_back_stale(ring);
            }
            return self.spot(ring, level, start);
        }
        if !self.grows {
            return Err(RingError::NotNow);
        }
        self.grow(ring, level, bytes, length)
    }

    #[cold]
    fn grow(&self, ring: &Ring, level: u32, bytes: u64, length: u64) -> Result<Allocation, RingError> {
        let (post, growth) = (self.post(), ring.growth.as_ref().ok_or(RingError::NoSpace)?);
        let next = (level + 1..31).find(|next| self.size_of(*next) / 4 >= length).ok_or(RingError::NoSpace)?;
        growth.segment().allocate_buffer(growth.wing(), self.size, next)?;
        post.level.store(next, SeqCst); // P3
        post.floor.store(bytes, SeqCst);
        post.since.store(bytes, SeqCst);
        post.stale.fetch_or(1 << level, SeqCst);
        self.spot(ring, next, self.start(bytes, length, next))
    }

    #[cold]
    fn give_back_stale(&self, ring: &Ring) {
        let Some(growth) = &ring.growth else { return };
        let stale = self.post().stale.swap(0, SeqCst);
        let now = self.post().level.load(Relaxed);
        for level in (1..32).filter(|level| stale >> level & 1 == 1 && *level != now) {
            growth.segment().punch_buffer(growth.wing(), self.size, level);
        }
    }

    /// Nothing is in, and the tail's lock is ours: a large area goes back.
    pub(super) fn shrink(&self, ring: &Ring) {
        let (post, level) = (self.post(), self.post().level.load(Relaxed).min(31));
        if level != 0 && self.size_of(level) >= WORTH_SHRINKING {
            // With those that somebody who died has left behind.
            post.stale.fetch_or(u32::MAX >> (31 - level), SeqCst);
            post.since.store(post.bytes.load(Relaxed), SeqCst);
            post.floor.store(post.bytes.load(Relaxed), SeqCst);
            post.level.store(0, SeqCst);
            self.give_back_stale(ring);
        }
    }

    /// Whether [`PayloadArea::shrink`] has something to do.
    pub(super) fn is_large(&self) -> bool {
        let level = self.post().level.load(Relaxed).min(31);
        level != 0 && self.size_of(level) >= WORTH_SHRINKING
    }

    fn spot(&self, ring: &Ring, level: u32, place: u64) -> Result<Allocation, RingError> {
        let base = match (level, &ring.growth) {
            (0, _) => self.area,
            (_, Some(growth)) => growth.segment().buffer(growth.wing(), self.size, level)?,
            (_, None) => return Err(RingError::Corrupt),
        };
        // SAFETY: less than the size of the area.
        let at = unsafe { base.add((place & (self.size_of(level) - 1)) as usize) };
        Ok(Allocation::Buffered { level, place, at })
    }

    /// So many bytes were written there; to be called before the item is committed.
    pub(super) fn count(&self, spot: Allocation, length: usize) {
        let length = (length as u64).next_multiple_of(8);
        match spot {
            Allocation::Buffered { place, .. } => self.post().bytes.store(place.wrapping_add(length), SeqCst),
            Allocation::Spilled { place } => self.post().letters.store(end_of_letter(place, length), SeqCst),
        }
    }

    /// Where the bytes of an item are (P2).
    pub(super) fn locate(&self, ring: &Ring, note: &Record) -> Result<NonNull<u8>, RingError> {
        let (level, length) = (note.level(), note.length().checked_next_multiple_of(8).ok_or(RingError::Corrupt)?);
        let size = if level < 31 { self.size_of(level) } else { return Err(RingError::Corrupt) };
        if length > size || (note.place() & (size - 1)) > size - length || !note.place().is_multiple_of(8) {
            return Err(RingError::Corrupt);
        }
        match self.spot(ring, level, note.place())? {
            Allocation::Buffered { at, .. } => Ok(at),
            Allocation::Spilled { .. } => Err(RingError::Corrupt),
        }
    }

    /// An item was read, and that is committed. Under the head's lock.
    pub(super) fn count_read(&self, ring: &Ring, note: &Record) {
        let Some(length) = note.length().checked_next_multiple_of(8) else { return };
        match (note.kind(), &ring.growth) {
            (Some(Kind::Buffered), _) => self.post().bytes_read.store(note.place().wrapping_add(length), SeqCst),
            (Some(Kind::Spilled), Some(growth)) => {
                end_letters(growth, self.post(), end_of_letter(note.place(), length))
            }
            _ => {}
        }
    }

    /// A letter had no room to its end: gives back the pages that it had.
    #[cold]
    pub(super) fn give_back(&self, ring: &Ring, place: u64, length: usize) {
        if let Some(growth) = &ring.growth {
            growth.segment().punch_spill(growth.wing(), place, end_of_letter(place, length as u64));
        }
    }
}

/// Letters begin at pages.
fn end_of_letter(place: u64, length: u64) -> u64 {
    place.wrapping_add(length).wrapping_add(PAGE - 1) & !(PAGE - 1)
}

/// The post that an address leads to.
fn post_at(post: &NonNull<u8>) -> &Cursors {
    // SAFETY: two lines of the object, which is mapped as long as whoever has the address.
    unsafe { post.cast().as_ref() }
}

/// The holder of the tail's lock died: perhaps in the middle of a letter.
fn give_back_letter(growth: &Growth, post: NonNull<u8>) {
    let post = post_at(&post);
    let (from, read) = (post.letters.load(SeqCst), post.letters_read.load(SeqCst));
    let used = from.wrapping_sub(read).min(crate::segment::SPILL_BYTES);
    growth.segment().punch_spill(growth.wing(), from, from.wrapping_add(crate::segment::SPILL_BYTES - used));
}

/// The holder of the head's lock died: perhaps with messages that it had committed and not counted as read. What lies in
/// front of the first that is in was read. Where none is in, all that was counted was; but not if a sender is at work, who
/// counts before it commits: then the next message that is read tells.
fn count_anew(growth: &Growth, post: NonNull<u8>, ring: &Ring) {
    let post = post_at(&post);
    let (bytes, letters) = (post.bytes.load(SeqCst), post.letters.load(SeqCst)); // before the look at the lock
    let is_settled = !ring.tail().lock.is_held(); // before the look at the items
    let first = |wanted: Kind, counted: u64| loop {
        let (head, level) = (ring.marks().0, ring.level());
        let mut notes = (0..ring.slots(level)).map_while(|i| ring.note(head.wrapping_add(i), level));
        let place = notes.find(|note| note.kind() == Some(wanted)).map(|note| note.place());
        fence(Acquire);
        if ring.level() == level {
            break place.or(is_settled.then_some(counted)); // the notes were whole (G2)
        }
    };
    if let Some(place) = first(Kind::Buffered, bytes) {
        post.bytes_read.store(place, SeqCst);
    }
    if let Some(place) = first(Kind::Spilled, letters) {
        end_letters(growth, post, place);
    }
}

/// All letters up to there were read: their pages go back, and then they count as read. Under the head's lock.
#[cold]
fn end_letters(growth: &Growth, post: &Cursors, end: u64) {
    let before = post.letters_read.load(SeqCst);
    if end.wrapping_sub(before) <= crate::segment::SPILL_BYTES {
        growth.segment().punch_spill(growth.wing(), before, end);
    }
    post.letters_read.store(end, SeqCst);
}

impl Ring {
    /// The item of a message, if it is there.
    fn note(&self, number: u64, level: u32) -> Option<Record> {
        if !self.is_there(SLOT, number, level) {
            return None;
        }
        let mut note = Record::default();
        let stamp = self.slot(SLOT, number, level).ok()?;
        // SAFETY: a slot has an item behind its stamp, which a note has room for.
        unsafe { atomic_copy::load(std::ptr::from_ref(stamp).add(1), (&raw mut note).cast(), SLOT) };
        Some(note)
    }
}

/// Copies bytes in, of which the last word is filled up.
///
/// # Safety
/// `to` leads to so many bytes of shared memory, rounded up to words, aligned to words.
pub(super) unsafe fn copy_in(to: NonNull<u8>, bytes: &[u8]) {
    // SAFETY: by the caller's promise.
    unsafe {
        match bytes.len() {
            0..LONG_COPY => atomic_copy::store(to.as_ptr().cast(), bytes.as_ptr(), bytes.len()),
            length => copy::copy(bytes.as_ptr(), to.as_ptr(), length),
        }
    }
}

/// Copies bytes out.
///
/// # Safety
/// `from` leads to so many bytes of shared memory, rounded up to words, aligned to words; `to` to as many private ones.
pub(super) unsafe fn copy_out(from: NonNull<u8>, to: *mut u8, length: usize) {
    // SAFETY: by the caller's promise.
    unsafe {
        match length {
            0..LONG_COPY => atomic_copy::load(from.as_ptr().cast(), to, length),
            _ => copy::copy(from.as_ptr(), to, length),
        }
    }
}
