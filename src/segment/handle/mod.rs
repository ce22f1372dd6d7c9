//! A handle on an object in shared memory: an `Arc` for processes.
//!
//! Within a process, clones are counted privately; between processes, see `roster`. A handle travels in a message that
//! this library carries (`travel`).

pub(crate) mod unit_handle;

use super::arena::LARGEST_BLOCK;
use super::arena::allocator::{self, Location};
use super::header::Geometry;
use super::kind::{Kind, LINE, ObjectLayout, Spec};
use super::segment::Segment;
use super::transfer::{self, Ticket};
use crate::SegmentError;
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::ptr::NonNull;

/// Cells of a segment of its own, which count who has parts of an array, or who holds a ring.
fn cells_for(spec: &Spec, shape: &ObjectLayout) -> usize {
    match spec.kind {
        kind if kind == Kind::Array as u32 => 64 + 2 * shape.locks,
        _ if spec.has_holders() => 1024,
        _ => 0,
    }
}

/// What is done to an object that counts who holds it.
#[derive(Clone, Copy, Debug)]
pub struct Holders {
    /// There will be one more.
    pub(crate) more: fn(NonNull<u8>),
    /// Another process has come: wakes those who wait for somebody of whom they know nothing.
    pub(crate) came: fn(NonNull<u8>),
    /// Wakes those who want to know who is left.
    pub(crate) gone: fn(NonNull<u8>),
    /// Where a process has more handles left than this, nobody is the last who was not before.
    pub(crate) few: usize,
}

impl Holders {
    /// A handle went, and so many are left in this process.
    fn tell_gone(&self, left: usize, object: NonNull<u8>) {
        if left <= self.few {
            (self.gone)(object);
        }
    }
}

/// Roles in which a handle holds an object, one bit each: a queue has one, a pipe's ends have some of four.
pub(crate) type Roles = u32;

/// The numbers of the roles.
pub(super) fn each(roles: Roles) -> impl Iterator<Item = u32> {
    (0..Roles::BITS).filter(move |role| roles >> role & 1 == 1)
}

/// Who holds an object in some role.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HolderCount {
    /// So many handles of this process.
    pub(crate) here: usize,
    /// Another process, by its tag; or [`UNKNOWN`].
    pub(crate) elsewhere: Option<u64>,
}

/// In place of a tag: a message, or a process whose name is not known yet.
pub(crate) const UNKNOWN: u64 = 0;

#[derive(Debug)]
pub struct Handle {
    object: NonNull<u8>,
    locks: usize,
    place: Location,
    holders: Option<Holders>,
    /// Of a segment of its own with [`Holders`].
    roles: Roles,
}

// SAFETY: it stands for memory that any thread of any process may use, and is counted by atomics and a mutex.
#[allow(unsafe_code)]
unsafe impl Send for Handle {}
// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl Sync for Handle {}

/// What a handle is in a message.
#[derive(Serialize, Deserialize)]
struct Wire {
    ticket: Ticket,
    spec: Spec,
    roles: Roles,
}

impl Handle {
    /// A new anonymous object, all zeros but for its lock.
    pub(crate) fn new(spec: &Spec, shape: &ObjectLayout) -> Result<Self, SegmentError> {
        let in_block = shape.bytes <= LARGEST_BLOCK && spec.item_align as usize <= LINE && !spec.has_annex();
        if in_block && let Some((arena, block)) = allocator::lock().allocate(spec.kind, shape)? {
            return Ok(Handle::at(Location::Block { arena, block }, shape.locks));
        }
        let geometry = single_geometry(spec, shape)?;
        let segment = Segment::anonymous(geometry, spec, shape)?;
        segment.lock(0).reset(spec.kind);
        let segment = allocator::lock().adopt_single(segment);
        Ok(Handle::at(Location::Single(segment), shape.locks))
    }

    /// A handle whose count is taken already.
    pub(crate) fn at(place: Location, locks: usize) -> Self {
        let object = place.segment().block(place.block() as usize);
        Handle { object, locks, place, holders: None, roles: 0 }
    }

    /// From now on it counts who holds the object; see [`Object::HOLDERS`]. In a segment of its own, in these roles, which
    /// are counted already.
    fn counted(mut self, holders: Option<Holders>, roles: Roles) -> Self {
        self.holders = holders;
        self.roles = if self.place.is_single() && holders.is_some() { roles } else { 0 };
        self
    }

    /// Another handle on the same object, in these roles.
    pub(crate) fn in_roles(&self, roles: Roles) -> Self {
        self.has_more();
        self.add_roles(roles);
        Handle { object: self.object, locks: self.locks, place: self.place.clone(), holders: self.holders, roles }
    }

    /// Keeps the object's memory, and counts for nothing: for what a handle gave out.
    pub(crate) fn uncounted(&self) -> Self {
        match self.place {
            Location::Single(_) => Handle { place: self.place.clone(), holders: None, roles: 0, ..*self },
            Location::Block { .. } => self.clone(),
        }
    }

