//! A handle on an object in shared memory: an `Arc` for processes.
//!
//! Within a process, clones are counted privately; between processes, see `roster`. A handle travels in a message that
//! this library carries (`travel`).

use super::roles::{HolderCount, Holders, Roles, UNKNOWN, each_role};
use crate::SegmentError;
use crate::segment::arena::allocator;
use crate::segment::arena::arena::MAX_BLOCK_BYTES;
use crate::segment::arena::location::Location;
use crate::segment::header::Geometry;
use crate::segment::kind::{LINE, ObjectLayout, Spec};
use crate::segment::segment::Segment;
use crate::segment::transfer::receiver_watch;
use std::ptr::NonNull;

#[derive(Debug)]
pub struct Handle {
    object: NonNull<u8>,
    pub(super) locks: usize,
    pub(super) location: Location,
    pub(super) holders: Option<Holders>,
    /// Of a segment of its own with [`Holders`].
    pub(super) roles: Roles,
}

// SAFETY: it stands for memory that any thread of any process may use, and is counted by atomics and a mutex.
#[allow(unsafe_code)]
unsafe impl Send for Handle {}
// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl Sync for Handle {}

impl Handle {
    /// A new anonymous object, all zeros but for its lock.
    pub(crate) fn new(spec: &Spec, layout: &ObjectLayout) -> Result<Self, SegmentError> {
        let in_block = layout.bytes <= MAX_BLOCK_BYTES && spec.item_align as usize <= LINE && !spec.grows();
        if in_block && let Some((arena, block)) = allocator::lock().allocate(spec.kind, layout)? {
            return Ok(Handle::at(Location::Block { arena, block }, layout.locks));
        }
        let geometry = Geometry::single(spec, layout)?;
        let segment = Segment::anonymous(geometry, spec, layout)?;
        segment.lock(0).reset(spec.kind);
        let segment = allocator::lock().adopt_single(segment);
        Ok(Handle::at(Location::Single(segment), layout.locks))
    }

    /// A handle whose count is taken already.
    pub(crate) fn at(location: Location, locks: usize) -> Self {
        let object = location.segment().block(location.block() as usize);
        Handle { object, locks, location, holders: None, roles: 0 }
    }

    /// From now on it counts who holds the object; see [`Object::HOLDERS`]. In a segment of its own, in these roles, which
    /// are counted already.
    pub(super) fn counted(mut self, holders: Option<Holders>, roles: Roles) -> Self {
        self.holders = holders;
        self.roles = if self.location.is_single() && holders.is_some() { roles } else { 0 };
        self
    }

    /// Another handle on the same object, in these roles.
    pub(crate) fn in_roles(&self, roles: Roles) -> Self {
        self.notify_add();
        self.add_roles(roles);
        Handle { object: self.object, locks: self.locks, location: self.location.clone(), holders: self.holders, roles }
    }

    /// Keeps the object's memory, and counts for nothing: for what a handle gave out.
    pub(crate) fn uncounted(&self) -> Self {
        match self.location {
            Location::Single(_) => Handle { location: self.location.clone(), holders: None, roles: 0, ..*self },
            Location::Block { .. } => self.clone(),
        }
    }

    /// This process has a handle in these roles already, or is the only one: no more than a number.
    fn add_roles(&self, roles: Roles) {
        let mut allocator = allocator::lock();
        each_role(roles).for_each(|role| {
            let _ = allocator.add_part(&self.location, role);
        });
    }

    pub(crate) fn roles(&self) -> Roles {
        self.roles
    }

    pub(super) fn notify_add(&self) {
        self.holders.into_iter().for_each(|holders| (holders.on_add)(self.object));
    }

    /// Who holds the object in this role, which is 0 where there is but one. For an object with a [`Holders`].
    pub(crate) fn holder_count(&self, role: u32) -> HolderCount {
        allocator::lock().holder_count(&self.location, role)
    }

    /// The same, where who waits wants to know: handles on their way to somebody who has ended are given up before.
    pub(crate) fn fresh_holder_count(&self, role: u32) -> HolderCount {
        let count = self.holder_count(role);
        if count.elsewhere != Some(UNKNOWN) {
            return count;
        }
        receiver_watch::watch_receivers();
        self.holder_count(role)
    }

    /// All other processes that hold it, as far as their names are known.
    pub(crate) fn others(&self, role: u32) -> Vec<u64> {
        let block = self.location.block() + role;
        self.location.segment().roster().lock().map_or(Vec::new(), |roster| roster.others(block).collect())
    }

    /// Where the object lives.
    pub(crate) fn location(&self) -> &Location {
        &self.location
    }

    /// A segment of one object that was just opened or made.
    pub(crate) fn single(segment: Segment, locks: usize) -> Self {
        let segment = allocator::lock().adopt_single(segment);
        Handle::at(Location::Single(segment), locks)
    }

    /// Where the object lies: lock, more locks, data.
    #[inline]
    pub(crate) fn object(&self) -> NonNull<u8> {
        self.object
    }

    /// How many bytes the object has.
    pub(crate) fn size(&self) -> usize {
        self.location.segment().geometry.block_size
    }

    /// A part of this array begins to live in this process.
    pub(crate) fn add_part(&self) -> Result<(), SegmentError> {
        allocator::lock().add_part(&self.location, 0)
    }

    pub(crate) fn drop_part(&self) {
        allocator::lock().drop_part(&self.location, 0);
    }

    /// Gives how many are left in the role that has the fewest.
    pub(super) fn drop_roles(&self, roles: Roles) -> usize {
        let mut allocator = allocator::lock();
        each_role(roles).map(|role| allocator.drop_part(&self.location, role)).min().unwrap_or(usize::MAX)
    }

    /// Whether any living process has parts of this array.
    pub(crate) fn has_parts(&self) -> Result<bool, SegmentError> {
        let roster = self.location.segment().roster().lock()?;
        Ok(roster.has_parts(self.location.block()))
    }
}

impl Clone for Handle {
    fn clone(&self) -> Self {
        self.notify_add();
        if let Location::Block { arena, block } = &self.location {
            arena.add_handle(*block);
        } else {
            self.add_roles(self.roles);
        }
        Handle { location: self.location.clone(), ..*self }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let notify = |left| self.holders.into_iter().for_each(|holders| holders.notify_release(left, self.object));
        match &self.location {
            Location::Block { arena, block } if self.holders.is_none() && arena.drop_handle(*block) => {}
            // Under the heap's mutex: before the others have heard of it, nobody makes another object of the block.
            Location::Block { arena, block } => allocator::lock().drop_handle(arena, *block, self.locks, &notify),
            Location::Single(_) if self.holders.is_some() => notify(self.drop_roles(self.roles)),
            Location::Single(_) => {}
        }
    }
}
