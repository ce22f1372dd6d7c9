//! The lifeline: a pipe by which children see that their parent has ended.
//!
//! The parent keeps the only write end, which no fork child keeps and no other program gets; each child has a read end.
//! When the parent is gone, for whatever reason, the read ends are at end of file. The kernel kills a daemon then: it
//! sends `SIGKILL` as the signal of the descriptor. (`PR_SET_PDEATHSIG` would follow a thread of the parent, or the
//! fork server.)

use super::{Deadline, poll, syscall};
use crate::sys::exit;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// A parent's pipe.
#[derive(Debug)]
pub(crate) struct Lifeline {
    end: ParentsEnd,
    _write: OwnedFd,
}

/// The read end that a child has.
#[derive(Debug)]
pub(crate) struct ParentsEnd(OwnedFd);

impl Lifeline {
    pub(crate) fn new() -> io::Result<Self> {
        let mut ends = [0; 2];
        syscall!(libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC))?;
        // SAFETY: two new descriptors that nothing else owns.
        let [end, write] = ends.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
        Ok(Lifeline { end: ParentsEnd(end), _write: write })
    }

    /// The read end, for a child.
    pub(crate) fn end(&self) -> &ParentsEnd {
        &self.end
    }
}

impl ParentsEnd {
    pub(crate) fn of(fd: OwnedFd) -> Self {
        ParentsEnd(fd)
    }

    pub(crate) fn duplicate(&self) -> io::Result<Self> {
        self.0.try_clone().map(ParentsEnd)
    }

    /// Whether the parent has ended, at the deadline at the latest.
    pub(crate) fn wait(&self, deadline: Option<Deadline>) -> bool {
        poll::readable(self.0.as_raw_fd(), deadline) // nothing is ever written: what can be read is the end of file
    }

    /// From here on the end of the parent is the end of this process. The receiver of the signal is a property of the
    /// open file, so this process opens one of its own.
    pub(crate) fn die_with_parent(&self) -> io::Result<()> {
        let path = format!("/proc/self/fd/{}\0", self.0.as_raw_fd());
        let flags = libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NONBLOCK;
        let fd = syscall!(libc::open(path.as_ptr().cast(), flags))?;
        // SAFETY: no arguments.
        syscall!(libc::fcntl(fd, libc::F_SETOWN, libc::getpid()))?;
        const F_SETSIG: libc::c_int = 10;
        syscall!(libc::fcntl(fd, F_SETSIG, libc::SIGKILL))?;
        syscall!(libc::fcntl(fd, libc::F_SETFL, libc::O_ASYNC | libc::O_NONBLOCK))?;
        if self.wait(Some(Deadline::now())) {
            exit::kill_self(); // the end came before the kernel was set up
        }
        Ok(())
    }
}

impl AsFd for ParentsEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