    /// This process has a handle in these roles already, or is the only one: no more than a number.
    fn add_roles(&self, roles: Roles) {
        let mut heap = allocator::lock();
        each(roles).for_each(|role| {
            let _ = heap.add_part(&self.place, role);
        });
    }

    pub(crate) fn roles(&self) -> Roles {
        self.roles
    }

    fn has_more(&self) {
        self.holders.into_iter().for_each(|holders| (holders.more)(self.object));
    }

    /// Who holds the object in this role, which is 0 where there is but one. For an object with a [`Holders`].
    pub(crate) fn census(&self, role: u32) -> HolderCount {
        allocator::lock().census(&self.place, role)
    }

    /// The same, where who waits wants to know: handles on their way to somebody who has ended are given up before.
    pub(crate) fn settled_census(&self, role: u32) -> HolderCount {
        let census = self.census(role);
        if census.elsewhere != Some(UNKNOWN) {
            return census;
        }
        transfer::look_out();
        self.census(role)
    }

    /// All other processes that hold it, as far as their names are known.
    pub(crate) fn others(&self, role: u32) -> Vec<u64> {
        let block = self.place.block() + role;
        self.place.segment().roster().lock().map_or(Vec::new(), |roster| roster.others(block).collect())
    }

    /// Where the object lives.
    pub(crate) fn place(&self) -> &Location {
        &self.place
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
    pub(crate) fn room(&self) -> usize {
        self.place.segment().geometry.block_size
    }

    /// A part of this array begins to live in this process.
    pub(crate) fn add_part(&self) -> Result<(), SegmentError> {
        allocator::lock().add_part(&self.place, 0)
    }

    pub(crate) fn drop_part(&self) {
        allocator::lock().drop_part(&self.place, 0);
    }

    /// Gives how many are left in the role that has the fewest.
    fn drop_roles(&self, roles: Roles) -> usize {
        let mut heap = allocator::lock();
        each(roles).map(|role| heap.drop_part(&self.place, role)).min().unwrap_or(usize::MAX)
    }

    /// Whether any living process has parts of this array.
    pub(crate) fn has_parts(&self) -> Result<bool, SegmentError> {
        let roster = self.place.segment().roster().lock().map_err(super::arena::refused)?;
        Ok(roster.has_parts(self.place.block()))
    }

    /// Writes the handle into the message that is being made.
    fn serialize<S: Serializer>(&self, spec: Spec, part: bool, serializer: S) -> Result<S::Ok, S::Error> {
        let roles = if part { 1 } else { self.roles };
        self.has_more();
        let ticket = transfer::depart(&self.place, roles).map_err(|error| S::Error::custom(transfer::refuse(error)))?;
        Wire { ticket, spec, roles: self.roles }.serialize(serializer)
    }

    /// Takes the place of an object out of the message that is being read, if it is what is wanted.
    fn arrive<H: Object>(wire: &Wire, part: bool) -> Result<Self, SegmentError> {
        let counts = |place: &Location| match H::HOLDERS {
            Some(_) if place.is_single() => wire.roles & H::ROLES,
            _ => Roles::from(part),
        };
        Ok(Handle::at(transfer::arrive(&wire.ticket, counts)?, 0).counted(H::HOLDERS, wire.roles & H::ROLES))
    }

    fn check<H: Object>(&mut self, wire: &Wire) -> Result<usize, SegmentError> {
        let wanted = H::spec(0)?;
        wanted.check(&wire.spec)?;
        // A segment of its own describes itself; what a block holds, only the message tells.
        let spec = match &self.place {
            Location::Block { .. } => wire.spec,
            Location::Single(segment) => Spec { type_hash: wanted.type_hash, ..segment.header.spec() },
        };
        wanted.check(&spec)?;
        let count = usize::try_from(spec.count).map_err(|_| SegmentError::TooLarge)?;
        let shape = H::shape(count).ok_or(SegmentError::TooLarge)?;
        let kind = self.place.segment().lock(self.place.block() as usize).kind();
        let has_roles = !wanted.has_holders() || !self.place.is_single() || H::accepts(self.roles);
        if shape.bytes > self.room() || kind != wanted.kind || !has_roles {
            return Err(SegmentError::WrongType);
        }
        self.locks = shape.locks;
        Ok(count)
    }
}

/// A public handle type: what it needs in memory, and how to get from a [`Handle`] to it.
pub trait Object: Sized {
    /// Whether its guards give references into shared memory.
    const IN_PLACE: bool;
    /// Objects that count their holders say here what is done then.
    const HOLDERS: Option<Holders> = None;
    /// The roles in which its handles may hold it.
    const ROLES: Roles = 1;
    /// Whether a handle in these roles is one of this type.
    fn accepts(roles: Roles) -> bool {
        roles == Self::ROLES
    }
    fn spec(count: usize) -> Result<Spec, SegmentError>;
    fn shape(count: usize) -> Option<ObjectLayout>;
    fn of(handle: Handle, count: usize) -> Self;
    fn handle(&self) -> &Handle;
    fn count(&self) -> usize;
}

/// A new anonymous object; `init` fills its data, which is zeros behind its locks.
pub(crate) fn create<H: Object>(count: usize, init: impl FnOnce(&H)) -> Result<H, SegmentError> {
    let shape = H::shape(count).ok_or(SegmentError::TooLarge)?;
    let mut handle = Handle::new(&H::spec(count)?, &shape)?;
    if H::HOLDERS.is_some() && handle.place.is_single() {
        each(H::ROLES).try_for_each(|role| allocator::lock().add_part(&handle.place, role))?;
        handle = handle.counted(H::HOLDERS, H::ROLES);
    }
    handle.holders = H::HOLDERS;
    let object = H::of(handle, count);
    init(&object);
    Ok(object)
}

pub(crate) fn serialize<H: Object, S: Serializer>(object: &H, part: bool, serializer: S) -> Result<S::Ok, S::Error> {
    let spec = H::spec(object.count()).map_err(S::Error::custom)?;
    object.handle().serialize(spec, part, serializer)
}

/// With `part`, the object is an array of which this process then has one more part.
pub(crate) fn deserialize<'de, H: Object, D: Deserializer<'de>>(part: bool, deserializer: D) -> Result<H, D::Error> {
    let wire = Wire::deserialize(deserializer)?;
    // The ticket is used up in any case: a handle of the wrong type is dropped like any other.
    let mut handle = Handle::arrive::<H>(&wire, part).map_err(|error| D::Error::custom(transfer::refuse(error)))?;
    match handle.check::<H>(&wire) {
        Ok(count) => {
            handle.holders.into_iter().for_each(|holders| (holders.came)(handle.object));
            Ok(H::of(handle, count))
        }
        Err(error) => {
            handle.drop_roles(if part { 1 } else { handle.roles });
            handle.roles = 0;
            handle.holders = None; // it is another kind of object, to which nobody says goodbye
            Err(D::Error::custom(transfer::refuse(error)))
        }
    }
}

/// What every handle type has: `Clone`, `Debug`, `Serialize`, `Deserialize`, with no bound on its parameter.
macro_rules! handle_type {
    ($name:ident $(<$($param:ident),+>)?) => {
        impl$(<$($param),+>)? Clone for $name$(<$($param),+>)? {
            /// One more reference to the same object.
            fn clone(&self) -> Self {
                use $crate::segment::Object;
                Object::of(self.handle().clone(), self.count())
            }
        }
        impl$(<$($param),+>)? std::fmt::Debug for $name$(<$($param),+>)? {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                use $crate::segment::Object;
                f.debug_struct(stringify!($name)).field("at", &self.handle().object()).finish_non_exhaustive()
            }
        }
        impl$(<$($param),+>)? serde::Serialize for $name$(<$($param),+>)? {
            fn serialize<Z: serde::Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
                $crate::segment::serialize(self, false, serializer)
            }
        }
        impl<'de $($(, $param)+)?> serde::Deserialize<'de> for $name$(<$($param),+>)? {
            fn deserialize<Z: serde::Deserializer<'de>>(deserializer: Z) -> Result<Self, Z::Error> {
                $crate::segment::deserialize(false, deserializer)
            }
        }
    };
}
pub(crate) use handle_type;

