//! Which process holds which blocks of a segment.
//!
//! # Layout
//! A *claim* belongs to one process and one chunk of 64 blocks:
//! ```text
//! offset 0   owner   the process's tag, 0 = nobody's
//!        8   chunk   which 64 blocks
//!       12   fork    1 while a fork hands the claim to the child
//!       16   held    bit i: the process has a handle on block 64 * chunk + i, or keeps it for its next object
//!       24   parts   bit i: the process has parts of the array in that block
//! ```
//! A process that holds one block takes one claim; one that holds all takes one per chunk.
//!
//! # Protocol
//! Under the roster's lock: to claim a claim, to claim blocks that nobody has, to take a block over from a message. Bits
//! are cleared without it.
//!
//! # Invariants
//! * R1: a block is free when no claim of a living process holds it, no message carries it, and no guard is on it.
//! * R2: a bit of `held` is set before a handle of that process exists, and cleared after its last one went.
//! * R3: `owner` is stored last when a claim is claimed; `owner = 0` gives up all its bits at once.
//!
//! # If a process dies here
//! Its claims go as a whole, by one store each, whoever sees it first (`reap_dead`): nothing to repair, and twice is as good
//! as once. After a fork both sides write the child's name into the claims, so that it does not matter which of the two is
//! killed. Only if both are before either has, the claims stay until the arena ends: nobody knows whether the child lives.

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
    chunk: AtomicU32,
    fork: AtomicU32,
    pub(crate) held: AtomicU64,
    pub(crate) parts: AtomicU64,
}

const _: () = assert!(size_of::<Claim>() == CLAIM_BYTES);

#[repr(C)]
pub(crate) struct RosterHead {
    lock: RawLock,
    /// No claim from here on was ever used.
    used: AtomicU32,
}

/// The claims of a segment.
#[derive(Clone, Copy)]
pub(crate) struct Roster<'a> {
    head: &'a RosterHead,
    claims: &'a [Claim],
}

/// The roster, under its lock.
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

    /// Gives up a claim of ours with all its bits.
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

    /// A fresh claim for this process; none when all are taken by the living.
    pub(crate) fn add_claim(&self, chunk: u32) -> Option<u32> {
        self.add_claim_for(chunk, ProcessId::current().tag(), 0, 0, 0)
    }

    /// A claim that a fork child will take over with [`Claim::take_over`].
    pub(crate) fn add_claim_for_child(&self, chunk: u32, held: u64, parts: u64) -> Option<u32> {
        self.add_claim_for(chunk, ProcessId::current().tag(), 1, held, parts)
    }

    fn add_claim_for(&self, chunk: u32, owner: u64, fork: u32, held: u64, parts: u64) -> Option<u32> {
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
        claim.chunk.store(chunk, SeqCst);
        claim.fork.store(fork, SeqCst);
        claim.held.store(held, SeqCst);
        claim.parts.store(parts, SeqCst);
        claim.owner.store(owner, SeqCst);
        Some(index as u32)
    }

    /// In the parent, after a fork: names the child, or nobody if it has ended, unless the child was faster. Under the lock,
    /// so that the claim has not got to somebody else since.
    pub(crate) fn name_child(&self, index: u32, child: Option<u64>) {
        let Some(claim) = self.claim(index) else { return };
        if claim.owner.load(SeqCst) == ProcessId::current().tag() && claim.fork.load(SeqCst) == 1 {
            claim.take_over(child.unwrap_or(0));
        }
    }

    /// Gives up the claims of processes that are gone. True if there were any.
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

    /// For each chunk, the blocks that somebody holds.
    pub(crate) fn held_by_anybody(&self, chunks: usize) -> Vec<u64> {
        let mut held = vec![0; chunks];
        for claim in self.roster.used() {
            if let Some(held) = held.get_mut(claim.chunk.load(SeqCst) as usize)
                && claim.owner.load(SeqCst) != 0
            {
                *held |= claim.held.load(SeqCst) | claim.parts.load(SeqCst);
            }
        }
        held
    }

    /// Another living process that holds the block, or has parts of what is in it; 0 for one whose name is not known yet.
    pub(crate) fn other(&self, block: u32) -> Option<u64> {
        self.others(block).next()
    }

    /// All of them.
    pub(crate) fn others(&self, block: u32) -> impl Iterator<Item = u64> {
        let (chunk, bit) = (block / 64, 1 << (block % 64));
        let me = ProcessId::current().tag();
        self.roster.used().iter().filter_map(move |claim| {
            let owner = claim.owner.load(SeqCst);
            let uses = (claim.held.load(SeqCst) | claim.parts.load(SeqCst)) & bit != 0;
            if owner == 0 || claim.chunk.load(SeqCst) != chunk || !uses {
                return None;
            }
            match claim.fork.load(SeqCst) {
                0 => (owner != me && process_id::tag_is_alive(owner)).then_some(owner),
                _ => Some(0),
            }
        })
    }

    /// Whether a living process has parts of the array in this block.
    pub(crate) fn has_parts(&self, block: u32) -> bool {
        let (chunk, bit) = (block / 64, 1 << (block % 64));
        let me = ProcessId::current().tag();
        self.roster.used().iter().any(|claim| {
            let owner = claim.owner.load(SeqCst);
            owner != 0
                && claim.chunk.load(SeqCst) == chunk
                && claim.parts.load(SeqCst) & bit != 0
                && (owner == me || claim.fork.load(SeqCst) != 0 || process_id::tag_is_alive(owner))
        })
    }
}

impl Claim {
    /// After a fork, in the child and in the parent: what the parent prepared is the child's.
    pub(crate) fn take_over(&self, child: u64) {
        self.owner.store(child, SeqCst);
        self.fork.store(0, SeqCst);
    }
}
