//! Series to grow in, behind the end of a segment: parts of its own file that take memory when they are used.
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

/// How long the file of a segment with an extent is.
pub(super) const FILE_BYTES: u64 = 64 << 40;
/// Where the extent begins.
pub(super) const EXTENT_AT: u64 = 1 << 40;
pub(super) const REGION_BYTES: u64 = 1 << 40;
pub(super) const BUFFERS_AT: u64 = 1 << 38;
pub(super) const SPILL_AT: u64 = 1 << 39;
pub(super) const TABLE_AT: u64 = 3 << 40;
pub(super) const OVERFLOW_AT: u64 = 32 << 40;
pub(super) const OVERFLOW_BYTES: u64 = 8 << 30;
/// How many bytes of letters there can be at once.
pub(crate) const SPILL_BYTES: u64 = 1 << 39;
const LEVELS: usize = 32;

/// This process's mappings of it.
#[derive(Default)]
pub(crate) struct Extent {
    pub(super) levels: [[[AtomicPtr<u8>; LEVELS]; 2]; 2],
    pub(super) table: AtomicPtr<u8>,
    pub(super) maps: Mutex<Vec<MmapRaw>>,
}

/// What belongs to one ring.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RegionIndex(pub(crate) usize);

/// What doubles.
#[derive(Clone, Copy, Debug)]
pub(super) enum Series {
    Chunks,
    Buffers,
}

impl RegionIndex {
    pub(super) fn at(self) -> u64 {
        EXTENT_AT + (self.0 as u64 & 1) * REGION_BYTES
    }

    /// Where a level of some level is, from 1, and how many bytes it has. Level 0 has `first` bytes, in the segment itself.
    pub(super) fn level(self, series: Series, first: usize, level: u32) -> Option<(u64, usize)> {
        let first = first as u64;
        let (from, bytes, end) = match series {
            // As large as all slots before it together, and as far from the start.
            Series::Chunks => (self.at(), first.checked_shl(level.checked_sub(1)?)?, BUFFERS_AT),
            Series::Buffers => (self.at() + BUFFERS_AT, first.checked_shl(level)?, SPILL_AT - BUFFERS_AT),
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
        for series in [Series::Chunks, Series::Buffers] {
            let all: Vec<_> = (1..20).map(|level| RegionIndex(0).level(series, 4096, level).unwrap()).collect();
            assert!(all.windows(2).all(|pair| pair[0].0 + pair[0].1 as u64 == pair[1].0));
            let last = (1..60).filter_map(|level| RegionIndex(1).level(series, 1 << 20, level)).next_back().unwrap();
            assert!(last.0 + last.1 as u64 <= RegionIndex(1).at() + SPILL_AT);
            assert_eq!(RegionIndex(0).level(series, 4096, 0).is_none(), matches!(series, Series::Chunks));
            assert!(
                RegionIndex(0).level(series, 4096, 33).is_none()
                    && RegionIndex(0).level(series, usize::MAX, 3).is_none()
            );
        }
        const { assert!(OVERFLOW_AT + 4096 * OVERFLOW_BYTES <= FILE_BYTES) };
    }
}
