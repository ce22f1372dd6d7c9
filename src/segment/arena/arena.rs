//! An arena: a segment of blocks of one size, shared by all processes that hold one of them.
//!
//! # Protocol
//! A process takes up to 64 free blocks at once by setting their bits in one of its claims. It keeps those that it does
//! not need yet for its next objects (`allocator`). A handle in a message is *in flight*: it is counted from before the
//! message exists until the receiver has set its own bit. A block that was never in a message is held by one process
//! only.
//!
//! # Invariants
//! * arena-A1: `handles`, which is private, is the number of this process's handles on each block. It leaves 0 and
//!   returns to 0 only under the allocator's mutex.
//! * arena-A2: each block begins with a lock, whatever it holds, as long as the arena exists. A lock word is never
//!   reused as data, so the kernel may write to it at any time.
//! * arena-A3: a block whose lock is held is not given back, because a leaked guard may still be used.
//!
//! # If a process dies here
//! See `roster`. A handle in flight whose message was lost with its sender keeps its block until the arena ends.
//!
//! # Ordering
//! All operations on shared words are SeqCst. The decisions here read several words (claims, handles in flight, lock
//! words) that other processes change independently, and none of them is on a hot path. `handles` is private: `Relaxed`
//! is enough to add to a count that cannot be 0.

use super::id_map::IdMap;
use super::roster::{self, LockedRoster};
use crate::SegmentError;
use crate::segment::header::{self, Geometry};
use crate::segment::kind::{Kind, LINE, ObjectLayout, Spec};
use crate::segment::segment::Segment;
use crate::sys::process_id::ProcessId;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::{Mutex, MutexGuard};

/// Largest size of a block. Larger objects get a segment of their own.
pub(crate) const MAX_BLOCK_BYTES: usize = 64 << 10;
const MIN_BYTES: usize = 256 << 10;
const MAX_BYTES: usize = 64 << 20;
const CLAIMS: usize = 2048;
/// Flag in `handles`: a message has carried the block, so other processes may hold it.
const SHARED: u32 = 1 << 31;

pub(crate) struct Arena {
    pub(crate) segment: Segment,
    handles: Box<[AtomicU32]>,
    local: Mutex<LocalClaims>,
}

/// This process's claims in an arena.
#[derive(Default)]
struct LocalClaims {
    /// Claim of this process by group.
    claims: IdMap<u32, u32>,
    /// Number of blocks with handles.
    live: usize,
    /// Chunk in which free blocks were found last.
    hint: usize,
}

impl std::fmt::Debug for Arena {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Arena").field("segment", &self.segment).finish()
    }
}

/// Returns the block size for an object: 1, 2, 3, 4, 6, 8, 12, .. lines.
pub(crate) fn size_class(bytes: usize) -> Option<usize> {
    let lines = bytes.max(1).div_ceil(LINE);
    let above = lines.next_power_of_two();
    let between = above / 4 * 3;
    let class = LINE * if lines <= between && above >= 4 { between } else { above };
    (class <= MAX_BLOCK_BYTES).then_some(class)
}

impl Arena {
    /// Creates an arena. `existing` is the size of the arenas that the class has already, which is doubled.
    pub(crate) fn create(class: usize, existing: usize) -> Result<Self, SegmentError> {
        let claims = CLAIMS * 32 + header::CLAIMS_AT;
        let available = existing.clamp(MIN_BYTES, MAX_BYTES).max(claims + class * 4) - claims;
        let blocks = available / (class + 4);
        let geometry = Geometry::new(CLAIMS, blocks, class, LINE).ok_or(SegmentError::TooLarge)?;
        let spec =
            Spec { kind: Kind::Arena as u32, item_size: class as u32, item_align: LINE as u32, type_hash: 0, count: 0 };
        let segment = Segment::anonymous(geometry, &spec, &ObjectLayout { locks: 0, bytes: class })?;
        Ok(Arena::of(segment))
    }

    /// Wraps a segment that was created, or received from a peer.
    pub(crate) fn of(segment: Segment) -> Self {
        // `calloc` returns untouched zero pages, so a large arena of which this process holds one block stays cheap.
        let handles = bytemuck::allocation::zeroed_slice_box(segment.geometry.blocks);
        Arena { segment, handles, local: Mutex::default() }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.segment.geometry.size
    }

    pub(crate) fn class(&self) -> usize {
        self.segment.geometry.block_size
    }

