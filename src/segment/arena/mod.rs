//! A segment of equal blocks, shared by all processes that hold one of them.
//!
//! # Protocol
//! A process takes up to 64 free blocks at once, by setting their bits in one of its cells, and keeps those that it does
//! not need yet for its next objects (`heap`). A handle in a message is a *flight*: it counts before the message exists,
//! and until the reader has set its own bit. A block that no message ever carried is known to be held by us alone.
//!
//! # Invariants
//! * A1: `handles` (private) counts this process's handles per block; it goes from and to 0 under the heap's mutex.
//! * A2: blocks begin with a lock, whatever they hold, for the arena's life: a lock word is never reused as data, so the
//!   kernel may write to it at any time.
//! * A3: a block whose lock word is held is not given back: a leaked guard may still be used.
//!
//! # If a process dies here
//! See `roster`. A flight whose message was lost with its sender keeps its block until the arena ends.

pub(crate) mod allocator;
pub(crate) mod id_map;
pub(crate) mod roster;

use super::header::Geometry;
use super::kind::{Kind, LINE, ObjectLayout, Spec};
use super::segment::Segment;
use crate::SegmentError;
use crate::sys::process_id::ProcessId;
use id_map::Table;
use roster::Locked;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::{Mutex, MutexGuard};

/// Blocks are never larger: what does not fit gets a segment of its own.
pub(crate) const LARGEST_BLOCK: usize = 64 << 10;
const SMALLEST: usize = 256 << 10;
const LARGEST: usize = 64 << 20;
const CELLS: usize = 2048;
/// In `handles`: a message has carried the block, so other processes may hold it.
const SHARED: u32 = 1 << 31;

pub(crate) struct Arena {
    pub(crate) segment: Segment,
    handles: Box<[AtomicU32]>,
    tenancy: Mutex<LocalClaims>,
}

/// What this process has in the arena.
#[derive(Default)]
struct LocalClaims {
    /// Our cell for each chunk.
    cells: Table<u32, u32>,
    /// Blocks with handles.
    live: usize,
    /// Where the last free chunk was found.
    hint: usize,
}

impl std::fmt::Debug for Arena {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Arena").field("segment", &self.segment).finish()
    }
}

/// The block size for an object: one, two, three, four, six, eight, twelve .. lines.
pub(crate) fn class_of(bytes: usize) -> Option<usize> {
    let lines = bytes.max(1).div_ceil(LINE);
    let above = lines.next_power_of_two();
    let between = above / 4 * 3;
    let class = LINE * if lines <= between && above >= 4 { between } else { above };
    (class <= LARGEST_BLOCK).then_some(class)
}

impl Arena {
    /// A new one; `there` is how much memory the class has already, which is doubled.
    pub(crate) fn create(class: usize, there: usize) -> Result<Self, SegmentError> {
        let cells = CELLS * 32 + super::header::CELLS_AT;
        let room = there.clamp(SMALLEST, LARGEST).max(cells + class * 4) - cells;
        let blocks = room / (class + 4);
        let geometry = Geometry::new(CELLS, blocks, class, LINE).ok_or(SegmentError::TooLarge)?;
        let spec =
            Spec { kind: Kind::Arena as u32, item_size: class as u32, item_align: LINE as u32, type_hash: 0, count: 0 };
        let segment = Segment::anonymous(geometry, &spec, &ObjectLayout { locks: 0, bytes: class })?;
        Ok(Arena::of(segment))
    }

    /// What a peer sent.
    pub(crate) fn of(segment: Segment) -> Self {
        // Calloc gives pages that are zero without being touched: a large arena of which we hold one block stays cheap.
        let handles = bytemuck::allocation::zeroed_slice_box(segment.geometry.blocks);
        Arena { segment, handles, tenancy: Mutex::default() }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.segment.geometry.size
    }

    pub(crate) fn class(&self) -> usize {
        self.segment.geometry.block_size
    }

