//! A handle in a message.

use super::handle::Handle;
use super::object::Object;
use super::roles::Roles;
use crate::SegmentError;
use crate::segment::arena::location::Location;
use crate::segment::kind::Spec;
use crate::segment::transfer::manifest::Ticket;
use crate::segment::transfer::scope;
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a handle is in a message.
#[derive(Serialize, Deserialize)]
struct Wire {
    ticket: Ticket,
    spec: Spec,
    roles: Roles,
}

impl Handle {
    /// Writes the handle into the message that is being made.
    fn serialize<S: Serializer>(&self, spec: Spec, part: bool, serializer: S) -> Result<S::Ok, S::Error> {
        let roles = if part { 1 } else { self.roles };
        self.has_more();
        let ticket = scope::depart(&self.place, roles).map_err(|error| S::Error::custom(scope::refuse(error)))?;
        Wire { ticket, spec, roles: self.roles }.serialize(serializer)
    }

    /// Takes the place of an object out of the message that is being read, if it is what is wanted.
    fn arrive<H: Object>(wire: &Wire, part: bool) -> Result<Self, SegmentError> {
        let counts = |place: &Location| match H::HOLDERS {
            Some(_) if place.is_single() => wire.roles & H::ROLES,
            _ => Roles::from(part),
        };
        Ok(Handle::at(scope::arrive(&wire.ticket, counts)?, 0).counted(H::HOLDERS, wire.roles & H::ROLES))
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

pub(crate) fn serialize<H: Object, S: Serializer>(object: &H, part: bool, serializer: S) -> Result<S::Ok, S::Error> {
    let spec = H::spec(object.count()).map_err(S::Error::custom)?;
    object.handle().serialize(spec, part, serializer)
}

/// With `part`, the object is an array of which this process then has one more part.
pub(crate) fn deserialize<'de, H: Object, D: Deserializer<'de>>(part: bool, deserializer: D) -> Result<H, D::Error> {
    let wire = Wire::deserialize(deserializer)?;
    // The ticket is used up in any case: a handle of the wrong type is dropped like any other.
    let mut handle = Handle::arrive::<H>(&wire, part).map_err(|error| D::Error::custom(scope::refuse(error)))?;
    match handle.check::<H>(&wire) {
        Ok(count) => {
            handle.holders.into_iter().for_each(|holders| (holders.came)(handle.object()));
            Ok(H::of(handle, count))
        }
        Err(error) => {
            handle.drop_roles(if part { 1 } else { handle.roles });
            handle.roles = 0;
            handle.holders = None; // it is another kind of object, to which nobody says goodbye
            Err(D::Error::custom(scope::refuse(error)))
        }
    }
}
