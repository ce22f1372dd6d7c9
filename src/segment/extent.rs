//! Extent of a segment that grows: the part of its sparse file after the segment. It uses memory only where that is
//! allocated.
//!
//! The segment is the start of a file of 64 TiB, which is almost entirely a hole. A process that has the segment can
//! therefore reach the memory it grows into without another file descriptor. Memory that is not needed any more is
//! given back by punching a hole.
//!
//! This file has the layout and this process's mappings. The operations are in `growth`.
//!
//! # Layout
//! ```text
//! 0 TiB     the segment itself
//! 1, 2 TiB  two *regions*, each with
//!           0        slots: level `n` is as large as all levels before it together, and continues them
//!           256 GiB  buffers: level `n` is twice as large as level `n - 1`, and replaces it
//!           512 GiB  spill: byte ranges that are too long for a buffer, at increasing positions modulo its size
//! 3 TiB     table: one array for the whole segment
//! 32 TiB    overflow: 8 GiB for each entry of the table
//! ```
//! Level 0 of slots and buffers lies in the segment itself.
//!
//! # Invariants
//! * extent-X1: pages are allocated before they are accessed through a mapping, as a page that cannot be allocated
//!   there is a fatal signal. Spill and overflow are written by system calls, which return an error instead.
//!
//! # If a process dies here
//! Pages that it allocated, or had not given back yet, stay allocated until they are used or the segment ends.

use memmap2::MmapRaw;
use std::sync::Mutex;
use std::sync::atomic::AtomicPtr;

/// Length of the file of a segment with an extent.
pub(super) const FILE_BYTES: u64 = 64 << 40;
/// Offset of the first region.
pub(super) const EXTENT_AT: u64 = 1 << 40;
pub(super) const REGION_BYTES: u64 = 1 << 40;
pub(super) const BUFFERS_AT: u64 = 1 << 38;
pub(super) const SPILL_AT: u64 = 1 << 39;
pub(super) const TABLE_AT: u64 = 3 << 40;
pub(super) const OVERFLOW_AT: u64 = 32 << 40;
pub(super) const OVERFLOW_BYTES: u64 = 8 << 30;
/// Size of the spill of a region. Positions in it count up without end and are taken modulo this size.
pub(crate) const SPILL_BYTES: u64 = 1 << 39;
const LEVELS: usize = 32;

/// This process's mappings of an extent, by region, series and level.
#[derive(Default)]
pub(crate) struct Extent {
    pub(super) levels: [[[AtomicPtr<u8>; LEVELS]; 2]; 2],
    pub(super) table: AtomicPtr<u8>,
    pub(super) maps: Mutex<Vec<MmapRaw>>,
}

/// One of the two regions of an extent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RegionIndex(pub(crate) usize);

/// A series of levels of increasing size.
#[derive(Clone, Copy, Debug)]
pub(super) enum Series {
    Chunks,
    Buffers,
}

impl RegionIndex {
    pub(super) fn at(self) -> u64 {
        EXTENT_AT + (self.0 as u64 & 1) * REGION_BYTES
    }

    /// Returns offset and size of a level. Level 0 has `first` bytes; for slots it has no offset here.
    pub(super) fn level(self, series: Series, first: usize, level: u32) -> Option<(u64, usize)> {
        let first = first as u64;
        let (from, bytes, end) = match series {
            // As large as all levels before it together, at an offset equal to that size.
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
