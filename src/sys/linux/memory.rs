//! Anonymous shared memory: a memfd, a file without a name that lives as long as a process holds or maps it.
//!
//! Its size is sealed before another process sees it, so no peer can shrink it (an access would be SIGBUS). Its pages
//! are allocated at once: a bare `ftruncate` succeeds on a full system, and the first touch is SIGBUS.

use super::{memory_limits, syscall};
use crate::SegmentError;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

const SEALS: libc::c_int = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;

/// Creates a sealed memfd of `bytes` zeros. The file may be longer: what follows them takes no memory before
/// [`allocate_at`] or [`write_at`].
pub(crate) fn anonymous(bytes: u64, length: u64) -> Result<OwnedFd, SegmentError> {
    memory_limits::check(bytes)?;
    let fd = create()?;
    // The default mode is 0777: any user that finds /proc/PID/fd/N could open it.
    syscall!(libc::fchmod(fd.as_raw_fd(), 0o600))?;
    // Where files may not be that long, nothing follows.
    set_size(&fd, if length <= largest_file() { length.max(bytes) } else { bytes })?;
    allocate(&fd, bytes)?;
    syscall!(libc::fcntl(fd.as_raw_fd(), libc::F_ADD_SEALS, SEALS))?;
    Ok(fd)
}

fn create() -> io::Result<OwnedFd> {
    let make = |flags| syscall!(libc::memfd_create(c"crossproc".as_ptr(), flags));
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // Kernels before 6.3 do not know the flag.
    let fd = make(flags | libc::MFD_NOEXEC_SEAL).or_else(|_| make(flags))?;
    // SAFETY: a new descriptor that nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Checks, before it is mapped, that what a peer sent is a memfd whose size cannot change. Returns its size.
pub(crate) fn accept(fd: &OwnedFd) -> Result<u64, SegmentError> {
    let seals = syscall!(libc::fcntl(fd.as_raw_fd(), libc::F_GET_SEALS)).map_err(|_| SegmentError::NotASegment)?;
    let wanted = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW;
    if seals & wanted != wanted {
        return Err(SegmentError::NotASegment);
    }
    let file = File::from(fd.as_fd().try_clone_to_owned()?);
    Ok(file.metadata()?.len())
}

/// Bytes in memory that no process can write any more, mapped.
pub(crate) struct SealedFile {
    map: memmap2::MmapRaw,
    length: usize,
}

/// Puts bytes, at least one, into sealed memory of their own, to be sent.
pub(crate) fn write_sealed(parts: &[&[u8]]) -> Result<OwnedFd, SegmentError> {
    let bytes = parts.iter().map(|part| part.len() as u64).sum();
    if bytes > largest_file() {
        return Err(SegmentError::TooLarge); // see `set_size`
    }
    memory_limits::check(bytes)?;
    let mut file = File::from(create()?);
    for part in parts {
        file.write_all(part)?;
    }
    syscall!(libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, SEALS | libc::F_SEAL_WRITE))?;
    Ok(file.into())
}

impl SealedFile {
    /// Maps what [`write_sealed`] made.
    pub(crate) fn open(fd: &OwnedFd) -> Result<Self, SegmentError> {
        let length = usize::try_from(accept(fd)?).map_err(|_| SegmentError::TooLarge)?;
        let seals = syscall!(libc::fcntl(fd.as_raw_fd(), libc::F_GET_SEALS))?;
        if seals & libc::F_SEAL_WRITE == 0 || length == 0 {
            return Err(SegmentError::NotASegment);
        }
        let map = memmap2::MmapOptions::new().len(length).map_raw_read_only(fd)?;
        Ok(SealedFile { map, length })
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: the mapping has `length` bytes, and the seals prevent every process from writing or shrinking them.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr(), self.length) }
    }
}

/// Maps a segment, shared and writable.
pub(crate) fn map(fd: &impl AsRawFd, bytes: usize) -> Result<memmap2::MmapRaw, SegmentError> {
    Ok(memmap2::MmapOptions::new().len(bytes).map_raw(fd)?)
}

/// Another descriptor of the same segment, to be sent.
pub(crate) fn duplicate(fd: &OwnedFd) -> io::Result<OwnedFd> {
    fd.try_clone()
}

/// Sets the size of a new file. It is all holes until [`allocate`].
pub(crate) fn set_size(fd: &OwnedFd, bytes: u64) -> Result<(), SegmentError> {
    if bytes > largest_file() {
        return Err(SegmentError::TooLarge); // the system would send a deadly signal
    }
    let bytes = libc::off_t::try_from(bytes).map_err(|_| SegmentError::TooLarge)?;
    syscall!(libc::ftruncate(fd.as_raw_fd(), bytes))?;
    Ok(())
}

/// The largest file that this process may have (RLIMIT_FSIZE).
fn largest_file() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    let _ = syscall!(libc::getrlimit(libc::RLIMIT_FSIZE, &mut limit));
    limit.rlim_cur
}

/// Allocates every page of a new file.
pub(crate) fn allocate(fd: &OwnedFd, bytes: u64) -> Result<(), SegmentError> {
    allocate_pages(fd, 0, bytes)
}

