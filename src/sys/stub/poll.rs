//! Stub of `poll`.

use super::{AsFd, Deadline, Never, io, unsupported};

#[derive(Debug)]
pub(crate) struct Poll(Never);

impl Poll {
    pub(crate) fn new() -> io::Result<Self> {
        unsupported()
    }

    pub(crate) fn add(&self, _: &impl AsFd, _: u64) -> io::Result<()> {
        match self.0 {}
    }

    pub(crate) fn remove(&self, _: &impl AsFd) {
        match self.0 {}
    }

    pub(crate) fn wait(&self, _: Option<Deadline>) -> Vec<u64> {
        match self.0 {}
    }
}

pub(crate) fn readable(_: i32, _: Option<Deadline>) -> bool {
    false
}

#[derive(Debug)]
pub(crate) struct EventFd(Never);

impl EventFd {
    pub(crate) fn new() -> io::Result<Self> {
        unsupported()
    }

    pub(crate) fn notify(&self) {
        match self.0 {}
    }

    pub(crate) fn acknowledge(&self) {
        match self.0 {}
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> super::BorrowedFd<'_> {
        match self.0 {}
    }
}
