//! Linux: robust futexes, memfd, `O_TMPFILE` + `linkat`, pidfd, `SCM_RIGHTS`.
#![allow(unsafe_code)] // system calls

pub(crate) mod futex;
pub(crate) mod memory;
pub(crate) mod names;
pub(crate) mod process;
pub(crate) mod socket;
mod space;
pub(crate) mod thread;

/// Runs a system call that answers -1 and `errno`, again after a signal.
macro_rules! syscall {
    ($call:expr) => {
        loop {
            // SAFETY: each use passes arguments that are valid for the call as its manual page asks.
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

/// A value that is found once and kept: `OnceLock` without a lock. A thread that a fork leaves behind in the middle of the
/// search would lock the child's copy of a lock for ever; here the child searches again, and so may two threads at once.
pub(crate) struct Kept<T>(std::sync::atomic::AtomicPtr<T>);

impl<T: Send + Sync + 'static> Kept<T> {
    pub(crate) const fn new() -> Self {
        Kept(std::sync::atomic::AtomicPtr::new(std::ptr::null_mut()))
    }

    pub(crate) fn get(&self) -> Option<&'static T> {
        // SAFETY: null, or from `keep`, which leaks what it stores.
        unsafe { self.0.load(std::sync::atomic::Ordering::Acquire).as_ref() }
    }

    /// Keeps the value, unless another thread was faster; gives the one that is kept.
    pub(crate) fn keep(&self, value: T) -> &'static T {
        use std::sync::atomic::Ordering::{AcqRel, Acquire};
        let new = Box::into_raw(Box::new(value));
        match self.0.compare_exchange(std::ptr::null_mut(), new, AcqRel, Acquire) {
            // SAFETY: just leaked, and never freed.
            Ok(_) => unsafe { &*new },
            Err(kept) => {
                // SAFETY: ours alone; and what is kept is never freed.
                unsafe {
                    drop(Box::from_raw(new));
                    &*kept
                }
            }
        }
    }

    pub(crate) fn get_or_keep(&self, find: impl FnOnce() -> T) -> &'static T {
        self.get().unwrap_or_else(|| self.keep(find()))
    }
}

/// A moment on the monotonic clock.
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

    /// That long from now; saturates at some 292 years.
    pub(crate) fn after(duration: std::time::Duration) -> Self {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Deadline { nanos: Self::now().nanos.saturating_add(nanos).min(i64::MAX as u64) }
    }

    fn as_nanos(self) -> u64 {
        self.nanos
    }

    pub(crate) fn has_passed(self) -> bool {
        Self::now() >= self
    }

    fn as_timespec(self) -> libc::timespec {
        libc::timespec {
            tv_sec: (self.nanos / 1_000_000_000) as libc::time_t,
            tv_nsec: (self.nanos % 1_000_000_000) as libc::c_long,
        }
    }
}

/// An open segment.
pub(crate) type Fd = std::os::fd::OwnedFd;

/// The kernel's mark on a futex word: somebody sleeps on it.
pub(crate) const WAITERS: u32 = libc::FUTEX_WAITERS;
/// The kernel's mark on a futex word whose owner died.
pub(crate) const OWNER_DIED: u32 = libc::FUTEX_OWNER_DIED;
