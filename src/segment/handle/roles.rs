//! Holders of an object, and the roles in which they hold it.

use std::ptr::NonNull;

/// Callbacks of an object that counts its holders. Each gets the object's address.
#[derive(Clone, Copy, Debug)]
pub struct Holders {
    /// Called before a handle is added.
    pub(crate) on_add: fn(NonNull<u8>),
    /// Called after a handle arrived in another process: wakes waiters that did not know that process yet.
    pub(crate) on_import: fn(NonNull<u8>),
    /// Called after a handle was dropped: wakes waiters that need to know which holders are left.
    pub(crate) on_release: fn(NonNull<u8>),
    /// Drops that leave more handles than this in the process do not call `on_release`, as they cannot change which
    /// holder is the last.
    pub(crate) notify_at_most: usize,
}

impl Holders {
    /// Calls `on_release` after a handle was dropped. `left` is the number of handles left in this process.
    pub(super) fn notify_release(&self, left: usize, object: NonNull<u8>) {
        if left <= self.notify_at_most {
            (self.on_release)(object);
        }
    }
}

/// Roles in which a handle holds an object, one bit each. A queue has one role; the ends of a pipe have some of four.
pub(crate) type Roles = u32;

/// Returns the numbers of the roles in a set.
pub(crate) fn each_role(roles: Roles) -> impl Iterator<Item = u32> {
    (0..Roles::BITS).filter(move |role| roles >> role & 1 == 1)
}

/// Holders of an object in one role.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HolderCount {
    /// Number of handles of this process.
    pub(crate) here: usize,
    /// Tag of another process that is a holder, or [`UNKNOWN`].
    pub(crate) elsewhere: Option<u64>,
}

/// Stands for a holder without a known tag: a message, or a process whose tag is not known yet.
pub(crate) const UNKNOWN: u64 = 0;
