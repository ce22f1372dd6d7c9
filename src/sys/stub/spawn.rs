//! Stub of `spawn`.

use super::socket::Link;
use super::{AsFd, Fd, io, unsupported};
use crate::Os;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Server,
    Child,
}

impl Role {
    pub(crate) fn take() -> Option<(Self, Link)> {
        None
    }
}

pub(crate) fn has_role() -> bool {
    false
}

pub(crate) fn execute_self(_: Role, _: Link) -> io::Result<u32> {
    unsupported()
}

pub(crate) fn init_server(_: &Link) -> io::Result<()> {
    unsupported()
}

pub(crate) fn parent_of(_: &Link) -> Option<super::pidfd::PidFd> {
    None
}

pub(crate) fn init_executed() {}

pub(crate) fn init_child(_: &impl AsFd) {}

pub(crate) fn set_name(_: &str) {}

pub(crate) fn clone_sibling() -> io::Result<Option<(u32, Fd)>> {
    unsupported()
}

pub(crate) fn can_clone_siblings() -> bool {
    false
}

#[allow(unsafe_code)] // as the other systems' declarations
pub(crate) unsafe fn fork() -> io::Result<Option<u32>> {
    unsupported()
}

pub(crate) const NO_CHILD: Os = Os(10);

pub(crate) fn abort_child(_: u32) {}