    fn local(&self) -> MutexGuard<'_, LocalClaims> {
        crate::error::locked(&self.local)
    }

    pub(crate) fn live(&self) -> usize {
        self.local().live
    }

    /// Takes some free blocks for this process, at most one group. Returns none if there are none.
    pub(crate) fn take_blocks(&self) -> Result<Vec<u32>, SegmentError> {
        let roster = self.segment.roster().lock()?;
        let mut local = self.local();
        let mut found = self.find_free(&roster, local.hint);
        if found.is_none() && roster.reap_dead() {
            found = self.find_free(&roster, 0);
        }
        let Some((group, free)) = found else { return Ok(Vec::new()) };
        local.hint = group;
        let Some(claim) = local.claim(&roster, group as u32) else { return Ok(Vec::new()) };
        claim.held.fetch_or(free, SeqCst); // roster-R2
        Ok((0..64).filter(|bit| free >> bit & 1 == 1).map(|bit| (group * 64 + bit) as u32).collect())
    }

    /// Finds a group with free blocks (roster-R1). Returns it with a bit mask of them.
    fn find_free(&self, roster: &LockedRoster<'_>, hint: usize) -> Option<(usize, u64)> {
        let blocks = self.segment.geometry.blocks;
        let groups = blocks.div_ceil(64);
        let held = roster.held_by_any_process(groups);
        let in_flight = self.segment.in_flight();
        (0..groups).map(|i| (hint + i) % groups).find_map(|group| {
            let within =
                if group + 1 == groups && !blocks.is_multiple_of(64) { (1 << (blocks % 64)) - 1 } else { u64::MAX };
            let mut free = !held[group] & within;
            for bit in (0..64).filter(|bit| free >> bit & 1 == 1).collect::<Vec<_>>() {
                let block = group * 64 + bit;
                if in_flight[block].load(SeqCst) != 0 || self.segment.lock(block).is_held() {
                    free &= !(1 << bit);
                }
            }
            (free != 0).then_some((group, free))
        })
    }

    /// Gives back a block that this process held without a handle.
    pub(crate) fn give_back(&self, block: u32) {
        let local = self.local();
        if let Some(claim) = local.claims.get(&(block / 64)).and_then(|claim| self.segment.roster().claim(*claim)) {
            claim.held.fetch_and(!(1 << (block % 64)), SeqCst);
        }
    }

    /// Adds the first handle to a fresh block of this process. Under the allocator's mutex (arena-A1).
    pub(crate) fn first_handle(&self, block: u32, kind: u32, bytes: usize) {
        self.local().live += 1;
        self.handles[block as usize].store(1, Relaxed);
        self.segment.lock(block as usize).reset(kind);
        self.zero_data(block, bytes);
    }

    #[allow(unsafe_code)] // memory that no other process has yet
    fn zero_data(&self, block: u32, bytes: usize) {
        let head = size_of::<crate::sync::RawLock>();
        let bytes = bytes.min(self.class());
        // SAFETY: the block belongs to this process alone and has the size of its class; the lock at its start stays
        // (arena-A2).
        unsafe { self.segment.block(block as usize).add(head).write_bytes(0, bytes - head) };
    }

    /// Adds a handle to a block that has one.
    #[inline]
    pub(crate) fn add_handle(&self, block: u32) {
        self.handles[block as usize].fetch_add(1, Relaxed);
    }

    /// Returns the number of this process's handles on a block.
    pub(crate) fn handles(&self, block: u32) -> usize {
        (self.handles[block as usize].load(SeqCst) & !SHARED) as usize
    }

    /// Returns whether a message carries a handle on the block.
    pub(crate) fn is_in_flight(&self, block: u32) -> bool {
        self.segment.in_flight()[block as usize].load(SeqCst) != 0
    }

    /// Drops a handle and returns true, unless it is the last. The last one needs the allocator's mutex and
    /// [`Arena::drop_last_handle`].
    #[inline]
    pub(crate) fn drop_handle(&self, block: u32) -> bool {
        let handles = &self.handles[block as usize];
        handles.fetch_update(SeqCst, Relaxed, |count| (count & !SHARED > 1).then(|| count - 1)).is_ok()
    }

    /// Drops the last handle of this process. Under the allocator's mutex. Returns whether the block can be used again
    /// at once. Calls `notify` if another process holds the block.
    pub(crate) fn drop_last_handle(&self, block: u32, locks: usize, notify: &dyn Fn()) -> bool {
        if self.segment.has_live_guard(block as usize, locks) {
            return false; // arena-A3: this handle is never given back
        }
        let count = self.handles[block as usize].fetch_sub(1, SeqCst) - 1;
        if count & !SHARED != 0 {
            return false;
        }
        self.handles[block as usize].store(0, SeqCst);
        self.local().live -= 1;
        let shared = count & SHARED != 0;
        if shared {
            // While the roster is locked, no process can create another object in the block.
            let roster = self.segment.roster().lock();
            self.give_back(block);
            if roster.is_ok_and(|roster| roster.other(block).is_some()) {
                notify();
            }
        }
        !shared
    }

    /// Counts a handle that a message takes along.
    pub(crate) fn export(&self, block: u32) -> Result<(), SegmentError> {
        let _roster = self.segment.roster().lock()?;
        self.handles[block as usize].fetch_or(SHARED, SeqCst);
        if let Some(in_flight) = self.segment.in_flight().get(block as usize) {
            in_flight.fetch_add(1, SeqCst);
        }
        Ok(())
    }

    /// Uncounts a handle whose message released it or was lost.
    pub(crate) fn release(&self, block: u32) {
        if let Some(in_flight) = self.segment.in_flight().get(block as usize) {
            let _ = in_flight.fetch_update(SeqCst, SeqCst, |count| count.checked_sub(1));
        }
    }

    /// Takes a handle out of a message. The caller ends the handle's flight afterwards. Under the allocator's mutex.
    pub(crate) fn import(&self, block: u32) -> Result<(), SegmentError> {
        let handles = self.handles.get(block as usize).ok_or(SegmentError::NotASegment)?;
        let roster = self.segment.roster().lock()?;
        let mut local = self.local();
        if handles.load(SeqCst) & !SHARED == 0 {
            let claim = local.claim(&roster, block / 64).ok_or(SegmentError::NoSpace)?;
            claim.held.fetch_or(1 << (block % 64), SeqCst);
            local.live += 1;
        }
        handles.fetch_add(1, SeqCst);
        handles.fetch_or(SHARED, SeqCst);
        Ok(())
    }

    /// Returns whether a message still needs this process's mapping of the arena.
    pub(crate) fn has_in_flight(&self) -> bool {
        self.segment.in_flight().iter().any(|in_flight| in_flight.load(SeqCst) != 0)
    }

    /// Gives up all claims of this process.
    pub(crate) fn release_claims(&self) {
        for (_, claim) in self.local().claims.drain() {
            self.segment.roster().drop_claim(claim);
        }
    }

    /// Before a fork: adds claims for the child on the blocks that have handles. Returns (group, claim) of each.
    pub(crate) fn prepare_child(&self) -> Vec<(u32, u32)> {
        let Ok(roster) = self.segment.roster().lock() else { return Vec::new() };
        let groups: Vec<u32> = self.local().claims.keys().copied().collect();
        let claim_for = |group: u32| {
            let from = group as usize * 64;
            let held = (0..64)
                .filter(|bit| self.handles.get(from + bit).is_some_and(|count| count.load(SeqCst) & !SHARED != 0))
                .fold(0, |held, bit| held | 1 << bit);
            if held == 0 { None } else { Some((group, roster.add_claim_for_child(group, held, 0)?)) }
        };
        groups.into_iter().filter_map(claim_for).collect()
    }

    /// In the child of a fork: takes these claims over, and forgets the parent's.
    pub(crate) fn become_child(&self, claims: &[(u32, u32)]) {
        let roster = self.segment.roster();
        let me = ProcessId::current().tag();
        claims.iter().filter_map(|(_, claim)| roster.claim(*claim)).for_each(|claim| claim.take_over(me));
        self.local().claims = claims.iter().copied().collect();
        for handles in self.handles.iter().filter(|handles| handles.load(SeqCst) != 0) {
            handles.fetch_or(SHARED, SeqCst); // the parent holds it too
        }
    }

    /// After a fork, in the parent: the child holds all blocks that have handles.
    pub(crate) fn mark_all_shared(&self) {
        for handles in self.handles.iter().filter(|handles| handles.load(SeqCst) != 0) {
            handles.fetch_or(SHARED, SeqCst);
        }
    }
}

impl LocalClaims {
    /// Returns this process's claim on a group, after adding it if there is none.
    fn claim<'a>(&mut self, roster: &'a LockedRoster<'_>, group: u32) -> Option<&'a roster::Claim> {
        let index = match self.claims.get(&group) {
            Some(index) => *index,
            None => {
                let index = roster.add_claim(group)?;
                self.claims.insert(group, index);
                index
            }
        };
        roster.claim(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_waste_at_most_a_half() {
        assert_eq!(
            [1, 64, 65, 128, 129, 193, 257, 385].map(|n| size_class(n).unwrap()),
            [64, 64, 128, 128, 192, 256, 384, 512]
        );
        assert_eq!((size_class(MAX_BLOCK_BYTES), size_class(MAX_BLOCK_BYTES + 1)), (Some(MAX_BLOCK_BYTES), None));
    }
}
