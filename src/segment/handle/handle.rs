//! A handle on an object in shared memory: an `Arc` that works between processes.
//!
//! Clones in one process are counted in private memory. The roster of the segment says which processes have handles. A
//! handle can be sent in a message of this crate (`transfer`).

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
    /// Roles of this handle. 0 unless the object counts holders and has a segment of its own.
    pub(super) roles: Roles,
}

// SAFETY: `object` points to memory that all threads of all processes may use, and that `location` keeps mapped. Counts
// change through atomics or under the allocator's mutex.
#[allow(unsafe_code)]
unsafe impl Send for Handle {}
// SAFETY: all methods that take `&self` change counts through atomics or under the allocator's mutex.
#[allow(unsafe_code)]
unsafe impl Sync for Handle {}

impl Handle {
    /// Creates an anonymous object. Its bytes are zero except for its lock.
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

    /// Makes a handle that is counted already.
    pub(crate) fn at(location: Location, locks: usize) -> Self {
        let object = location.segment().block(location.block() as usize);
        Handle { object, locks, location, holders: None, roles: 0 }
    }

    /// Makes the handle count the object's holders; see `Object::HOLDERS`. In a segment of
    /// its own, it does so in these roles, which are counted already.
    pub(super) fn counted(mut self, holders: Option<Holders>, roles: Roles) -> Self {
        self.holders = holders;
        self.roles = if self.location.is_single() && holders.is_some() { roles } else { 0 };
        self
    }

    /// Returns another handle on the object, in these roles.
    pub(crate) fn in_roles(&self, roles: Roles) -> Self {
        self.notify_add();
        self.add_roles(roles);
        Handle { object: self.object, locks: self.locks, location: self.location.clone(), holders: self.holders, roles }
    }

    /// Returns a handle that keeps the object's memory but does not count as a holder: for what a handle lent out.
    pub(crate) fn uncounted(&self) -> Self {
        match self.location {
            Location::Single(_) => Handle { location: self.location.clone(), holders: None, roles: 0, ..*self },
            Location::Block { .. } => self.clone(),
        }
    }

    /// Counts these roles. This cannot fail: the process has a handle in them already, so only a number changes.
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

    /// Returns the holders of the object in this role; 0 if the object has only one role. For objects with [`Holders`].
    pub(crate) fn holder_count(&self, role: u32) -> HolderCount {
        allocator::lock().holder_count(&self.location, role)
    }

    /// Returns the holders of the object in this role, for a waiter. If a holder is unknown, handles in messages to
    /// processes that have ended are released before.
    pub(crate) fn fresh_holder_count(&self, role: u32) -> HolderCount {
        let count = self.holder_count(role);
        if count.elsewhere != Some(UNKNOWN) {
            return count;
        }
        receiver_watch::watch_receivers();
        self.holder_count(role)
    }

    /// Returns the tags of all other processes that hold the object.
    pub(crate) fn others(&self, role: u32) -> Vec<u64> {
        let block = self.location.block() + role;
        self.location.segment().roster().lock().map_or(Vec::new(), |roster| roster.others(block).collect())
    }

    /// Returns where the object is.
    pub(crate) fn location(&self) -> &Location {
        &self.location
    }

    /// Makes a handle on a segment of one object that was just created or opened.
    pub(crate) fn single(segment: Segment, locks: usize) -> Self {
        let segment = allocator::lock().adopt_single(segment);
        Handle::at(Location::Single(segment), locks)
    }

    /// Returns the address of the object: its lock, more locks, data.
    #[inline]
    pub(crate) fn object(&self) -> NonNull<u8> {
        self.object
    }

    /// Returns the size of the object's block.
    pub(crate) fn block_size(&self) -> usize {
        self.location.segment().geometry.block_size
    }

    /// Counts a part of this array in this process.
    pub(crate) fn add_part(&self) -> Result<(), SegmentError> {
        allocator::lock().add_part(&self.location, 0)
    }

    pub(crate) fn drop_part(&self) {
        allocator::lock().drop_part(&self.location, 0);
    }

    /// Drops these roles. Returns the number of handles left in this process, in the role that has the fewest.
    pub(super) fn drop_roles(&self, roles: Roles) -> usize {
        let mut allocator = allocator::lock();
        each_role(roles).map(|role| allocator.drop_part(&self.location, role)).min().unwrap_or(usize::MAX)
    }

    /// Returns whether any living process has parts of this array.
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
            // Under the allocator's mutex, no process reuses the block for another object before the other holders are
            // notified.
            Location::Block { arena, block } => allocator::lock().drop_handle(arena, *block, self.locks, &notify),
            Location::Single(_) if self.holders.is_some() => notify(self.drop_roles(self.roles)),
            Location::Single(_) => {}
        }
    }
}
