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

use memmap2::MmapRaw;
use std::sync::Mutex;
use std::sync::atomic::AtomicPtr;

/// How long the file of a segment with an annex is.
pub(super) const LENGTH: u64 = 64 << 40;
/// Where the annex begins.
pub(super) const FIRST: u64 = 1 << 40;
pub(super) const WING: u64 = 1 << 40;
pub(super) const AREAS: u64 = 1 << 38;
pub(super) const LETTERS: u64 = 1 << 39;
pub(super) const HANDS: u64 = 3 << 40;
pub(super) const LONG_HANDS: u64 = 32 << 40;
pub(super) const LONG_HAND: u64 = 8 << 30;
/// How many bytes of letters there can be at once.
pub(crate) const LETTER_ROOM: u64 = 1 << 39;
const LEVELS: usize = 32;

/// This process's mappings of it.
#[derive(Default)]
pub(crate) struct Annex {
    pub(super) places: [[[AtomicPtr<u8>; LEVELS]; 2]; 2],
    pub(super) hands: AtomicPtr<u8>,
    pub(super) maps: Mutex<Vec<MmapRaw>>,
}

/// What belongs to one ring.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RingIndex(pub(crate) usize);

/// What doubles.
#[derive(Clone, Copy, Debug)]
pub(super) enum Room {
    Slots,
    Area,
}

impl RingIndex {
    pub(super) fn at(self) -> u64 {
        FIRST + (self.0 as u64 & 1) * WING
    }

    /// Where a room of some level is, from 1, and how many bytes it has. Level 0 has `first` bytes, in the segment itself.
    pub(super) fn room(self, room: Room, first: usize, level: u32) -> Option<(u64, usize)> {
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
