//! Named shared memory: files in `/dev/shm`.
//!
//! A file is created without a name (`O_TMPFILE`) and gets one when its content is complete (`linkat`): no process sees
//! half a segment, a second creator gets `EEXIST`, and a creator that is killed before that leaves nothing.
//!
//! A process that uses the file holds a shared `flock` on an open file of its own. A process that gets the exclusive
//! one is the last, and removes the name. To try for the exclusive one, to remove, and to become a user, each process
//! first takes a record lock on byte 0 (`F_OFD_SETLK`). So a refusal means that there is a user, never a process that
//! only tries and may be killed meanwhile. Under the record lock the name is checked to lead to this very file, so no
//! process removes a newer file of the same name. The kernel drops both kinds of lock when the process dies.

use super::{Deadline, memory, process_id, syscall};
use crate::SegmentError;
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

const FOLDER: &str = "/dev/shm";
const PREFIX: &str = "crossproc.";
/// How long other processes may block a lock that is only ever held for microseconds.
const PATIENCE: Duration = Duration::from_secs(2);

/// A checked name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    path: CString,
}

/// An open named file with a shared hold.
#[derive(Debug)]
pub(crate) struct NamedFile {
    file: File,
    name: Name,
}

impl Name {
    pub(crate) fn new(name: &str) -> Result<Self, SegmentError> {
        let fits = (1..=200).contains(&name.len()) && name != "." && name != "..";
        if !fits || name.contains(['\0', '/']) {
            return Err(SegmentError::InvalidName);
        }
        let path = CString::new(format!("{FOLDER}/{PREFIX}{name}")).map_err(|_| SegmentError::InvalidName)?;
        Ok(Name { path })
    }

    /// The name as the program knows it.
    pub(crate) fn as_str(&self) -> &str {
        let path = self.path.to_str().unwrap_or_default();
        &path[(FOLDER.len() + 1 + PREFIX.len()).min(path.len())..]
    }

    /// Opens the file for reading and writing. Follows no link, waits for no pipe.
    fn open(&self) -> Result<File, SegmentError> {
        let flags = libc::O_RDWR | libc::O_CLOEXEC | libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
        match syscall!(libc::open(self.path.as_ptr(), flags)) {
            // SAFETY: a new descriptor that nothing else owns.
            Ok(fd) => Ok(unsafe { File::from_raw_fd(fd) }),
            Err(error) => Err(match error.raw_os_error() {
                Some(libc::ENOENT) => SegmentError::NotFound,
                Some(libc::ELOOP | libc::EISDIR | libc::ENXIO | libc::ENODEV) => SegmentError::NotASegment,
                Some(libc::EACCES | libc::EPERM) => SegmentError::WrongOwner,
                _ => error.into(),
            }),
        }
    }

    /// Whether the name leads to this file.
    fn leads_to(&self, file: &File) -> bool {
        let (Ok(path), Ok(data)) = (self.path.to_str(), file.metadata()) else { return false };
        std::fs::symlink_metadata(path).is_ok_and(|found| (found.dev(), found.ino()) == (data.dev(), data.ino()))
    }
}

/// Creates a file of `bytes` zeros without a name, its pages allocated. [`publish`] names it.
pub(crate) fn unnamed(bytes: u64, mode: u32) -> Result<OwnedFd, SegmentError> {
    let folder = CString::new(FOLDER).map_err(|_| SegmentError::InvalidName)?;
    let flags = libc::O_TMPFILE | libc::O_RDWR | libc::O_CLOEXEC;
    let fd = syscall!(libc::open(folder.as_ptr(), flags, 0o600))?;
    // SAFETY: a new descriptor that nothing else owns.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    super::memory_limits::check(bytes)?;
    memory::set_size(&fd, bytes)?;
    memory::allocate(&fd, bytes)?;
    syscall!(libc::fchmod(fd.as_raw_fd(), mode))?; // independent of the umask
    Ok(fd)
}

/// Names the file, with a shared hold from the first moment. Returns the file if it cannot.
pub(crate) fn publish(fd: OwnedFd, name: &Name) -> Result<NamedFile, (OwnedFd, SegmentError)> {
    let file = File::from(fd);
    match hold(&file, libc::LOCK_SH).and_then(|()| link(&file, name)) {
        Ok(()) => Ok(NamedFile { file, name: name.clone() }),
        Err(error) => Err((file.into(), error)),
    }
}

