//! Stub of `socket`.

use super::{AsFd, BorrowedFd, Deadline, Fd, Never, io};

pub(crate) const MOST_FDS: usize = 253;

/// There are no Unix sockets.
#[derive(Debug)]
pub struct UnixStream(Never);

impl io::Read for &UnixStream {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        match self.0 {}
    }
}

impl io::Write for &UnixStream {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        match self.0 {}
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.0 {}
    }
}

impl UnixStream {
    pub(crate) fn pair() -> io::Result<(Self, Self)> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn set_nonblocking(&self, _: bool) -> io::Result<()> {
        match self.0 {}
    }
}

impl From<Fd> for UnixStream {
    fn from(fd: Fd) -> Self {
        match fd {}
    }
}

impl AsFd for UnixStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self.0 {}
    }
}

pub(crate) fn send(stream: &UnixStream, _: &[u8], _: &[impl AsFd]) -> io::Result<()> {
    match stream.0 {}
}

pub(crate) fn recv(stream: &UnixStream, _: &mut [u8]) -> io::Result<Vec<Fd>> {
    match stream.0 {}
}

pub(crate) fn identity(_: &UnixStream) -> Option<(u64, u64)> {
    None
}

pub(crate) fn peek(stream: &UnixStream, _: &mut [u8]) -> io::Result<usize> {
    match stream.0 {}
}

pub(crate) fn peer_user(stream: &UnixStream) -> io::Result<u32> {
    match stream.0 {}
}

/// One end of a pair that carries whole packets: there is none.
#[derive(Debug)]
pub(crate) struct Link(Never);

impl Link {
    pub(crate) fn pair() -> io::Result<(Self, Self)> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn of(_: Fd) -> Option<Self> {
        None
    }

    pub(crate) fn into_fd(self) -> Fd {
        match self.0 {}
    }

    pub(crate) fn duplicate(&self) -> io::Result<Fd> {
        match self.0 {}
    }

    pub(crate) fn try_send(&self, _: &[u8], _: &[impl AsFd]) -> io::Result<()> {
        match self.0 {}
    }

    pub(crate) fn peek_from_the_first(&self) -> io::Result<()> {
        match self.0 {}
    }

    pub(crate) fn peek_packet<'a>(&self, _: &'a mut [u8]) -> io::Result<Option<(&'a [u8], Vec<Fd>)>> {
        match self.0 {}
    }

    pub(crate) fn try_recv<'a>(&self, _: &'a mut [u8]) -> io::Result<Option<(&'a [u8], Vec<Fd>)>> {
        match self.0 {}
    }

    pub(crate) fn send(&self, _: &[u8], _: &[impl AsFd]) -> io::Result<()> {
        match self.0 {}
    }

    pub(crate) fn recv<'a>(&self, _: &'a mut [u8]) -> io::Result<Option<(&'a [u8], Vec<Fd>)>> {
        match self.0 {}
    }

    pub(crate) fn recv_as_far_as_possible<'a>(&self, _: &'a mut [u8]) -> io::Result<Option<(&'a [u8], Vec<Fd>)>> {
        match self.0 {}
    }

    pub(crate) fn poll(&self, _: Deadline) -> bool {
        match self.0 {}
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self.0 {}
    }
}
