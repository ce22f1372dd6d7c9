//! Operations on the extent of a segment, for objects that grow. See `extent` for the layout.

use super::arena::allocator;
use super::extent::{BUFFERS_AT, OVERFLOW_AT, OVERFLOW_BYTES, RegionIndex, SPILL_AT, SPILL_BYTES, Series, TABLE_AT};
use super::segment::Segment;
use crate::SegmentError;
use crate::sys::memory;
use std::ptr::NonNull;
use std::sync::atomic::AtomicPtr;
use std::sync::atomic::Ordering::{Acquire, Release};

impl Segment {
    /// Returns the chunk of a level, mapped. Level 0 has `first` bytes.
    #[inline]
    pub(crate) fn chunk(&self, region: RegionIndex, first: usize, level: u32) -> Result<NonNull<u8>, SegmentError> {
        self.level(region, Series::Chunks, first, level)
    }

    /// Returns the buffer of a level, mapped. Level 0 has `first` bytes.
    #[inline]
    pub(crate) fn buffer(&self, region: RegionIndex, first: usize, level: u32) -> Result<NonNull<u8>, SegmentError> {
        self.level(region, Series::Buffers, first, level)
    }

    /// Allocates the pages of a chunk (extent-X1).
    pub(crate) fn allocate_chunk(&self, region: RegionIndex, first: usize, level: u32) -> Result<(), SegmentError> {
        self.allocate_level(region.level(Series::Chunks, first, level))
    }

    /// Allocates the pages of a buffer (extent-X1).
    pub(crate) fn allocate_buffer(&self, region: RegionIndex, first: usize, level: u32) -> Result<(), SegmentError> {
        self.allocate_level(region.level(Series::Buffers, first, level))
    }

    fn allocate_level(&self, range: Option<(u64, usize)>) -> Result<(), SegmentError> {
        let (at, bytes) = range.ok_or(SegmentError::NoSpace)?;
        memory::allocate_at(self.extent()?.1, at, bytes as u64)
    }

    /// Gives back the pages of all chunks but level 0, which is in the segment.
    pub(crate) fn punch_chunks(&self, region: RegionIndex) {
        self.punch(region.at(), BUFFERS_AT);
    }

    /// Gives back the pages of the buffer of a level.
    pub(crate) fn punch_buffer(&self, region: RegionIndex, first: usize, level: u32) {
        if let Some((at, bytes)) = region.level(Series::Buffers, first, level) {
            self.punch(at, bytes as u64);
        }
    }

    fn level(
        &self,
        region: RegionIndex,
        series: Series,
        first: usize,
        level: u32,
    ) -> Result<NonNull<u8>, SegmentError> {
        let (extent, _) = self.extent()?;
        let slot = extent.levels[region.0 & 1][series as usize].get(level as usize).ok_or(SegmentError::NoSpace)?;
        match NonNull::new(slot.load(Acquire)) {
            Some(start) => Ok(start),
            None => {
                let (at, bytes) = region.level(series, first, level).ok_or(SegmentError::NoSpace)?;
                self.map(slot, at, bytes)
            }
        }
    }

    #[cold]
    fn map(&self, slot: &AtomicPtr<u8>, at: u64, bytes: usize) -> Result<NonNull<u8>, SegmentError> {
        let (extent, fd) = self.extent()?;
        let _allocator = allocator::lock(); // taken before `maps`, as a fork takes the allocator's mutex first
        let mut maps = crate::error::locked(&extent.maps);
        if let Some(start) = NonNull::new(slot.load(Acquire)) {
            return Ok(start);
        }
        let map = memory::map_at(fd, at, bytes)?;
        let start = NonNull::new(map.as_mut_ptr()).ok_or(SegmentError::NoSpace)?;
        maps.push(map);
        slot.store(start.as_ptr(), Release);
        Ok(start)
    }

    fn punch(&self, at: u64, bytes: u64) {
        if let Ok((_, fd)) = self.extent() {
            memory::punch(fd, at, bytes);
        }
    }

    /// Writes bytes to the spill at a position.
    pub(crate) fn write_spill(&self, region: RegionIndex, position: u64, bytes: &[u8]) -> Result<(), SegmentError> {
        let (_, fd) = self.extent()?;
        let at = position % SPILL_BYTES;
        if at + bytes.len() as u64 > SPILL_BYTES {
            return Err(SegmentError::NoSpace);
        }
        memory::write_at(fd, region.at() + SPILL_AT + at, bytes)
    }

    /// Reads bytes from the spill at a position. Returns false if the spill has fewer bytes there.
    pub(crate) fn read_spill(
        &self,
        region: RegionIndex,
        position: u64,
        buffer: &mut [u8],
    ) -> Result<bool, SegmentError> {
        let (_, fd) = self.extent()?;
        let at = position % SPILL_BYTES;
        if at + buffer.len() as u64 > SPILL_BYTES {
            return Ok(false);
        }
        Ok(memory::read_at(fd, region.at() + SPILL_AT + at, buffer)? == buffer.len())
    }

    /// Gives back the pages of the spill between two positions.
    pub(crate) fn punch_spill(&self, region: RegionIndex, from: u64, to: u64) {
        let (first, length) = (from % SPILL_BYTES, to.wrapping_sub(from).min(SPILL_BYTES));
        let here = length.min(SPILL_BYTES - first);
        if here > 0 {
            self.punch(region.at() + SPILL_AT + first, here);
        }
        if length > here {
            self.punch(region.at() + SPILL_AT, length - here);
        }
    }

    /// Returns the number of bytes of memory that the file uses in all.
    pub(crate) fn allocated_bytes(&self) -> u64 {
        self.extent().map_or(0, |(_, fd)| memory::taken(fd))
    }

    /// Returns the table, mapped; it has `bytes` bytes.
    pub(crate) fn table(&self, bytes: usize) -> Result<NonNull<u8>, SegmentError> {
        let (extent, _) = self.extent()?;
        match NonNull::new(extent.table.load(Acquire)) {
            Some(table) => Ok(table),
            None => self.map(&extent.table, TABLE_AT, bytes),
        }
    }

    /// Allocates the pages of a part of the table (extent-X1).
    pub(crate) fn allocate_table(&self, from: usize, bytes: usize) -> Result<(), SegmentError> {
        memory::allocate_at(self.extent()?.1, TABLE_AT + from as u64, bytes as u64)
    }

    /// Writes bytes to the overflow of an entry of the table.
    pub(crate) fn write_overflow(&self, entry: u32, bytes: &[u8]) -> Result<(), SegmentError> {
        if bytes.len() as u64 > OVERFLOW_BYTES {
            return Err(SegmentError::NoSpace);
        }
        memory::write_at(self.extent()?.1, OVERFLOW_AT + u64::from(entry) * OVERFLOW_BYTES, bytes)
    }

    /// Reads bytes from the overflow of an entry. Returns false if there are fewer.
    pub(crate) fn read_overflow(&self, entry: u32, buffer: &mut [u8]) -> Result<bool, SegmentError> {
        let fd = self.extent()?.1;
        Ok(memory::read_at(fd, OVERFLOW_AT + u64::from(entry) * OVERFLOW_BYTES, buffer)? == buffer.len())
    }

    /// Gives back the pages of the overflow of an entry.
    pub(crate) fn punch_overflow(&self, entry: u32) {
        self.punch(OVERFLOW_AT + u64::from(entry) * OVERFLOW_BYTES, OVERFLOW_BYTES);
    }
}