fn link(file: &File, name: &Name) -> Result<(), SegmentError> {
    let from = proc_path(file.as_fd())?;
    let (here, to) = (libc::AT_FDCWD, name.path.as_ptr());
    match syscall!(libc::linkat(here, from.as_ptr(), here, to, libc::AT_SYMLINK_FOLLOW)) {
        Ok(_) => Ok(()),
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Err(SegmentError::AlreadyExists),
        Err(error) => Err(error.into()),
    }
}

fn proc_path(fd: BorrowedFd<'_>) -> Result<CString, SegmentError> {
    CString::new(format!("/proc/self/fd/{}", fd.as_raw_fd())).map_err(|_| SegmentError::InvalidName)
}

/// Decides by its first bytes whether a file that no process holds is kept.
pub(crate) type Stays = dyn Fn(&[u8]) -> bool;

/// Opens the file with this name, with a shared hold, after [`check_file`]. A file that no process holds and that is
/// not kept is garbage of killed processes: it is removed, and not found.
pub(crate) fn open(name: &Name, stays: &Stays) -> Result<NamedFile, SegmentError> {
    loop {
        let file = name.open()?;
        check_file(&file)?;
        let gate = Gate::enter(&file)?;
        // Between the open and the record lock the last user may have removed it.
        if file.metadata()?.nlink() == 0 {
            continue;
        }
        if is_unused(&file) && !stays(&head(&file)) {
            if gate.unlink(name)? {
                return Err(SegmentError::NotFound);
            }
            continue; // another file has the name by now
        }
        hold(&file, libc::LOCK_SH)?;
        drop(gate);
        return Ok(NamedFile { file, name: name.clone() });
    }
}

/// The first bytes of a file.
fn head(file: &File) -> Vec<u8> {
    use std::os::unix::fs::FileExt;
    let mut bytes = vec![0; 256];
    let length = file.read_at(&mut bytes, 0).unwrap_or(0);
    bytes.truncate(length);
    bytes
}

/// A regular file of this user whose pages all exist: a hole could be SIGBUS at the first touch.
fn check_file(file: &File) -> Result<(), SegmentError> {
    let data = file.metadata()?;
    if !data.is_file() {
        return Err(SegmentError::NotASegment);
    }
    if data.uid() != process_id::user() {
        return Err(SegmentError::WrongOwner);
    }
    if data.len() == 0 || data.blocks() * 512 < data.len() {
        return Err(SegmentError::NotASegment);
    }
    Ok(())
}

/// A `flock` that other processes hold for an instant at most, or permanently.
fn hold(file: &File, operation: libc::c_int) -> Result<(), SegmentError> {
    let start = Instant::now();
    loop {
        match syscall!(libc::flock(file.as_raw_fd(), operation | libc::LOCK_NB)) {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() != io::ErrorKind::WouldBlock || start.elapsed() > PATIENCE => {
                return Err(error.into());
            }
            Err(_) => std::thread::sleep(Duration::from_micros(50)),
        }
    }
}

fn is_unused(file: &File) -> bool {
    syscall!(libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB)).is_ok()
}

impl NamedFile {
    pub(crate) fn size(&self) -> Result<u64, SegmentError> {
        Ok(self.file.metadata()?.len())
    }

    /// Whether users other than the owner may write it.
    pub(crate) fn is_writable_by_others(&self) -> bool {
        self.file.metadata().is_ok_and(|data| data.mode() & 0o022 != 0)
    }

    pub(crate) fn name(&self) -> &Name {
        &self.name
    }

    /// The same file, opened again: with a shared hold of its own, which a duplicate would not have.
    pub(crate) fn reopen(&self) -> Result<Self, SegmentError> {
        reopen_any(self.file.as_fd(), &self.name)
    }

    /// Releases the hold, and removes the name if it was the last one anywhere. The file stays open.
    pub(crate) fn leave(&self) {
        if let Ok(gate) = Gate::enter(&self.file)
            && is_unused(&self.file)
        {
            let _ = gate.unlink(&self.name);
        }
    }

    pub(crate) fn map(&self, bytes: usize) -> Result<memmap2::MmapRaw, SegmentError> {
        memory::map(&self.file, bytes)
    }

    /// A descriptor to send, with a hold of its own: the name stays while the message is in flight, whatever the sender
    /// drops. The receiver opens the file again.
    pub(crate) fn descriptor(&self) -> Result<OwnedFd, SegmentError> {
        self.reopen().map(|again| again.file.into())
    }
}

