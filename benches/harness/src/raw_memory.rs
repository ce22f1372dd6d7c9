//! Memory by hand: shared, as a program without a library would do it, and much of its own.

use anyhow::{Context, Result, ensure};
use std::io::Error;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// A file in memory, and its mapping.
pub struct Mapping {
    at: *mut libc::c_void,
    length: usize,
    _fd: OwnedFd,
}

impl Mapping {
    /// memfd_create, ftruncate, mmap.
    pub fn of_memfd(length: usize) -> Result<Self> {
        Mapping::of(memfd()?, length)
    }

    fn of(fd: OwnedFd, length: usize) -> Result<Self> {
        // SAFETY: an open descriptor.
        ensure!(unsafe { libc::ftruncate(fd.as_raw_fd(), length.try_into()?) } == 0, "{}", Error::last_os_error());
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping, unmapped in `drop`.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), length, protection, libc::MAP_SHARED, fd.as_raw_fd(), 0) };
        ensure!(at != libc::MAP_FAILED, "mmap: {}", Error::last_os_error());
        Ok(Mapping { at, length, _fd: fd })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping of `of`.
        unsafe { libc::munmap(self.at, self.length) };
    }
}

/// All its pages are there.
pub fn allocated_memfd(length: usize) -> Result<Mapping> {
    let fd = memfd()?;
    // SAFETY: an open descriptor.
    let answer = unsafe { libc::posix_fallocate(fd.as_raw_fd(), 0, length.try_into()?) };
    ensure!(answer == 0, "posix_fallocate: {}", Error::from_raw_os_error(answer));
    Mapping::of(fd, length)
}

/// shm_open, ftruncate, mmap, munmap, close, shm_unlink.
pub fn named_and_dropped() -> Result<()> {
    let name = std::ffi::CString::new(format!("/bench-{}", std::process::id()))?;
    let flags = libc::O_CREAT | libc::O_EXCL | libc::O_RDWR;
    // SAFETY: a C string.
    let fd = owned(unsafe { libc::shm_open(name.as_ptr(), flags, 0o600) }).context("shm_open")?;
    let mapping = Mapping::of(fd, 4096);
    // SAFETY: a C string.
    ensure!(unsafe { libc::shm_unlink(name.as_ptr()) } == 0, "shm_unlink: {}", Error::last_os_error());
    mapping.map(drop)
}

fn memfd() -> Result<OwnedFd> {
    // SAFETY: a C string.
    owned(unsafe { libc::memfd_create(c"bench".as_ptr(), libc::MFD_CLOEXEC) }).context("memfd_create")
}

fn owned(fd: i32) -> Result<OwnedFd> {
    ensure!(fd >= 0, Error::last_os_error());
    // SAFETY: new, and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Makes so much memory resident, in small pages, as a program's heap is.
pub fn grow(bytes: usize) -> Result<()> {
    const PAGE: usize = 4096;
    if bytes == 0 {
        return Ok(());
    }
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping, kept until the process ends; written inside of it.
    unsafe {
        let at = libc::mmap(std::ptr::null_mut(), bytes, protection, flags, -1, 0);
        ensure!(at != libc::MAP_FAILED, "mmap: {}", Error::last_os_error());
        libc::madvise(at, bytes, libc::MADV_NOHUGEPAGE);
        (0..bytes).step_by(PAGE).for_each(|offset| at.cast::<u8>().add(offset).write_volatile(1));
    }
    Ok(())
}

/// Fails where not even twice as much is free.
pub fn enough_memory(bytes: usize) -> Result<()> {
    let info = std::fs::read_to_string("/proc/meminfo")?;
    let line = info.lines().find_map(|line| line.strip_prefix("MemAvailable:")).context("no MemAvailable")?;
    let available: usize = line.trim().trim_end_matches(" kB").parse()?;
    ensure!(available * 1024 > 2 * bytes, "needs {} MiB of free memory", bytes >> 19);
    Ok(())
}
