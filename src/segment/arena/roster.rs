//! Roster of a segment: which process holds which blocks.
//!
//! # Layout
//! A *claim* belongs to one process and one group of 64 blocks:
//! ```text
//! offset 0   owner   tag of the process, 0 = free
//!        8   group   number of the group
//!       12   fork    1 while a fork passes the claim to the child
//!       16   held    bit i: the process has a handle on block 64 * group + i, or keeps the block for its next object
//!       24   parts   bit i: the process has parts of the array in that block
//! ```
//! A process that holds one block needs one claim. A process that holds all blocks needs one per group.
//!
//! # Protocol
//! A process needs the roster's lock to add a claim, to take blocks that no process has, and to take over a block from
//! a message. It clears bits without the lock.
//!
//! # Invariants
//! * roster-R1: a block is free if no claim of a living process holds it, no message carries it, and no guard uses it.
//! * roster-R2: a bit in `held` is set before a handle of that process exists, and cleared after the last one is
//!   dropped.
//! * roster-R3: `owner` is stored last when a claim is added. Storing 0 to `owner` gives up all bits of the claim at
//!   once.
//!
//! # If a process dies here
//! The first process that notices frees each claim of the dead process with one store (`reap_dead`). There is nothing
//! to repair, and freeing a claim twice is harmless. After a fork, both parent and child write the child's tag into the
//! child's claims, so one of them may be killed. If both are killed before either has written, the claims stay until
//! the arena ends, because no process knows whether the child is alive.

use crate::SegmentError;
use crate::segment::header::CLAIM_BYTES;
use crate::segment::table_lock::TableGuard;
use crate::sync::{RawLock, Timeout};
use crate::sys::process_id::{self, ProcessId};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicU32, AtomicU64};

#[repr(C)]
pub(crate) struct Claim {
    owner: AtomicU64,
    group: AtomicU32,
    fork: AtomicU32,
    pub(crate) held: AtomicU64,
    pub(crate) parts: AtomicU64,
}

const _: () = assert!(size_of::<Claim>() == CLAIM_BYTES);

#[repr(C)]
pub(crate) struct RosterHead {
    lock: RawLock,
    /// Number of claims that were ever used.
    used: AtomicU32,
}

/// Claims of a segment.
#[derive(Clone, Copy)]
pub(crate) struct Roster<'a> {
    head: &'a RosterHead,
    claims: &'a [Claim],
}

/// Roster with its lock held.
pub(crate) struct LockedRoster<'a> {
    roster: Roster<'a>,
    _lock: TableGuard<'a>,
}

impl<'a> Roster<'a> {
    pub(crate) fn new(head: &'a RosterHead, claims: &'a [Claim]) -> Self {
        Roster { head, claims }
    }

    pub(crate) fn lock(self) -> Result<LockedRoster<'a>, SegmentError> {
        let lock = TableGuard::acquire(&self.head.lock, Timeout::Never)?;
        Ok(LockedRoster { roster: self, _lock: lock })
    }

    pub(crate) fn claim(&self, index: u32) -> Option<&'a Claim> {
        self.claims.get(index as usize)
    }

    fn used(&self) -> &'a [Claim] {
        &self.claims[..self.claims.len().min(self.head.used.load(SeqCst) as usize)]
    }

    /// Gives up a claim of this process with all its bits.
    pub(crate) fn drop_claim(&self, index: u32) {
        if let Some(claim) = self.claim(index) {
            claim.owner.store(0, SeqCst);
        }
    }
}

