//! What objects whose memory grows need of a segment.

use super::arena::allocator;
use super::extent::{AREAS, HANDS, LETTER_ROOM, LETTERS, LONG_HAND, LONG_HANDS, RingIndex, Room};
use super::segment::Segment;
use crate::SegmentError;
use crate::sys::memory;
use std::ptr::NonNull;
use std::sync::PoisonError;
use std::sync::atomic::AtomicPtr;
use std::sync::atomic::Ordering::{Acquire, Release};

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
        let mut maps = annex.maps.lock().unwrap_or_else(PoisonError::into_inner);
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