/// In pieces: a signal undoes the whole call that it interrupts.
fn allocate_pages(fd: &OwnedFd, at: u64, bytes: u64) -> Result<(), SegmentError> {
    const PIECE: u64 = 16 << 20;
    let mut done = 0;
    while done < bytes {
        let piece = PIECE.min(bytes - done);
        syscall!(libc::fallocate(fd.as_raw_fd(), 0, (at + done) as libc::off_t, piece as libc::off_t))?;
        done += piece;
    }
    Ok(())
}

/// Allocates pages of a file that is long enough.
pub(crate) fn allocate_at(fd: &OwnedFd, at: u64, bytes: u64) -> Result<(), SegmentError> {
    check_reach(at, bytes)?;
    memory_limits::check(bytes)?;
    allocate_pages(fd, at, bytes)
}

/// Checks that this process's files may be that long: the system would send a deadly signal otherwise.
fn check_reach(at: u64, bytes: u64) -> Result<(), SegmentError> {
    match at.checked_add(bytes) {
        Some(end) if end <= largest_file() && libc::off_t::try_from(end).is_ok() => Ok(()),
        _ => Err(SegmentError::NoSpace),
    }
}

/// Writes bytes, which allocates the pages that they need.
pub(crate) fn write_at(fd: &OwnedFd, at: u64, bytes: &[u8]) -> Result<(), SegmentError> {
    check_reach(at, bytes.len() as u64)?;
    memory_limits::check(bytes.len() as u64)?;
    let mut done = 0;
    while done < bytes.len() {
        let rest = &bytes[done..];
        let offset = (at + done as u64) as libc::off_t;
        let wrote = syscall!(libc::pwrite(fd.as_raw_fd(), rest.as_ptr().cast(), rest.len(), offset))?;
        if wrote == 0 {
            return Err(SegmentError::NoSpace);
        }
        done += wrote as usize;
    }
    Ok(())
}

/// Reads into the first bytes of `room`, as many as there are.
pub(crate) fn read_at(fd: &OwnedFd, at: u64, room: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while done < room.len() {
        let rest = &mut room[done..];
        let offset = (at + done as u64) as libc::off_t;
        let got = syscall!(libc::pread(fd.as_raw_fd(), rest.as_mut_ptr().cast(), rest.len(), offset))?;
        if got == 0 {
            break;
        }
        done += got as usize;
    }
    Ok(done)
}

/// Frees the pages of a range. It reads as zeros afterwards.
pub(crate) fn punch(fd: &OwnedFd, at: u64, bytes: u64) {
    let flags = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    let _ = syscall!(libc::fallocate(fd.as_raw_fd(), flags, at as libc::off_t, bytes as libc::off_t));
}

/// The number of bytes of memory that the file takes.
pub(crate) fn taken(fd: &OwnedFd) -> u64 {
    // SAFETY: plain data, for which zeros are valid.
    let mut data: libc::stat = unsafe { std::mem::zeroed() };
    syscall!(libc::fstat(fd.as_raw_fd(), &mut data)).map_or(0, |_: i32| data.st_blocks as u64 * 512)
}

/// Maps a part of a file, from a multiple of the page size on.
pub(crate) fn map_at(fd: &OwnedFd, at: u64, bytes: usize) -> Result<memmap2::MmapRaw, SegmentError> {
    Ok(memmap2::MmapOptions::new().offset(at).len(bytes).map_raw(fd)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_a_segment_is_final() {
        let fd = anonymous(8192, 0).unwrap();
        assert_eq!(accept(&fd), Ok(8192));
        let file = File::from(fd);
        assert_eq!(file.set_len(4096).unwrap_err().raw_os_error(), Some(libc::EPERM));
        assert_eq!(file.set_len(16384).unwrap_err().raw_os_error(), Some(libc::EPERM));
    }

    #[test]
    fn a_file_without_seals_is_refused() {
        let fd = create().unwrap();
        assert_eq!(accept(&fd), Err(SegmentError::NotASegment));
        let null = OwnedFd::from(File::open("/dev/null").unwrap());
        assert_eq!(accept(&null), Err(SegmentError::NotASegment));
    }

    #[test]
    fn what_is_behind_takes_memory_when_it_is_written_and_gives_it_back() {
        let far = 1 << 40;
        let fd = anonymous(4096, 2 * far).unwrap();
        assert_eq!(taken(&fd), 4096);
        write_at(&fd, far, b"hello").unwrap();
        let mut room = [0; 5];
        assert_eq!((read_at(&fd, far, &mut room).unwrap(), &room), (5, b"hello"));
        allocate_at(&fd, far + 8192, 8192).unwrap();
        assert_eq!(taken(&fd), 4 * 4096);
        punch(&fd, far, 16384);
        assert_eq!(taken(&fd), 4096);
        assert_eq!((read_at(&fd, far, &mut room).unwrap(), room), (5, [0; 5]));
        assert_eq!(write_at(&fd, u64::MAX - 2, b"hello"), Err(SegmentError::NoSpace));
    }

    #[test]
    fn more_than_there_is_is_an_error() {
        assert_eq!(anonymous(1 << 50, 0).unwrap_err(), SegmentError::NoSpace);
    }
}
