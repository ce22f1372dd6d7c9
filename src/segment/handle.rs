//! A handle on an object in shared memory: an `Arc` for processes.
//!
//! Within a process, clones are counted privately; between processes, see `roster`. A handle travels in a message that
//! this library carries (`travel`).

use super::arena::LARGEST_BLOCK;
use super::header::Geometry;
use super::heap::{self, Place};
use super::kind::{Kind, LINE, Shape, Spec};
use super::mapping::Segment;
use super::travel::{self, Ticket};
use crate::SegmentError;
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::ptr::NonNull;

/// Cells of a segment of its own, which count who has parts of an array, or who holds a ring.
fn cells_for(spec: &Spec, shape: &Shape) -> usize {
    match spec.kind {
        kind if kind == Kind::Array as u32 => 64 + 2 * shape.locks,
        kind if kind == Kind::SimpleQueue as u32 => 1024,
        _ => 0,
    }
}

/// What is done to an object that counts who holds it.
#[derive(Clone, Copy, Debug)]
pub struct Holders {
    /// There will be one more.
    pub(crate) more: fn(NonNull<u8>),
    /// There is one less, and maybe others: wakes who may be the last.
    pub(crate) fewer: fn(NonNull<u8>),
}

#[derive(Debug)]
pub struct Handle {
    object: NonNull<u8>,
    locks: usize,
    place: Place,
    holders: Option<Holders>,
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
}

impl Handle {
    /// A new anonymous object, all zeros but for its lock.
    pub(crate) fn new(spec: &Spec, shape: &Shape) -> Result<Self, SegmentError> {
        let in_block = shape.bytes <= LARGEST_BLOCK && spec.item_align as usize <= LINE;
        if in_block && let Some((arena, block)) = heap::lock().allocate(spec.kind, shape)? {
            return Ok(Handle::at(Place::Block { arena, block }, shape.locks));
        }
        let geometry = single_geometry(spec, shape)?;
        let segment = Segment::anonymous(geometry, spec, shape)?;
        segment.lock(0).reset(spec.kind);
        let segment = heap::lock().adopt_single(segment);
        Ok(Handle::at(Place::Single(segment), shape.locks))
    }

    /// A handle whose count is taken already.
    pub(crate) fn at(place: Place, locks: usize) -> Self {
        let object = place.segment().block(place.block() as usize);
        Handle { object, locks, place, holders: None }
    }

    /// From now on it counts who holds the object; see [`Object::HOLDERS`]. The count of a segment of its own is taken here,
    /// unless a message brought it.
    fn counted(mut self, holders: Option<Holders>, taken: bool) -> Result<Self, SegmentError> {
        if holders.is_some() && !taken && self.place.is_single() {
            self.add_part()?;
        }
        self.holders = holders;
        Ok(self)
    }

    fn has_more(&self) {
        self.holders.into_iter().for_each(|holders| (holders.more)(self.object));
    }

    /// Whether no other handle on the object exists, in this process or elsewhere, and none is on its way. For an object with
    /// a [`Holders`].
    pub(crate) fn is_last(&self) -> bool {
        heap::lock().is_last(&self.place)
    }

    /// A segment of one object that was just opened or made.
    pub(crate) fn single(segment: Segment, locks: usize) -> Self {
        let segment = heap::lock().adopt_single(segment);
        Handle::at(Place::Single(segment), locks)
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
        heap::lock().add_part(&self.place)
    }

    pub(crate) fn drop_part(&self) {
        heap::lock().drop_part(&self.place);
    }

    /// Whether any living process has parts of this array.
    pub(crate) fn has_parts(&self) -> Result<bool, SegmentError> {
        let roster = self.place.segment().roster().lock().map_err(super::arena::refused)?;
        Ok(roster.has_parts(self.place.block()))
    }

    /// Writes the handle into the message that is being made.
    fn serialize<S: Serializer>(&self, spec: Spec, part: bool, serializer: S) -> Result<S::Ok, S::Error> {
        let part = part || self.holders.is_some() && self.place.is_single();
        self.has_more();
        let ticket = travel::depart(&self.place, part).map_err(|error| S::Error::custom(travel::refuse(error)))?;
        Wire { ticket, spec }.serialize(serializer)
    }

