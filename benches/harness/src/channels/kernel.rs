//! What the kernel has: a pipe, and a pair of sockets that keep messages apart. A system call for each item on each
//! side.

use super::{Consumer, Ends, Producer};
use anyhow::{Result, ensure};
use std::io::Error;
use std::ops::Range;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

pub struct Descriptor(OwnedFd);

pub fn pipe(pairs: usize) -> Result<Ends<Descriptor, Descriptor>> {
    // SAFETY: fills the two descriptors.
    ends(pairs, |fds| unsafe { libc::pipe2(fds, libc::O_CLOEXEC) })
}

pub fn seqpacket(pairs: usize) -> Result<Ends<Descriptor, Descriptor>> {
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: fills the two descriptors.
    ends(pairs, |fds| unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, fds) })
}

/// The first descriptor is read from, the second written to.
fn ends(pairs: usize, open: impl FnOnce(*mut i32) -> i32) -> Result<Ends<Descriptor, Descriptor>> {
    let mut fds = [-1; 2];
    ensure!(open(fds.as_mut_ptr()) == 0, Error::last_os_error());
    // SAFETY: new, and nobody else's.
    let [read, write] = fds.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
    Ends::of(pairs, || Ok(Descriptor(write.try_clone()?)), || Ok(Descriptor(read.try_clone()?)))
}

impl Producer for Descriptor {
    fn put(&mut self, items: Range<u64>) -> Result<()> {
        for item in items {
            // SAFETY: eight bytes. So few are written and read as a whole (PIPE_BUF), by however many at once.
            let written = unsafe { libc::write(self.0.as_raw_fd(), (&raw const item).cast(), 8) };
            ensure!(written == 8, "write: {written}, {}", Error::last_os_error());
        }
        Ok(())
    }
}

impl Consumer for Descriptor {
    fn get(&mut self, mut each: impl FnMut(u64)) -> Result<()> {
        let mut item = 0_u64;
        // SAFETY: room for eight bytes.
        let read = unsafe { libc::read(self.0.as_raw_fd(), (&raw mut item).cast(), 8) };
        ensure!(read == 8, "read: {read}, {}", Error::last_os_error());
        each(item);
        Ok(())
    }
}
