//! Room to grow in, behind the end of a segment: parts of its own file that take memory when they are used.
//!
//! A segment that grows is the front of a file of 64 TiB, almost all of which is a hole. So whoever has the segment has
//! what it grows into, without another descriptor, and what is not needed any more is given back by making it a hole again.
//!
//! # Layout
//! ```text
//! 0 TiB     the segment
//! 1, 2 TiB  a *wing* for each of two rings:
//!           0       chunks of slots: each as large as all before it
//!           256 GiB areas for bytes: each twice as large as the one before
//!           512 GiB letters: messages too long for an area, one behind the other
//! 3 TiB     hands: the tasks that somebody works at
//! 32 TiB    what is too long for a hand, 8 GiB for each
//! ```
//!
//! # Invariants
//! * X1: pages are allocated before they are touched through a mapping (a page that cannot be had is a deadly signal), or
//!   written by the system, which answers with an error.
//!
//! # If a process dies here
//! Pages that it has allocated, or has not given back, stay until they are used, or the segment ends.
#![allow(unsafe_code)] // pointers into mappings

use super::arena::allocator;
use super::segment::Segment;
use crate::SegmentError;
use crate::sys::memory;
use memmap2::MmapRaw;
use std::ptr::NonNull;
use std::sync::Mutex;
use std::sync::atomic::AtomicPtr;
use std::sync::atomic::Ordering::{Acquire, Release};

/// How long the file of a segment with an annex is.
pub(super) const LENGTH: u64 = 64 << 40;
/// Where the annex begins.
pub(super) const FIRST: u64 = 1 << 40;
const WING: u64 = 1 << 40;
const AREAS: u64 = 1 << 38;
const LETTERS: u64 = 1 << 39;
const HANDS: u64 = 3 << 40;
const LONG_HANDS: u64 = 32 << 40;
const LONG_HAND: u64 = 8 << 30;
/// How many bytes of letters there can be at once.
pub(crate) const LETTER_ROOM: u64 = 1 << 39;
const LEVELS: usize = 32;

/// This process's mappings of it.
#[derive(Default)]
pub(crate) struct Annex {
    places: [[[AtomicPtr<u8>; LEVELS]; 2]; 2],
    hands: AtomicPtr<u8>,
    maps: Mutex<Vec<MmapRaw>>,
}

/// What belongs to one ring.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RingIndex(pub(crate) usize);

/// What doubles.
#[derive(Clone, Copy, Debug)]
enum Room {
    Slots,
    Area,
}

impl RingIndex {
    fn at(self) -> u64 {
        FIRST + (self.0 as u64 & 1) * WING
    }

    /// Where a room of some level is, from 1, and how many bytes it has. Level 0 has `first` bytes, in the segment itself.
    fn room(self, room: Room, first: usize, level: u32) -> Option<(u64, usize)> {
        let first = first as u64;
        let (from, bytes, end) = match room {
            // As large as all slots before it together, and as far from the start.
            Room::Slots => (self.at(), first.checked_shl(level.checked_sub(1)?)?, AREAS),
            Room::Area => (self.at() + AREAS, first.checked_shl(level)?, LETTERS - AREAS),
        };
        let fits = (level as usize) < LEVELS && bytes >> level.min(63) <= first && bytes.checked_mul(2)? <= end;
        fits.then_some((from + bytes, usize::try_from(bytes).ok()?))
    }
}

impl Segment {
    /// The slots behind those of all levels below.
    #[inline]
    pub(crate) fn slots(&self, wing: RingIndex, first: usize, level: u32) -> Result<NonNull<u8>, SegmentError> {
        self.room(wing, Room::Slots, first, level)
    }

    /// The bytes of a level.
    #[inline]
    pub(crate) fn area(&self, wing: RingIndex, first: usize, level: u32) -> Result<NonNull<u8>, SegmentError> {
        self.room(wing, Room::Area, first, level)
    }

    pub(crate) fn allocate_slots(&self, wing: RingIndex, first: usize, level: u32) -> Result<(), SegmentError> {
        self.allocate_room(wing.room(Room::Slots, first, level))
    }

    pub(crate) fn allocate_area(&self, wing: RingIndex, first: usize, level: u32) -> Result<(), SegmentError> {
        self.allocate_room(wing.room(Room::Area, first, level))
    }

    fn allocate_room(&self, room: Option<(u64, usize)>) -> Result<(), SegmentError> {
        let (at, bytes) = room.ok_or(SegmentError::NoSpace)?;
        memory::allocate_at(self.annex()?.1, at, bytes as u64)
    }

    /// All slots but the first.
    pub(crate) fn punch_slots(&self, wing: RingIndex) {
        self.punch(wing.at(), AREAS);
    }

    /// The bytes of a level.
    pub(crate) fn punch_area(&self, wing: RingIndex, first: usize, level: u32) {
        if let Some((at, bytes)) = wing.room(Room::Area, first, level) {
            self.punch(at, bytes as u64);
        }
    }

