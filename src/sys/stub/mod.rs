//! Other systems: everything compiles, and making or opening an object says `Unsupported`.
//!
//! What is only reached through an object holds a [`Never`], of which there is none, so nothing here can run wrongly.

use crate::SegmentError;
use memmap2::MmapRaw;
use std::io;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

pub(crate) mod attributes;
pub(crate) mod copy;
pub(crate) mod exit;
pub(crate) mod fork_hooks;
pub(crate) mod futex;
pub(crate) mod image;
pub(crate) mod lifeline;
pub(crate) mod memory;
pub(crate) mod pidfd;
pub(crate) mod poll;
pub(crate) mod process_id;
pub(crate) mod robust_list;
pub(crate) mod shm_file;
pub(crate) mod signals;
pub(crate) mod socket;
pub(crate) mod spawn;
pub(crate) mod stdio;
pub(crate) mod watcher;

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

fn unsupported<T>() -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}

/// A descriptor of this process: there is none.
pub trait AsFd {
    /// The descriptor.
    fn as_fd(&self) -> BorrowedFd<'_>;
}

/// A descriptor that another part of the program owns: there is none.
#[derive(Clone, Copy, Debug)]
pub struct BorrowedFd<'a>(Never, std::marker::PhantomData<&'a ()>);

impl AsFd for Never {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match *self {}
    }
}

impl<T: AsFd + ?Sized> AsFd for &T {
    fn as_fd(&self) -> BorrowedFd<'_> {
        (**self).as_fd()
    }
}

impl AsFd for BorrowedFd<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self.0 {}
    }
}

pub(crate) fn as_number(fd: &impl AsFd) -> i32 {
    match fd.as_fd().0 {}
}
