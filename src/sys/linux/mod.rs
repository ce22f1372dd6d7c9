//! Linux: robust futexes, memfd, `O_TMPFILE` + `linkat`, pidfd, `SCM_RIGHTS`.
#![allow(unsafe_code)] // system calls

pub(crate) mod attributes;
pub(crate) mod copy;
pub(crate) mod exit;
pub(crate) mod fork_hooks;
pub(crate) mod futex;
pub(crate) mod image;
pub(crate) mod lifeline;
pub(crate) mod memory;
mod memory_limits;
pub(crate) mod pidfd;
pub(crate) mod poll;
pub(crate) mod process_id;
mod robust_head;
pub(crate) mod robust_list;
pub(crate) mod shm_file;
pub(crate) mod signals;
pub(crate) mod socket;
pub(crate) mod spawn;
pub(crate) mod stdio;
mod thread_end;
pub(crate) mod watcher;

/// Runs a system call that returns -1 and sets `errno`, again after a signal. The arguments must be valid for the call:
/// what is passed as a pointer is a reference, or points into a buffer, that lives during the call and has the size
/// passed with it.
macro_rules! syscall {
    ($call:expr) => {
        loop {
            // SAFETY: the arguments are valid for the call, which is the contract of this macro.
            let answer = unsafe { $call };
            if answer != -1 {
                break Ok(answer);
            }
            let error = std::io::Error::last_os_error();
            if error.kind() != std::io::ErrorKind::Interrupted {
                break Err(error);
            }
        }
    };
}
pub(crate) use syscall;

/// A time on the monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Deadline {
    nanos: u64,
}

impl Deadline {
    pub(crate) fn now() -> Self {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the kernel writes one timespec to a valid place.
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
        Deadline { nanos: time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64 }
    }

    /// `duration` from now; at most some 292 years.
    pub(crate) fn after(duration: std::time::Duration) -> Self {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Deadline { nanos: Self::now().nanos.saturating_add(nanos).min(i64::MAX as u64) }
    }

    pub(crate) fn as_nanos(self) -> u64 {
        self.nanos
    }

    pub(crate) fn has_passed(self) -> bool {
        Self::now() >= self
    }

    /// The time from now until then; zero when it has passed.
    pub(crate) fn left(self) -> std::time::Duration {
        std::time::Duration::from_nanos(self.nanos.saturating_sub(Self::now().nanos))
    }

    /// The time from now until then; zero when it has passed.
    fn time_left(self) -> libc::timespec {
        Deadline { nanos: self.nanos.saturating_sub(Self::now().nanos) }.as_timespec()
    }

    fn as_timespec(self) -> libc::timespec {
        libc::timespec {
            tv_sec: (self.nanos / 1_000_000_000) as libc::time_t,
            tv_nsec: (self.nanos % 1_000_000_000) as libc::c_long,
        }
    }
}

pub(crate) use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
/// The descriptor of a segment.
pub(crate) type Fd = OwnedFd;

/// The number of a descriptor in this process.
pub(crate) fn as_number(fd: &impl AsFd) -> std::os::fd::RawFd {
    use std::os::fd::AsRawFd;
    fd.as_fd().as_raw_fd()
}

/// A thread may sleep on the word.
pub(crate) const WAITERS: u32 = libc::FUTEX_WAITERS;
/// The owner of the word died.
pub(crate) const OWNER_DIED: u32 = libc::FUTEX_OWNER_DIED;