    fn room(&self, wing: RingIndex, room: Room, first: usize, level: u32) -> Result<NonNull<u8>, SegmentError> {
        let (annex, _) = self.annex()?;
        let place = annex.places[wing.0 & 1][room as usize].get(level as usize).ok_or(SegmentError::NoSpace)?;
        match NonNull::new(place.load(Acquire)) {
            Some(place) => Ok(place),
            None => {
                let (at, bytes) = wing.room(room, first, level).ok_or(SegmentError::NoSpace)?;
                self.map(place, at, bytes)
            }
        }
    }

    #[cold]
    fn map(&self, place: &AtomicPtr<u8>, at: u64, bytes: usize) -> Result<NonNull<u8>, SegmentError> {
        let (annex, fd) = self.annex()?;
        let _heap = allocator::lock(); // which a fork takes first
        let mut maps = crate::error::locked(&annex.maps);
        if let Some(place) = NonNull::new(place.load(Acquire)) {
            return Ok(place);
        }
        let map = memory::map_at(fd, at, bytes)?;
        let start = NonNull::new(map.as_mut_ptr()).ok_or(SegmentError::NoSpace)?;
        maps.push(map);
        place.store(start.as_ptr(), Release);
        Ok(start)
    }

    fn punch(&self, at: u64, bytes: u64) {
        if let Ok((_, fd)) = self.annex() {
            memory::punch(fd, at, bytes);
        }
    }

    /// Writes a letter to a place, which is counted without end and taken modulo the room.
    pub(crate) fn write_letter(&self, wing: RingIndex, place: u64, bytes: &[u8]) -> Result<(), SegmentError> {
        let (_, fd) = self.annex()?;
        let at = place % LETTER_ROOM;
        if at + bytes.len() as u64 > LETTER_ROOM {
            return Err(SegmentError::NoSpace);
        }
        memory::write_at(fd, wing.at() + LETTERS + at, bytes)
    }

    /// Reads a letter; false if there is none of that length.
    pub(crate) fn read_letter(&self, wing: RingIndex, place: u64, room: &mut [u8]) -> Result<bool, SegmentError> {
        let (_, fd) = self.annex()?;
        let at = place % LETTER_ROOM;
        if at + room.len() as u64 > LETTER_ROOM {
            return Ok(false);
        }
        Ok(memory::read_at(fd, wing.at() + LETTERS + at, room)? == room.len())
    }

    /// Gives back the pages of letters between two places.
    pub(crate) fn punch_letters(&self, wing: RingIndex, from: u64, to: u64) {
        let (first, length) = (from % LETTER_ROOM, to.wrapping_sub(from).min(LETTER_ROOM));
        let here = length.min(LETTER_ROOM - first);
        if here > 0 {
            self.punch(wing.at() + LETTERS + first, here);
        }
        if length > here {
            self.punch(wing.at() + LETTERS, length - here);
        }
    }

    /// How many bytes of memory it has taken in all.
    pub(crate) fn taken(&self) -> u64 {
        self.annex().map_or(0, |(_, fd)| memory::taken(fd))
    }

    /// The hands, `bytes` in all.
    pub(crate) fn hands(&self, bytes: usize) -> Result<NonNull<u8>, SegmentError> {
        let (annex, _) = self.annex()?;
        match NonNull::new(annex.hands.load(Acquire)) {
            Some(hands) => Ok(hands),
            None => self.map(&annex.hands, HANDS, bytes),
        }
    }

    pub(crate) fn allocate_hands(&self, from: usize, bytes: usize) -> Result<(), SegmentError> {
        memory::allocate_at(self.annex()?.1, HANDS + from as u64, bytes as u64)
    }

    pub(crate) fn write_hand(&self, hand: u32, bytes: &[u8]) -> Result<(), SegmentError> {
        if bytes.len() as u64 > LONG_HAND {
            return Err(SegmentError::NoSpace);
        }
        memory::write_at(self.annex()?.1, LONG_HANDS + u64::from(hand) * LONG_HAND, bytes)
    }

    pub(crate) fn read_hand(&self, hand: u32, room: &mut [u8]) -> Result<bool, SegmentError> {
        let fd = self.annex()?.1;
        Ok(memory::read_at(fd, LONG_HANDS + u64::from(hand) * LONG_HAND, room)? == room.len())
    }

    pub(crate) fn punch_hand(&self, hand: u32) {
        self.punch(LONG_HANDS + u64::from(hand) * LONG_HAND, LONG_HAND);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_lie_side_by_side_and_end_before_the_next() {
        for room in [Room::Slots, Room::Area] {
            let all: Vec<_> = (1..20).map(|level| RingIndex(0).room(room, 4096, level).unwrap()).collect();
            assert!(all.windows(2).all(|pair| pair[0].0 + pair[0].1 as u64 == pair[1].0));
            let last = (1..60).filter_map(|level| RingIndex(1).room(room, 1 << 20, level)).next_back().unwrap();
            assert!(last.0 + last.1 as u64 <= RingIndex(1).at() + LETTERS);
            assert_eq!(RingIndex(0).room(room, 4096, 0).is_none(), matches!(room, Room::Slots));
            assert!(RingIndex(0).room(room, 4096, 33).is_none() && RingIndex(0).room(room, usize::MAX, 3).is_none());
        }
        const { assert!(LONG_HANDS + 4096 * LONG_HAND <= LENGTH) };
    }
}
