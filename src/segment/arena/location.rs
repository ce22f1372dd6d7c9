//! Location of an object: a block of an arena, or a segment of its own.

use super::arena::Arena;
use crate::SegmentError;
use crate::segment::handle::roles::{Roles, each_role};
use crate::segment::kind::Kind;
use crate::segment::segment::Segment;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::SeqCst;

/// Location of an object, which keeps its segment mapped.
#[derive(Clone, Debug)]
pub(crate) enum Location {
    Block { arena: Arc<Arena>, block: u32 },
    Single(Arc<Segment>),
}

impl Location {
    /// Wraps a segment that is attached for a short time, without registering it with the allocator.
    pub(crate) fn detached(segment: Segment) -> Self {
        match segment.header.spec().kind == Kind::Arena as u32 {
            true => Location::Block { arena: Arc::new(Arena::of(segment)), block: 0 },
            false => Location::Single(Arc::new(segment)),
        }
    }

    /// Returns the location of another block of this segment, if `id` is this segment and it has the block.
    pub(crate) fn sibling(&self, id: u128, block: u32) -> Option<Self> {
        let segment = self.segment();
        let fits = segment.header.id() == id && (block as usize) < segment.geometry.blocks;
        fits.then(|| match self {
            Location::Block { arena, .. } => Location::Block { arena: arena.clone(), block },
            Location::Single(segment) => Location::Single(segment.clone()),
        })
    }

    pub(crate) fn segment(&self) -> &Segment {
        match self {
            Location::Block { arena, .. } => &arena.segment,
            Location::Single(segment) => segment,
        }
    }

    pub(crate) fn block(&self) -> u32 {
        match self {
            Location::Block { block, .. } => *block,
            Location::Single(_) => 0,
        }
    }

    /// Counts a handle that a message takes along in these roles; a part of an array has role 0.
    pub(crate) fn export(&self, roles: Roles) -> Result<(), SegmentError> {
        if let Location::Block { arena, block } = self {
            arena.export(*block)?;
        }
        self.parts_in_flight(roles).for_each(|count| {
            count.fetch_add(1, SeqCst);
        });
        Ok(())
    }

    fn parts_in_flight(&self, roles: Roles) -> impl Iterator<Item = &AtomicU32> {
        each_role(roles).filter_map(|role| self.segment().parts_in_flight(self.block() as usize, role))
    }

    /// Uncounts a handle whose message released it or was lost.
    pub(crate) fn release(&self, roles: Roles) {
        self.parts_in_flight(roles).for_each(|count| {
            let _ = count.fetch_update(SeqCst, SeqCst, |count| count.checked_sub(1));
        });
        if let Location::Block { arena, block } = self {
            arena.release(*block);
        }
    }

    pub(crate) fn is_single(&self) -> bool {
        matches!(self, Location::Single(_))
    }

    /// Returns the key for counting parts or holders. An array's parts are counted by its block. A single has only
    /// block 0, so its roles take the numbers of blocks.
    pub(super) fn key(&self, role: u32) -> (u128, u32) {
        (self.segment().header.id(), self.block() + role)
    }
}
