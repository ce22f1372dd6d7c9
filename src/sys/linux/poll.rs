//! Waiting for descriptors: `ppoll` for one, `epoll` for many.

use super::{Deadline, syscall};
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;

/// Whether there is something to read, or the end, before the deadline.
pub(crate) fn readable(fd: RawFd, deadline: Option<Deadline>) -> bool {
    loop {
        let time = deadline.map(Deadline::time_left);
        let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        // SAFETY: one pollfd and a time, both alive during the call.
        match unsafe { libc::ppoll(&mut poll, 1, time, std::ptr::null()) } {
            0 => return false,
            1 => return true,
            _ if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            _ => return false,
        }
    }
}

/// A set of descriptors, each with a number.
#[derive(Debug)]
pub(crate) struct Poll(OwnedFd);

impl Poll {
    pub(crate) fn new() -> io::Result<Self> {
        let fd = syscall!(libc::epoll_create1(libc::EPOLL_CLOEXEC))?;
        // SAFETY: a new descriptor that nothing else owns.
        Ok(Poll(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    pub(crate) fn add(&self, fd: &impl AsFd, number: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: number };
        syscall!(libc::epoll_ctl(self.0.as_raw_fd(), libc::EPOLL_CTL_ADD, super::as_number(fd), &mut event)).map(drop)
    }

    pub(crate) fn remove(&self, fd: &impl AsFd) {
        let nothing = std::ptr::null_mut();
        let _ = syscall!(libc::epoll_ctl(self.0.as_raw_fd(), libc::EPOLL_CTL_DEL, super::as_number(fd), nothing));
    }

    /// Returns the numbers of those that are ready; none after the deadline.
    pub(crate) fn wait(&self, deadline: Option<Deadline>) -> Vec<u64> {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 64];
        // Rounded up: slightly too late does no harm, slightly too early would be a wasted round.
        let time = deadline.map_or(-1, |deadline| {
            let left = deadline.time_left();
            (left.tv_sec * 1000 + (left.tv_nsec + 999_999) / 1_000_000).min(i32::MAX.into()) as libc::c_int
        });
        let room = events.len() as libc::c_int;
        let got = syscall!(libc::epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), room, time)).unwrap_or(0);
        events[..got as usize].iter().map(|event| event.u64).collect()
    }
}

/// Wakes a thread that waits for descriptors: readable after [`notify`](Self::notify).
#[derive(Debug)]
pub(crate) struct EventFd {
    ear: PipeReader,
    rope: PipeWriter,
    /// Notified and not yet acknowledged: once is enough, and never fills the pipe.
    rung: AtomicBool,
}

impl EventFd {
    pub(crate) fn new() -> io::Result<Self> {
        let (ear, rope) = io::pipe()?;
        Ok(EventFd { ear, rope, rung: AtomicBool::new(false) })
    }

    pub(crate) fn notify(&self) {
        if !self.rung.swap(true, SeqCst) {
            let _ = (&self.rope).write(&[0]); // the other end is here too
        }
    }

    /// Called by the woken thread before it checks for reasons, so it sees a reason that arrives right now.
    pub(crate) fn acknowledge(&self) {
        let _ = (&self.ear).read(&mut [0]);
        self.rung.store(false, SeqCst);
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ear.as_fd()
    }
}
