//! Stub of `lifeline`.

use super::{AsFd, BorrowedFd, Deadline, Fd, Never, io, unsupported};

#[derive(Debug)]
pub(crate) struct Lifeline(Never);

#[derive(Debug)]
pub(crate) struct ParentsEnd(Never);

impl Lifeline {
    pub(crate) fn new() -> io::Result<Self> {
        unsupported()
    }

    pub(crate) fn end(&self) -> &ParentsEnd {
        match self.0 {}
    }
}

impl ParentsEnd {
    pub(crate) fn of(fd: Fd) -> Self {
        match fd {}
    }

    pub(crate) fn duplicate(&self) -> io::Result<Self> {
        match self.0 {}
    }

    pub(crate) fn wait(&self, _: Option<Deadline>) -> bool {
        match self.0 {}
    }

    pub(crate) fn die_with_parent(&self) -> io::Result<()> {
        match self.0 {}
    }
}

impl AsFd for ParentsEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self.0 {}
    }
}