    /// Takes the place of an object out of the message that is being read, if it is what is wanted.
    fn arrive<H: Object>(wire: &Wire, part: bool) -> Result<Self, SegmentError> {
        let part = |place: &Place| part || H::HOLDERS.is_some() && place.is_single();
        Handle::at(travel::arrive(&wire.ticket, part)?, 0).counted(H::HOLDERS, true)
    }

    fn check<H: Object>(&mut self, wire: &Wire) -> Result<usize, SegmentError> {
        let wanted = H::spec(0)?;
        wanted.check(&wire.spec)?;
        // A segment of its own describes itself; what a block holds, only the message tells.
        let spec = match &self.place {
            Place::Block { .. } => wire.spec,
            Place::Single(segment) => Spec { type_hash: wanted.type_hash, ..segment.header.spec() },
        };
        wanted.check(&spec)?;
        let count = usize::try_from(spec.count).map_err(|_| SegmentError::TooLarge)?;
        let shape = H::shape(count).ok_or(SegmentError::TooLarge)?;
        let kind = self.place.segment().lock(self.place.block() as usize).kind();
        if shape.bytes > self.room() || kind != wanted.kind {
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
    fn spec(count: usize) -> Result<Spec, SegmentError>;
    fn shape(count: usize) -> Option<Shape>;
    fn of(handle: Handle, count: usize) -> Self;
    fn handle(&self) -> &Handle;
    fn count(&self) -> usize;
}

/// A new anonymous object; `init` fills its data, which is zeros behind its locks.
pub(crate) fn create<H: Object>(count: usize, init: impl FnOnce(&H)) -> Result<H, SegmentError> {
    let shape = H::shape(count).ok_or(SegmentError::TooLarge)?;
    let handle = Handle::new(&H::spec(count)?, &shape)?.counted(H::HOLDERS, false)?;
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
    let mut handle = Handle::arrive::<H>(&wire, part).map_err(|error| D::Error::custom(travel::refuse(error)))?;
    match handle.check::<H>(&wire) {
        Ok(count) => Ok(H::of(handle, count)),
        Err(error) => {
            if part || H::HOLDERS.is_some() && handle.place.is_single() {
                handle.drop_part();
            }
            handle.holders = None; // it is another kind of object, to which nobody says goodbye
            Err(D::Error::custom(travel::refuse(error)))
        }
    }
}

/// What every handle type has: `Clone`, `Debug`, `Serialize`, `Deserialize`, with no bound on its parameter.
macro_rules! handle_type {
    ($name:ident $(<$param:ident>)?) => {
        impl$(<$param>)? Clone for $name$(<$param>)? {
            /// One more reference to the same object.
            fn clone(&self) -> Self {
                use $crate::segment::Object;
                Object::of(self.handle().clone(), self.count())
            }
        }
        impl$(<$param>)? std::fmt::Debug for $name$(<$param>)? {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                use $crate::segment::Object;
                f.debug_struct(stringify!($name)).field("at", &self.handle().object()).finish_non_exhaustive()
            }
        }
        impl$(<$param>)? serde::Serialize for $name$(<$param>)? {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $crate::segment::serialize(self, false, serializer)
            }
        }
        impl<'de $(, $param)?> serde::Deserialize<'de> for $name$(<$param>)? {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::segment::deserialize(false, deserializer)
            }
        }
    };
}
pub(crate) use handle_type;

/// How a segment for one object is laid out.
pub(crate) fn single_geometry(spec: &Spec, shape: &Shape) -> Result<Geometry, SegmentError> {
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
        if let Place::Block { arena, block } = &self.place {
            arena.add_handle(*block);
        } else if self.holders.is_some() {
            // This process is counted already, so that one more is only a number.
            let _ = self.add_part();
        }
        Handle { object: self.object, locks: self.locks, place: self.place.clone(), holders: self.holders }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let fewer = || self.holders.into_iter().for_each(|holders| (holders.fewer)(self.object));
        match &self.place {
            Place::Block { arena, block } if self.holders.is_none() && arena.drop_handle(*block) => {}
            // Under the heap's mutex: before the others have heard of it, nobody makes another object of the block.
            Place::Block { arena, block } => heap::lock().release(arena, *block, self.locks, &fewer),
            Place::Single(_) if self.holders.is_some() => {
                self.drop_part();
                fewer();
            }
            Place::Single(_) => {}
        }
    }
}