    fn tenancy(&self) -> MutexGuard<'_, LocalClaims> {
        crate::error::locked(&self.tenancy)
    }

    pub(crate) fn live(&self) -> usize {
        self.tenancy().live
    }

    /// Takes some free blocks for this process, at most a chunk of them. None if there is none.
    pub(crate) fn claim(&self) -> Result<Vec<u32>, SegmentError> {
        let roster = self.segment.roster().lock().map_err(refused)?;
        let mut tenancy = self.tenancy();
        let mut found = self.find_free(&roster, tenancy.hint);
        if found.is_none() && roster.sweep() {
            found = self.find_free(&roster, 0);
        }
        let Some((chunk, free)) = found else { return Ok(Vec::new()) };
        tenancy.hint = chunk;
        let Some(cell) = tenancy.cell(&roster, chunk as u32) else { return Ok(Vec::new()) };
        cell.held.fetch_or(free, SeqCst); // R2
        Ok((0..64).filter(|bit| free >> bit & 1 == 1).map(|bit| (chunk * 64 + bit) as u32).collect())
    }

    /// A chunk with free blocks (R1), and which.
    fn find_free(&self, roster: &Locked<'_>, hint: usize) -> Option<(usize, u64)> {
        let blocks = self.segment.geometry.blocks;
        let chunks = blocks.div_ceil(64);
        let held = roster.held_by_anybody(chunks);
        let flights = self.segment.flights();
        (0..chunks).map(|i| (hint + i) % chunks).find_map(|chunk| {
            let within =
                if chunk + 1 == chunks && !blocks.is_multiple_of(64) { (1 << (blocks % 64)) - 1 } else { u64::MAX };
            let mut free = !held[chunk] & within;
            for bit in (0..64).filter(|bit| free >> bit & 1 == 1).collect::<Vec<_>>() {
                let block = chunk * 64 + bit;
                if flights[block].load(SeqCst) != 0 || self.segment.lock(block).is_held() {
                    free &= !(1 << bit);
                }
            }
            (free != 0).then_some((chunk, free))
        })
    }

    /// Gives blocks back that we held without a handle.
    pub(crate) fn give_back(&self, block: u32) {
        let tenancy = self.tenancy();
        if let Some(cell) = tenancy.cells.get(&(block / 64)).and_then(|cell| self.segment.roster().cell(*cell)) {
            cell.held.fetch_and(!(1 << (block % 64)), SeqCst);
        }
    }

    /// A fresh block of ours gets its first handle. Under the heap's mutex (A1).
    pub(crate) fn first_handle(&self, block: u32, kind: u32, bytes: usize) {
        self.tenancy().live += 1;
        self.handles[block as usize].store(1, Relaxed);
        self.segment.lock(block as usize).reset(kind);
        self.zero_data(block, bytes);
    }

    #[allow(unsafe_code)] // memory that nobody else has yet
    fn zero_data(&self, block: u32, bytes: usize) {
        let head = size_of::<crate::sync::RawLock>();
        let bytes = bytes.min(self.class());
        // SAFETY: the block is ours alone and as large as its class; the lock at its front stays (A2).
        unsafe { self.segment.block(block as usize).add(head).write_bytes(0, bytes - head) };
    }

    /// One more handle on a block that has some.
    #[inline]
    pub(crate) fn add_handle(&self, block: u32) {
        self.handles[block as usize].fetch_add(1, Relaxed);
    }

    /// How many handles this process has on a block.
    pub(crate) fn handles(&self, block: u32) -> usize {
        (self.handles[block as usize].load(SeqCst) & !SHARED) as usize
    }

    /// Whether a message carries a handle on the block.
    pub(crate) fn flies(&self, block: u32) -> bool {
        self.segment.flights()[block as usize].load(SeqCst) != 0
    }

    /// One handle less, unless it is the last: that takes the heap's mutex and [`Arena::last_handle`].
    #[inline]
    pub(crate) fn drop_handle(&self, block: u32) -> bool {
        let handles = &self.handles[block as usize];
        handles.fetch_update(SeqCst, Relaxed, |count| (count & !SHARED > 1).then(|| count - 1)).is_ok()
    }

    /// The last handle of this process goes. Under the heap's mutex. True if the block can be used again at once.
    /// If others may hold it, `gone` is for them.
    pub(crate) fn last_handle(&self, block: u32, locks: usize, gone: &dyn Fn()) -> bool {
        if self.segment.is_busy(block as usize, locks) {
            return false; // A3: its handle is never given back
        }
        let count = self.handles[block as usize].fetch_sub(1, SeqCst) - 1;
        if count & !SHARED != 0 {
            return false;
        }
        self.handles[block as usize].store(0, SeqCst);
        self.tenancy().live -= 1;
        let shared = count & SHARED != 0;
        if shared {
            // As long as the roster is locked, nobody can make another object of the block.
            let roster = self.segment.roster().lock();
            self.give_back(block);
            if roster.is_ok_and(|roster| roster.other(block).is_some()) {
                gone();
            }
        }
        !shared
    }

    /// A message takes a handle along.
    pub(crate) fn depart(&self, block: u32) -> Result<(), SegmentError> {
        let _roster = self.segment.roster().lock().map_err(refused)?;
        self.handles[block as usize].fetch_or(SHARED, SeqCst);
        if let Some(flights) = self.segment.flights().get(block as usize) {
            flights.fetch_add(1, SeqCst);
        }
        Ok(())
    }

    /// A message gave its handle up, or lost it.
    pub(crate) fn land(&self, block: u32) {
        if let Some(flights) = self.segment.flights().get(block as usize) {
            let _ = flights.fetch_update(SeqCst, SeqCst, |count| count.checked_sub(1));
        }
    }

    /// A handle comes out of a message, whose flight ends after this. Under the heap's mutex.
    pub(crate) fn arrive(&self, block: u32) -> Result<(), SegmentError> {
        let handles = self.handles.get(block as usize).ok_or(SegmentError::NotASegment)?;
        let roster = self.segment.roster().lock().map_err(refused)?;
        let mut tenancy = self.tenancy();
        if handles.load(SeqCst) & !SHARED == 0 {
            let cell = tenancy.cell(&roster, block / 64).ok_or(SegmentError::NoSpace)?;
            cell.held.fetch_or(1 << (block % 64), SeqCst);
            tenancy.live += 1;
        }
        handles.fetch_add(1, SeqCst);
        handles.fetch_or(SHARED, SeqCst);
        Ok(())
    }

    /// Whether a message still needs this process's copy of the arena.
    pub(crate) fn has_flights(&self) -> bool {
        self.segment.flights().iter().any(|flights| flights.load(SeqCst) != 0)
    }

    /// Gives up all that this process has here.
    pub(crate) fn leave(&self) {
        for (_, cell) in self.tenancy().cells.drain() {
            self.segment.roster().give_up(cell);
        }
    }

    /// Before a fork: cells for the child, with the blocks that have handles. Gives their numbers, by chunk.
    pub(crate) fn prepare_child(&self) -> Vec<(u32, u32)> {
        let Ok(roster) = self.segment.roster().lock() else { return Vec::new() };
        let chunks: Vec<u32> = self.tenancy().cells.keys().copied().collect();
        let cell_for = |chunk: u32| {
            let from = chunk as usize * 64;
            let held = (0..64)
                .filter(|bit| self.handles.get(from + bit).is_some_and(|count| count.load(SeqCst) & !SHARED != 0))
                .fold(0, |held, bit| held | 1 << bit);
            if held == 0 { None } else { Some((chunk, roster.claim_for_child(chunk, held, 0)?)) }
        };
        chunks.into_iter().filter_map(cell_for).collect()
    }

    /// In the child: those are ours, and nothing else is.
    pub(crate) fn become_child(&self, cells: &[(u32, u32)]) {
        let roster = self.segment.roster();
        let me = ProcessId::current().tag();
        cells.iter().filter_map(|(_, cell)| roster.cell(*cell)).for_each(|cell| cell.take_over(me));
        self.tenancy().cells = cells.iter().copied().collect();
        for handles in self.handles.iter().filter(|handles| handles.load(SeqCst) != 0) {
            handles.fetch_or(SHARED, SeqCst); // the parent holds it too
        }
    }

    /// After a fork, the parent's blocks are the child's too.
    pub(crate) fn share_all(&self) {
        for handles in self.handles.iter().filter(|handles| handles.load(SeqCst) != 0) {
            handles.fetch_or(SHARED, SeqCst);
        }
    }
}

impl LocalClaims {
    /// Our cell for a chunk, claimed if need be.
    fn cell<'a>(&mut self, roster: &'a Locked<'_>, chunk: u32) -> Option<&'a roster::Claim> {
        let index = match self.cells.get(&chunk) {
            Some(index) => *index,
            None => {
                let index = roster.claim_cell(chunk)?;
                self.cells.insert(chunk, index);
                index
            }
        };
        roster.cell(index)
    }
}

/// A roster's lock that cannot be had: the segment is damaged, or this thread holds too many guards.
pub(crate) fn refused(refusal: crate::sync::LockFailure) -> SegmentError {
    match refusal {
        crate::sync::LockFailure::TooMany => SegmentError::Invalid("this thread holds too many guards".into()),
        _ => SegmentError::NotASegment,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_waste_at_most_a_half() {
        assert_eq!(
            [1, 64, 65, 128, 129, 193, 257, 385].map(|n| class_of(n).unwrap()),
            [64, 64, 128, 128, 192, 256, 384, 512]
        );
        assert_eq!((class_of(LARGEST_BLOCK), class_of(LARGEST_BLOCK + 1)), (Some(LARGEST_BLOCK), None));
    }
}
