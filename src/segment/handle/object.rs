//! What a public handle type is.

use super::handle::Handle;
use super::roles::{Holders, Roles, each_role};
use crate::SegmentError;
use crate::segment::arena::allocator;
use crate::segment::kind::{ObjectLayout, Spec};

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
    fn layout(count: usize) -> Option<ObjectLayout>;
    fn of(handle: Handle, count: usize) -> Self;
    fn handle(&self) -> &Handle;
    fn count(&self) -> usize;
}

/// A new anonymous object; `init` fills its data, which is zeros behind its locks.
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
