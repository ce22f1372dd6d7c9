//! Other systems: everything compiles, and making or opening an object says `Unsupported`.
//!
//! What is only reached through an object holds a [`Never`], of which there is none, so nothing here can run wrongly.

use crate::SegmentError;
use memmap2::MmapRaw;
use std::io;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

mod births;

pub use births::{AsFd, BorrowedFd};
pub(crate) use births::{as_number, attributes, image, lifeline, pidfd, poll, spawn};

/// There is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Never {}

/// A descriptor that a program owns: there is none.
pub type OwnedFd = Never;
/// An open segment: none.
pub(crate) type Fd = Never;
pub(crate) const WAITERS: u32 = 1 << 31;
pub(crate) const OWNER_DIED: u32 = 1 << 30;

/// A moment on the monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Deadline(std::time::Instant);

impl Deadline {
    pub(crate) fn now() -> Self {
        Deadline(std::time::Instant::now())
    }

    pub(crate) fn after(duration: Duration) -> Self {
        let now = std::time::Instant::now();
        Deadline(now.checked_add(duration).unwrap_or(now))
    }

    pub(crate) fn as_nanos(self) -> u64 {
        0
    }

    pub(crate) fn left(self) -> Duration {
        self.0.saturating_duration_since(std::time::Instant::now())
    }

    pub(crate) fn has_passed(self) -> bool {
        std::time::Instant::now() >= self.0
    }
}

pub(crate) mod futex {
    use super::{AtomicU32, Deadline};

    pub(crate) const MOST_WORDS: usize = 128;

    #[derive(PartialEq, Eq)]
    pub(crate) enum Sleep {
        Over,
        Elsewhere,
    }

    pub(crate) fn wait(_: &AtomicU32, _: u32, _: Option<Deadline>) {}

    pub(crate) fn wait_any(_: &[(&AtomicU32, u32)], _: Option<Deadline>) -> Sleep {
        Sleep::Over
    }

    pub(crate) fn wake(_: &AtomicU32, _: u32) -> usize {
        0
    }
}

/// Nothing is ever watched.
pub(crate) mod watcher {
    use super::{AsFd, AtomicU32, io};

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Answer {
        Watched,
    }

    #[derive(Debug)]
    pub(crate) struct Watch;

    pub(crate) fn news() -> &'static AtomicU32 {
        static NEWS: AtomicU32 = AtomicU32::new(0);
        &NEWS
    }

    pub(crate) fn tell() {}

    pub(crate) fn process(_: u64) -> Answer {
        Answer::Watched
    }

    pub(crate) fn descriptor(_: &impl AsFd) -> io::Result<Watch> {
        Ok(Watch)
    }
}

pub(crate) mod copy {
    /// # Safety
    /// Both lead to that many bytes.
    #[allow(unsafe_code)]
    pub(crate) unsafe fn copy(_: *const u8, _: *mut u8, _: usize) {}
}

pub(crate) mod robust_list {
    use super::AtomicU32;
    use super::process_id::ProcessId;

    pub(crate) const NODE_ROOM: std::ops::Range<usize> = 28..40;
    pub(crate) const HANDED_OVER: u32 = 1 << 29;

    #[derive(Debug, PartialEq, Eq)]
    pub(crate) struct TooMany;

    /// A thread that waits or holds: there is no lock to wait for.
    #[derive(Clone, Copy)]
    pub(crate) struct PendingSlot {
        pub(crate) tid: u32,
    }

    pub(crate) fn tid() -> u32 {
        0
    }

    pub(crate) fn process() -> ProcessId {
        ProcessId::current()
    }

    pub(crate) fn node_offset() -> i64 {
        0
    }

    impl PendingSlot {
        pub(crate) fn set(_: &AtomicU32) -> Result<Self, TooMany> {
            Err(TooMany)
        }

        pub(crate) fn set_in_section(_: &AtomicU32) -> Self {
            PendingSlot { tid: 0 }
        }

        pub(crate) fn set_if_free(_: &AtomicU32) -> Option<Self> {
            None
        }

        pub(crate) fn clear(self) {}

        pub(crate) fn keep(self, _: &AtomicU32, _: bool) {}

        pub(crate) fn link(self, _: &AtomicU32) -> Result<(), TooMany> {
            Err(TooMany)
        }

        pub(crate) fn unlink(self, _: &AtomicU32) {}

        pub(crate) fn take_back(_: &AtomicU32) -> Self {
            PendingSlot { tid: 0 }
        }
    }
}

pub(crate) mod process_id {
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct ProcessId {
        pub(crate) pid: u32,
        pub(crate) start: u64,
    }

    impl ProcessId {
        pub(crate) fn current() -> Self {
            ProcessId { pid: std::process::id(), start: 0 }
        }

        pub(crate) fn has_thread(self, _: u32) -> bool {
            true
        }

        pub(crate) fn tag(self) -> u64 {
            u64::from(self.pid)
        }
    }

    #[derive(Debug)]
    pub(crate) struct Watch;

    impl Watch {
        pub(crate) fn new(_: ProcessId) -> Self {
            Watch
        }

        pub(crate) fn is_alive(&self) -> bool {
            true
        }
    }

    #[expect(dead_code, reason = "nothing forks")]
    #[derive(Clone, Copy)]
    pub(crate) struct ForkHooks {
        pub(crate) prepare: fn(),
        pub(crate) parent: fn(),
        pub(crate) child: fn(),
    }

