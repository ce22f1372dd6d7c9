//! Who holds an object, and in which role.

use std::ptr::NonNull;

/// What is done to an object that counts who holds it.
#[derive(Clone, Copy, Debug)]
pub struct Holders {
    /// There will be one more.
    pub(crate) on_add: fn(NonNull<u8>),
    /// Another process has come: wakes those who wait for somebody of whom they know nothing.
    pub(crate) on_import: fn(NonNull<u8>),
    /// Wakes those who want to know who is left.
    pub(crate) on_release: fn(NonNull<u8>),
    /// Where a process has more handles left than this, nobody is the last who was not before.
    pub(crate) notify_at_most: usize,
}

impl Holders {
    /// A handle went, and so many are left in this process.
    pub(super) fn notify_release(&self, left: usize, object: NonNull<u8>) {
        if left <= self.notify_at_most {
            (self.on_release)(object);
        }
    }
}

/// Roles in which a handle holds an object, one bit each: a queue has one, a pipe's ends have some of four.
pub(crate) type Roles = u32;

/// The numbers of the roles.
pub(crate) fn each_role(roles: Roles) -> impl Iterator<Item = u32> {
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
