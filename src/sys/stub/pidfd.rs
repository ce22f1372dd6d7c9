//! Stub of `pidfd`.

use super::{AsFd, BorrowedFd, Deadline, Fd, Never, io, unsupported};

#[derive(Debug)]
pub(crate) struct PidFd(Never);

#[allow(dead_code, reason = "nothing ends")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Running,
    Ended(i32),
    Lost,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Signal {
    Terminate,
    Kill,
}

impl PidFd {
    pub(crate) fn open(_: u32) -> io::Result<Self> {
        unsupported()
    }

    pub(crate) fn of(fd: Fd) -> Self {
        match fd {}
    }

    pub(crate) fn wait(&self, _: Option<Deadline>) -> bool {
        match self.0 {}
    }

    pub(crate) fn reap(&self) -> Status {
        match self.0 {}
    }

    pub(crate) fn signal(&self, _: Signal) -> io::Result<()> {
        match self.0 {}
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self.0 {}
    }
}
