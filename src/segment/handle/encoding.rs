//! Encoding of a handle in a message.

use super::handle::Handle;
use super::object::Object;
use super::roles::Roles;
use crate::SegmentError;
use crate::segment::arena::location::Location;
use crate::segment::kind::Spec;
use crate::segment::transfer::manifest::HandleRef;
use crate::segment::transfer::scope;
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A handle in the bytes of a message.
#[derive(Serialize, Deserialize)]
struct EncodedHandle {
    reference: HandleRef,
    spec: Spec,
    roles: Roles,
}

impl Handle {
    /// Writes the handle into the message that this thread is encoding.
    fn serialize<S: Serializer>(&self, spec: Spec, part: bool, serializer: S) -> Result<S::Ok, S::Error> {
        let roles = if part { 1 } else { self.roles };
        self.notify_add();
        let reference =
            scope::export(&self.location, roles).map_err(|error| S::Error::custom(scope::record_error(error)))?;
        EncodedHandle { reference, spec, roles: self.roles }.serialize(serializer)
    }

    /// Takes a handle out of the message that this thread is decoding. Its type is not checked yet.
    fn import<H: Object>(encoded: &EncodedHandle, part: bool) -> Result<Self, SegmentError> {
        let roles_of = |location: &Location| match H::HOLDERS {
            Some(_) if location.is_single() => encoded.roles & H::ROLES,
            _ => Roles::from(part),
        };
        Ok(Handle::at(scope::import(&encoded.reference, roles_of)?, 0).counted(H::HOLDERS, encoded.roles & H::ROLES))
    }

    /// Checks that the object is of type `H`. Returns the number of its items.
    fn check<H: Object>(&mut self, encoded: &EncodedHandle) -> Result<usize, SegmentError> {
        let wanted = H::spec(0)?;
        wanted.check(&encoded.spec)?;
        // A segment of its own describes its object. What a block holds is known only from the message.
        let spec = match &self.location {
            Location::Block { .. } => encoded.spec,
            Location::Single(segment) => Spec { type_hash: wanted.type_hash, ..segment.header.spec() },
        };
        wanted.check(&spec)?;
        let count = usize::try_from(spec.count).map_err(|_| SegmentError::TooLarge)?;
        let layout = H::layout(count).ok_or(SegmentError::TooLarge)?;
        let kind = self.location.segment().lock(self.location.block() as usize).kind();
        let has_roles = !wanted.has_holders() || !self.location.is_single() || H::accepts(self.roles);
        if layout.bytes > self.block_size() || kind != wanted.kind || !has_roles {
            return Err(SegmentError::WrongType);
        }
        self.locks = layout.locks;
        Ok(count)
    }
}

/// Encodes a handle. With `part`, the message carries a part of the array.
pub(crate) fn serialize<H: Object, S: Serializer>(object: &H, part: bool, serializer: S) -> Result<S::Ok, S::Error> {
    let spec = H::spec(object.count()).map_err(S::Error::custom)?;
    object.handle().serialize(spec, part, serializer)
}

/// Decodes a handle. With `part`, the object is an array of which this process has one more part afterwards.
pub(crate) fn deserialize<'de, H: Object, D: Deserializer<'de>>(part: bool, deserializer: D) -> Result<H, D::Error> {
    let encoded = EncodedHandle::deserialize(deserializer)?;
    // The reference is used up in any case: a handle of the wrong type is dropped like any other.
    let mut handle =
        Handle::import::<H>(&encoded, part).map_err(|error| D::Error::custom(scope::record_error(error)))?;
    match handle.check::<H>(&encoded) {
        Ok(count) => {
            handle.holders.into_iter().for_each(|holders| (holders.on_import)(handle.object()));
            Ok(H::of(handle, count))
        }
        Err(error) => {
            handle.drop_roles(if part { 1 } else { handle.roles });
            handle.roles = 0;
            handle.holders = None; // no callback, as it is another kind of object
            Err(D::Error::custom(scope::record_error(error)))
        }
    }
}