impl<'a> LockedRoster<'a> {
    pub(crate) fn claim(&self, index: u32) -> Option<&'a Claim> {
        self.roster.claim(index)
    }

    /// Adds a claim of this process. Returns `None` if living processes have all of them.
    pub(crate) fn add_claim(&self, group: u32) -> Option<u32> {
        self.add_claim_for(group, ProcessId::current().tag(), 0, 0, 0)
    }

    /// Adds a claim that the child of a fork takes over with [`Claim::take_over`].
    pub(crate) fn add_claim_for_child(&self, group: u32, held: u64, parts: u64) -> Option<u32> {
        self.add_claim_for(group, ProcessId::current().tag(), 1, held, parts)
    }

    fn add_claim_for(&self, group: u32, owner: u64, fork: u32, held: u64, parts: u64) -> Option<u32> {
        let free = |claims: &[Claim]| claims.iter().position(|claim| claim.owner.load(SeqCst) == 0);
        let roster = &self.roster;
        let index = free(roster.used()).or_else(|| {
            let next = roster.head.used.load(SeqCst) as usize;
            let next = (next < roster.claims.len()).then_some(next).or_else(|| {
                self.reap_dead();
                free(roster.used())
            })?;
            roster.head.used.fetch_max(next as u32 + 1, SeqCst);
            Some(next)
        })?;
        let claim = &roster.claims[index];
        claim.group.store(group, SeqCst);
        claim.fork.store(fork, SeqCst);
        claim.held.store(held, SeqCst);
        claim.parts.store(parts, SeqCst);
        claim.owner.store(owner, SeqCst);
        Some(index as u32)
    }

    /// After a fork, in the parent: sets the owner to the child, or frees the claim if the child has ended, unless the
    /// child was faster. The lock keeps another process from reusing the claim in the meantime.
    pub(crate) fn name_child(&self, index: u32, child: Option<u64>) {
        let Some(claim) = self.claim(index) else { return };
        if claim.owner.load(SeqCst) == ProcessId::current().tag() && claim.fork.load(SeqCst) == 1 {
            claim.take_over(child.unwrap_or(0));
        }
    }

    /// Frees the claims of processes that have ended. Returns whether there were any.
    pub(crate) fn reap_dead(&self) -> bool {
        let mut gone = Vec::new();
        let mut alive = vec![ProcessId::current().tag(), 0];
        for claim in self.roster.used() {
            let owner = claim.owner.load(SeqCst);
            if alive.contains(&owner) || claim.fork.load(SeqCst) != 0 {
                continue;
            }
            if gone.contains(&owner) || !process_id::tag_is_alive(owner) {
                gone.push(owner);
                claim.owner.store(0, SeqCst);
            } else {
                alive.push(owner);
            }
        }
        !gone.is_empty()
    }

    /// Returns a bit mask of the held blocks for each group.
    pub(crate) fn held_by_any_process(&self, groups: usize) -> Vec<u64> {
        let mut held = vec![0; groups];
        for claim in self.roster.used() {
            if let Some(held) = held.get_mut(claim.group.load(SeqCst) as usize)
                && claim.owner.load(SeqCst) != 0
            {
                *held |= claim.held.load(SeqCst) | claim.parts.load(SeqCst);
            }
        }
        held
    }

    /// Returns the tag of another living process that holds the block or parts of it; 0 if its tag is not known yet.
    pub(crate) fn other(&self, block: u32) -> Option<u64> {
        self.others(block).next()
    }

    /// Returns the tags of all other living processes that hold the block or parts of it; 0 for a tag not known yet.
    pub(crate) fn others(&self, block: u32) -> impl Iterator<Item = u64> {
        let (group, bit) = (block / 64, 1 << (block % 64));
        let me = ProcessId::current().tag();
        self.roster.used().iter().filter_map(move |claim| {
            let owner = claim.owner.load(SeqCst);
            let uses = (claim.held.load(SeqCst) | claim.parts.load(SeqCst)) & bit != 0;
            if owner == 0 || claim.group.load(SeqCst) != group || !uses {
                return None;
            }
            match claim.fork.load(SeqCst) {
                0 => (owner != me && process_id::tag_is_alive(owner)).then_some(owner),
                _ => Some(0),
            }
        })
    }

    /// Returns whether a living process has parts of the array in this block.
    pub(crate) fn has_parts(&self, block: u32) -> bool {
        let (group, bit) = (block / 64, 1 << (block % 64));
        let me = ProcessId::current().tag();
        self.roster.used().iter().any(|claim| {
            let owner = claim.owner.load(SeqCst);
            owner != 0
                && claim.group.load(SeqCst) == group
                && claim.parts.load(SeqCst) & bit != 0
                && (owner == me || claim.fork.load(SeqCst) != 0 || process_id::tag_is_alive(owner))
        })
    }
}

impl Claim {
    /// After a fork, in child and parent: completes the claim that the parent prepared.
    pub(crate) fn take_over(&self, child: u64) {
        self.owner.store(child, SeqCst);
        self.fork.store(0, SeqCst);
    }
}
