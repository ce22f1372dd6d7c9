//! Trait of the public handle types.

use super::handle::Handle;
use super::roles::{Holders, Roles, each_role};
use crate::SegmentError;
use crate::segment::arena::allocator;
use crate::segment::kind::{ObjectLayout, Spec};

/// A public handle type: what its objects need in memory, and how it is made from a [`Handle`].
pub trait Object: Sized {
    /// Whether its guards lend references into shared memory.
    const IN_PLACE: bool;
    /// Callbacks of objects that count their holders.
    const HOLDERS: Option<Holders> = None;
    /// Roles in which its handles may hold an object.
    const ROLES: Roles = 1;
    /// Returns whether a handle in these roles has this type.
    fn accepts(roles: Roles) -> bool {
        roles == Self::ROLES
    }
    fn spec(count: usize) -> Result<Spec, SegmentError>;
    fn layout(count: usize) -> Option<ObjectLayout>;
    fn of(handle: Handle, count: usize) -> Self;
    fn handle(&self) -> &Handle;
    fn count(&self) -> usize;
}

/// Creates an anonymous object. `init` fills its data, which is zero after the locks.
pub(crate) fn create<H: Object>(count: usize, init: impl FnOnce(&H)) -> Result<H, SegmentError> {
    let layout = H::layout(count).ok_or(SegmentError::TooLarge)?;
    let handle = Handle::new(&H::spec(count)?, &layout)?;
    if H::HOLDERS.is_some() && handle.location.is_single() {
        each_role(H::ROLES).try_for_each(|role| allocator::lock().add_part(&handle.location, role))?;
    }
    let object = H::of(handle.counted(H::HOLDERS, H::ROLES), count);
    init(&object);
    Ok(object)
}