/// Opens and holds the file of a descriptor that a peer sent. A descriptor from another process shares its open file
/// with it, holds included.
pub(crate) fn reopen(fd: &OwnedFd, name: &Name) -> Result<NamedFile, SegmentError> {
    reopen_any(fd.as_fd(), name)
}

fn reopen_any(fd: BorrowedFd<'_>, name: &Name) -> Result<NamedFile, SegmentError> {
    let path = proc_path(fd)?;
    let fd = syscall!(libc::open(path.as_ptr(), libc::O_RDWR | libc::O_CLOEXEC | libc::O_NONBLOCK))?;
    // SAFETY: a new descriptor that nothing else owns.
    let file = unsafe { File::from_raw_fd(fd) };
    check_file(&file)?;
    hold(&file, libc::LOCK_SH)?;
    Ok(NamedFile { file, name: name.clone() })
}

/// The right to test whether this file is in use, to remove its name, and to become a user: a record lock on its first
/// byte, released with the value or the process.
struct Gate<'a> {
    file: &'a File,
}

impl<'a> Gate<'a> {
    fn enter(file: &'a File) -> Result<Self, SegmentError> {
        let start = Instant::now();
        loop {
            match record_lock(file, libc::F_WRLCK) {
                Ok(()) => return Ok(Gate { file }),
                Err(error) => match error.raw_os_error() {
                    Some(libc::EAGAIN | libc::EACCES) if start.elapsed() < PATIENCE => {
                        std::thread::sleep(Duration::from_micros(50));
                    }
                    _ => return Err(error.into()),
                },
            }
        }
    }

    /// Removes the name, if it leads to this file. Returns whether it did.
    fn unlink(&self, name: &Name) -> Result<bool, SegmentError> {
        if !name.leads_to(self.file) {
            return Ok(false);
        }
        syscall!(libc::unlink(name.path.as_ptr()))?;
        Ok(true)
    }
}

impl Drop for Gate<'_> {
    fn drop(&mut self) {
        let _ = record_lock(self.file, libc::F_UNLCK);
    }
}

fn record_lock(file: &File, kind: libc::c_int) -> io::Result<()> {
    // SAFETY: flock is plain data, for which zeros are valid; pid must be 0.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock.l_len = 1;
    syscall!(libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &lock)).map(drop)
}

/// Removes the name for good, even if the file is in use.
pub(crate) fn remove(name: &Name) -> Result<(), SegmentError> {
    loop {
        let file = name.open()?;
        if file.metadata()?.uid() != process_id::user() {
            return Err(SegmentError::WrongOwner);
        }
        if Gate::enter(&file)?.unlink(name)? {
            return Ok(());
        }
    }
}

/// Like [`sweep`], for frequent callers. A look at each name costs some microseconds, so not every call looks if there
/// are many names: at most a twentieth of the time is spent on it.
pub(crate) fn sweep_now_and_then(stays: &Stays) {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    const QUICK: u64 = 500_000;
    let start = Deadline::now().as_nanos();
    if start < NEXT.load(Relaxed) {
        return;
    }
    sweep(stays);
    let end = Deadline::now().as_nanos();
    let took = end.saturating_sub(start);
    NEXT.store(if took < QUICK { 0 } else { end.saturating_add(took * 20) }, Relaxed);
}

/// Removes each of this user's files that no process holds and that is not kept.
pub(crate) fn sweep(stays: &Stays) {
    let Ok(entries) = std::fs::read_dir(FOLDER) else { return };
    for entry in entries.flatten() {
        let file_name = entry.file_name();
        if let Some(name) = file_name.to_str().and_then(|name| name.strip_prefix(PREFIX))
            && let Ok(name) = Name::new(name)
        {
            remove_unused(&name, stays);
        }
    }
}

/// Removes this name if no process holds its file and it is not kept. Returns whether it no longer leads where it led.
pub(crate) fn remove_unused(name: &Name, stays: &Stays) -> bool {
    let file = match name.open() {
        Ok(file) => file,
        Err(error) => return error == SegmentError::NotFound,
    };
    if check_file(&file).is_err() {
        return false;
    }
    let Ok(gate) = Gate::enter(&file) else { return false };
    if !name.leads_to(&file) {
        return true;
    }
    if !is_unused(&file) {
        return false;
    }
    if !stays(&head(&file)) {
        return gate.unlink(name).unwrap_or(false);
    }
    // Explicitly, not by the close: a child that another thread forks right now has this open file too.
    let _ = syscall!(libc::flock(file.as_raw_fd(), libc::LOCK_UN));
    false
}