/// How a segment for one object is laid out.
pub(crate) fn single_geometry(spec: &Spec, shape: &ObjectLayout) -> Result<Geometry, SegmentError> {
    if spec.item_align > 4096 {
        return Err(SegmentError::Invalid("items aligned to more than a page".into()));
    }
    let cells = cells_for(spec, shape);
    let block = shape.bytes.checked_next_multiple_of(LINE).ok_or(SegmentError::TooLarge)?;
    Geometry::new(cells, 1, block, spec.item_align as usize).ok_or(SegmentError::TooLarge)
}

impl Clone for Handle {
    fn clone(&self) -> Self {
        self.has_more();
        if let Location::Block { arena, block } = &self.place {
            arena.add_handle(*block);
        } else {
            self.add_roles(self.roles);
        }
        Handle { place: self.place.clone(), ..*self }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let gone = |left| self.holders.into_iter().for_each(|holders| holders.tell_gone(left, self.object));
        match &self.place {
            Location::Block { arena, block } if self.holders.is_none() && arena.drop_handle(*block) => {}
            // Under the heap's mutex: before the others have heard of it, nobody makes another object of the block.
            Location::Block { arena, block } => allocator::lock().release(arena, *block, self.locks, &gone),
            Location::Single(_) if self.holders.is_some() => gone(self.drop_roles(self.roles)),
            Location::Single(_) => {}
        }
    }
}
