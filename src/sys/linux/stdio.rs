//! Standard streams, and which other descriptors a new process has.

use super::syscall;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// Makes a descriptor the standard stream `number` of this process.
pub(crate) fn set_standard_stream(number: RawFd, fd: &OwnedFd) -> io::Result<()> {
    syscall!(libc::dup2(fd.as_raw_fd(), number)).map(drop)
}

/// Another descriptor of a standard stream of this process; `None` if it is closed.
pub(crate) fn standard_stream(number: RawFd) -> io::Result<Option<OwnedFd>> {
    match syscall!(libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3)) {
        // SAFETY: a new descriptor that nothing else owns.
        Ok(fd) => Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) })),
        Err(error) if error.raw_os_error() == Some(libc::EBADF) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) fn null_standard_streams() -> io::Result<()> {
    let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    for number in 0..3 {
        syscall!(libc::dup2(null.as_raw_fd(), number))?;
    }
    if null.as_raw_fd() < 3 {
        std::mem::forget(null); // one of the three was closed, and is this one now
    }
    Ok(())
}

/// Closes every descriptor from 3 on except these.
pub(super) fn close_all_but(kept: &[RawFd]) {
    let mut kept: Vec<u32> = kept.iter().map(|fd| *fd as u32).collect();
    kept.sort_unstable();
    let mut from = 3;
    for fd in kept.into_iter().chain([u32::MAX]) {
        if fd > from {
            // SAFETY: no pointers. Values that owned one of these are not used any more.
            let answer = unsafe { libc::syscall(libc::SYS_close_range, from, fd - u32::from(fd != u32::MAX), 0) };
            if answer == -1 {
                close_one_by_one(from, fd);
            }
        }
        from = from.max(fd.saturating_add(1));
    }
}

/// For systems where a filter forbids `close_range`.
fn close_one_by_one(from: u32, to: u32) {
    let open: Vec<u32> = std::fs::read_dir("/proc/self/fd").map_or_else(
        |_| Vec::new(),
        |entries| entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect(),
    );
    for fd in open.into_iter().filter(|fd| (from..to).contains(fd)) {
        // SAFETY: no pointers. Values that owned one of these are not used any more.
        unsafe { libc::close(fd as RawFd) };
    }
}