    #[derive(Clone, Copy)]
    pub(crate) enum Layer {
        Memory,
        Family,
    }

    pub(crate) fn set_fork_hooks(_: Layer, _: ForkHooks) {}

    pub(crate) fn exists(_: u32) -> bool {
        true
    }

    pub(crate) fn tag_is_alive(_: u64) -> bool {
        true
    }

    pub(crate) fn newest_child() -> Option<u32> {
        None
    }

    pub(crate) fn tag_of_child(_: u32) -> Result<Option<u64>, Ended> {
        Ok(None)
    }

    #[derive(Debug)]
    pub(crate) struct Ended;

    pub(crate) fn pid_namespace() -> (u64, u64) {
        (0, 0)
    }

    pub(crate) fn boot_id() -> std::io::Result<u128> {
        Ok(0)
    }

    pub(crate) fn random_id() -> u128 {
        0
    }

    pub(crate) fn user() -> u32 {
        0
    }

    pub(crate) fn cores() -> usize {
        1
    }
}

pub(crate) mod memory {
    use super::{Fd, MmapRaw, SegmentError, io};

    pub(crate) fn anonymous(_: u64, _: u64) -> Result<Fd, SegmentError> {
        Err(SegmentError::Unsupported)
    }

    pub(crate) fn allocate_at(fd: &Fd, _: u64, _: u64) -> Result<(), SegmentError> {
        match *fd {}
    }

    pub(crate) fn write_at(fd: &Fd, _: u64, _: &[u8]) -> Result<(), SegmentError> {
        match *fd {}
    }

    pub(crate) fn read_at(fd: &Fd, _: u64, _: &mut [u8]) -> io::Result<usize> {
        match *fd {}
    }

    pub(crate) fn punch(fd: &Fd, _: u64, _: u64) {
        match *fd {}
    }

    pub(crate) fn taken(fd: &Fd) -> u64 {
        match *fd {}
    }

    pub(crate) fn map_at(fd: &Fd, _: u64, _: usize) -> Result<MmapRaw, SegmentError> {
        match *fd {}
    }

    pub(crate) fn accept(fd: &Fd) -> Result<u64, SegmentError> {
        match *fd {}
    }

    pub(crate) fn map(fd: &Fd, _: usize) -> Result<MmapRaw, SegmentError> {
        match *fd {}
    }

    /// Bytes in memory that nobody can write any more: there are none.
    pub(crate) struct Letter(super::Never);

    pub(crate) fn write_letter(_: &[&[u8]]) -> Result<Fd, SegmentError> {
        Err(SegmentError::Unsupported)
    }

    impl Letter {
        pub(crate) fn open(fd: &Fd) -> Result<Self, SegmentError> {
            match *fd {}
        }

        pub(crate) fn bytes(&self) -> &[u8] {
            match self.0 {}
        }
    }

    pub(crate) fn duplicate(fd: &Fd) -> io::Result<Fd> {
        match *fd {}
    }
}

pub(crate) mod shm_file {
    use super::{Fd, MmapRaw, Never, SegmentError};

    pub(crate) type Stays = dyn Fn(&[u8]) -> bool;

    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(crate) struct Name(Never);

    #[derive(Debug)]
    pub(crate) struct NamedFile(Never);

    impl Name {
        pub(crate) fn new(_: &str) -> Result<Self, SegmentError> {
            Err(SegmentError::Unsupported)
        }

        pub(crate) fn as_str(&self) -> &str {
            match self.0 {}
        }
    }

    impl NamedFile {
        pub(crate) fn size(&self) -> Result<u64, SegmentError> {
            match self.0 {}
        }

        pub(crate) fn is_writable_by_others(&self) -> bool {
            match self.0 {}
        }

        pub(crate) fn name(&self) -> &Name {
            match self.0 {}
        }

        pub(crate) fn reopen(&self) -> Result<Self, SegmentError> {
            match self.0 {}
        }

        pub(crate) fn leave(&self) {
            match self.0 {}
        }

        pub(crate) fn map(&self, _: usize) -> Result<MmapRaw, SegmentError> {
            match self.0 {}
        }

        pub(crate) fn descriptor(&self) -> Result<Fd, SegmentError> {
            match self.0 {}
        }
    }

    pub(crate) fn unnamed(_: u64, _: u32) -> Result<Fd, SegmentError> {
        Err(SegmentError::Unsupported)
    }

    pub(crate) fn publish(fd: Fd, _: &Name) -> Result<NamedFile, (Fd, SegmentError)> {
        match fd {}
    }

    pub(crate) fn open(name: &Name, _: &Stays) -> Result<NamedFile, SegmentError> {
        match name.0 {}
    }

    pub(crate) fn reopen(fd: &Fd, _: &Name) -> Result<NamedFile, SegmentError> {
        match *fd {}
    }

    pub(crate) fn remove(name: &Name) -> Result<(), SegmentError> {
        match name.0 {}
    }

    pub(crate) fn remove_unused(name: &Name, _: &Stays) -> bool {
        match name.0 {}
    }

    pub(crate) fn sweep(_: &Stays) {}
    pub(crate) fn sweep_now_and_then(_: &Stays) {}
}

pub(crate) mod socket {
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

        pub(crate) fn look_from_the_first(&self) -> io::Result<()> {
            match self.0 {}
        }

        pub(crate) fn look<'a>(&self, _: &'a mut [u8]) -> io::Result<Option<(&'a [u8], Vec<Fd>)>> {
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
}
