//! The attributes of a process: what a child gets from its caller at the spawn, and the credentials that a running fork
//! server cannot change.

use super::syscall;
use serde::{Deserialize, Serialize};
use std::ffi::{CStr, c_char};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;

/// What a child gets from its caller, beside descriptors and environment.
#[derive(Clone, Debug)]
pub(crate) struct Attributes {
    umask: u32,
    /// Soft and hard limits, by the kernel's numbers.
    limits: [(u64, u64); LIMITS],
    affinity: Vec<u64>,
    group: i32,
    nice: i32,
}

/// The attributes that a child does not have from its server.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Changes {
    umask: u32,
    limits: Vec<(u32, (u64, u64))>,
    affinity: Option<Vec<u64>>,
    group: i32,
    nice: Option<i32>,
}

/// The credentials that only a new process can take over. Compared as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Credentials {
    text: Vec<u8>,
}

const LIMITS: usize = 16;
const PROCESSES: u32 = libc::RLIMIT_NPROC as _;
const DESCRIPTORS: u32 = libc::RLIMIT_NOFILE as _;
const FOLDER: libc::c_int = libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC;
/// A bit for each processor.
const PROCESSORS: usize = 4096;
const NAMESPACES: [&CStr; 7] = [c"mnt", c"net", c"ipc", c"uts", c"user", c"cgroup", c"pid_for_children"];

/// The files of one thread in `/proc`, kept open: opening costs more than reading.
#[derive(Debug)]
pub(crate) struct ProcReader {
    thread: i32,
    status: OwnedFd,
    cgroup: Option<OwnedFd>,
    namespaces: OwnedFd,
    bytes: Vec<u8>,
}

impl ProcReader {
    /// The reader of the calling thread: this one, if it is that.
    pub(crate) fn of_this_thread(reader: &mut Option<Self>) -> io::Result<&mut Self> {
        // SAFETY: no arguments.
        let thread = unsafe { libc::gettid() };
        if reader.as_ref().is_none_or(|reader| reader.thread != thread) {
            let file = libc::O_RDONLY | libc::O_CLOEXEC;
            *reader = Some(ProcReader {
                thread,
                status: open(c"/proc/thread-self/status", file)?,
                cgroup: open(c"/proc/thread-self/cgroup", file).ok(),
                namespaces: open(c"/proc/thread-self/ns", FOLDER)?,
                bytes: vec![0; 4096],
            });
        }
        reader.as_mut().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Reads the attributes of the thread, and its credentials.
    pub(crate) fn read(&mut self) -> io::Result<(Attributes, Credentials)> {
        let mut text = Vec::with_capacity(1024);
        let mut umask = 0o022;
        read_whole(&self.status, &mut self.bytes)?;
        for line in self.bytes.split(|byte| *byte == b'\n') {
            match line {
                [b'U', b'm', b'a', b's', b'k', b':', rest @ ..] => umask = parse_octal(rest).unwrap_or(umask),
                // Uid, Gid, Groups, Cap*, NoNewPrivs, Seccomp*: the thread's identity and rights.
                [b'U', b'i', ..] | [b'G', ..] | [b'C', b'a', ..] | [b'N', b'o', ..] | [b'S', b'e', ..] => {
                    text.extend_from_slice(line);
                    text.push(b'\n');
                }
                _ => {}
            }
        }
        for name in NAMESPACES {
            let mut link = [0_u8; 64];
            let folder = self.namespaces.as_raw_fd();
            // SAFETY: a valid name, and a buffer of that size.
            let length = unsafe { libc::readlinkat(folder, name.as_ptr(), link.as_mut_ptr().cast(), link.len()) };
            text.extend_from_slice(&link[..length.max(0) as usize]);
        }
        if let Some(cgroup) = &self.cgroup {
            read_whole(cgroup, &mut self.bytes)?;
            text.extend_from_slice(&self.bytes);
        }
        let root = std::fs::metadata("/")?;
        // SAFETY: no pointers.
        let session = unsafe { libc::getsid(0) } as u64;
        for number in [session, root.dev(), root.ino()] {
            text.extend_from_slice(&number.to_ne_bytes());
        }
        let limits = std::array::from_fn(|resource| limit(resource as u32));
        let attributes = Attributes { umask, limits, affinity: affinity(), group: group(), nice: nice() };
        Ok((attributes, Credentials { text }))
    }
}

/// Reads a file of `/proc` from its start, which generates it again.
fn read_whole(file: &OwnedFd, bytes: &mut Vec<u8>) -> io::Result<()> {
    bytes.resize(bytes.capacity(), 0);
    loop {
        let room = bytes.len();
        let got = syscall!(libc::pread(file.as_raw_fd(), bytes.as_mut_ptr().cast(), room, 0))? as usize;
        if got < room {
            bytes.truncate(got);
            return Ok(());
        }
        bytes.resize(2 * room, 0);
    }
}

fn parse_octal(text: &[u8]) -> Option<u32> {
    u32::from_str_radix(std::str::from_utf8(text).ok()?.trim(), 8).ok()
}

impl Attributes {
    /// The differences from the attributes of the process that started the server, at that time; everything, if there
    /// is no server.
    pub(crate) fn changes(self, since: Option<&Self>) -> Changes {
        let differs = |resource: usize| {
            let (soft, hard) = self.limits[resource];
            // A server has as many descriptors as it can.
            let raised = resource == DESCRIPTORS as usize && soft != hard;
            raised || since.is_none_or(|since| since.limits[resource] != self.limits[resource])
        };
        let limits = (0..LIMITS).filter(|at| differs(*at)).map(|at| (at as u32, self.limits[at])).collect();
        let affinity = since.is_none_or(|since| since.affinity != self.affinity).then_some(self.affinity);
        let nice = since.is_none_or(|since| since.nice != self.nice).then_some(self.nice);
        Changes { umask: self.umask, limits, affinity, group: self.group, nice }
    }
}

impl Changes {
    /// Applies them, in a child.
    pub(crate) fn apply(&self) -> io::Result<()> {
        // SAFETY: no pointers.
        unsafe {
            libc::umask(self.umask as libc::mode_t);
            // A group that has ended cannot be joined: the child then gets one of its own.
            if libc::setpgid(0, self.group) == -1 && group() != self.group {
                libc::setpgid(0, 0);
            }
            if let Some(nice) = self.nice {
                libc::setpriority(libc::PRIO_PROCESS, 0, nice);
            }
        }
        if let Some(affinity) = &self.affinity {
            let size = size_of_val(affinity.as_slice());
            syscall!(libc::sched_setaffinity(0, size, affinity.as_ptr().cast()))?;
        }
        for (resource, wanted) in &self.limits {
            if limit(*resource) != *wanted {
                set_limit(0, *resource, *wanted)?;
            }
        }
        Ok(())
    }
}

/// The process limit of this process's user.
pub(crate) fn process_limit() -> (u64, u64) {
    limit(PROCESSES)
}

/// Gives another process of this user the same process limit.
pub(crate) fn set_process_limit(pid: u32, limit: (u64, u64)) {
    let _ = set_limit(pid, PROCESSES, limit);
}

/// For a server: as many descriptors as the system allows.
pub(super) fn raise_descriptor_limit() {
    let (_, hard) = limit(DESCRIPTORS);
    let _ = set_limit(0, DESCRIPTORS, (hard, hard));
}

fn limit(resource: u32) -> (u64, u64) {
    let mut limit = libc::rlimit64 { rlim_cur: libc::RLIM64_INFINITY, rlim_max: libc::RLIM64_INFINITY };
    let _ = syscall!(libc::prlimit64(0, resource as _, std::ptr::null(), &mut limit));
    (limit.rlim_cur, limit.rlim_max)
}

fn set_limit(pid: u32, resource: u32, (soft, hard): (u64, u64)) -> io::Result<()> {
    let limit = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    syscall!(libc::prlimit64(pid as libc::pid_t, resource as _, &limit, std::ptr::null_mut())).map(drop)
}

fn affinity() -> Vec<u64> {
    let mut mask = [0_u64; PROCESSORS / 64];
    // SAFETY: a mask of that size.
    let got = unsafe { libc::sched_getaffinity(0, size_of_val(&mask), mask.as_mut_ptr().cast()) };
    let words = if got == 0 { mask.iter().rposition(|word| *word != 0).map_or(0, |last| last + 1) } else { 0 };
    mask[..words].to_vec()
}

fn group() -> i32 {
    // SAFETY: no arguments.
    unsafe { libc::getpgrp() }
}

fn nice() -> i32 {
    // SAFETY: no pointers.
    unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }
}

/// The working directory of the caller.
pub(crate) fn working_folder() -> io::Result<OwnedFd> {
    open(c".", FOLDER)
}

/// Changes the working directory, in a child.
pub(crate) fn enter_folder(folder: &OwnedFd) -> io::Result<()> {
    syscall!(libc::fchdir(folder.as_raw_fd())).map(drop)
}

fn open(path: &CStr, flags: libc::c_int) -> io::Result<OwnedFd> {
    let fd = syscall!(libc::open(path.as_ptr(), flags))?;
    // SAFETY: a new descriptor that nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The environment of this process, with some variables changed, as one block of `NAME=VALUE` and NUL.
pub(crate) fn environment(changes: &[(std::ffi::OsString, std::ffi::OsString)]) -> Vec<u8> {
    let mut block = Vec::with_capacity(4096);
    let mut push = |name: &std::ffi::OsStr, value: &std::ffi::OsStr| {
        block.extend_from_slice(name.as_bytes());
        block.push(b'=');
        block.extend_from_slice(value.as_bytes());
        block.push(0);
    };
    for (name, value) in std::env::vars_os() {
        if !changes.iter().any(|(changed, _)| *changed == name) {
            push(&name, &value);
        }
    }
    for (at, (name, value)) in changes.iter().enumerate() {
        if !changes[at + 1..].iter().any(|(later, _)| later == name) {
            push(name, value);
        }
    }
    block
}

/// Replaces the environment, in a child with one thread.
pub(crate) fn set_environment(block: &[u8]) {
    unsafe extern "C" {
        static mut environ: *const *const c_char;
    }
    // Both live as long as the process: strings of an environment are never freed.
    let block: &'static [u8] = block.to_vec().leak();
    let strings = block.split_inclusive(|byte| *byte == 0).map(|string| string.as_ptr().cast::<c_char>());
    let strings: Vec<*const c_char> = strings.chain([std::ptr::null()]).collect();
    // SAFETY: no other thread runs that could read it; every string ends with a NUL, the list with null.
    unsafe { environ = strings.leak().as_ptr() };
}

/// Checks that a variable may have this name and value.
pub(crate) fn check_variable(name: &std::ffi::OsStr, value: &std::ffi::OsStr) -> io::Result<()> {
    let (name, value) = (name.as_bytes(), value.as_bytes());
    if name.is_empty() || name.contains(&b'=') || name.contains(&0) || value.contains(&0) {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_change_of_a_variable_counts() {
        let change = |name: &str, value: &str| (name.into(), value.into());
        let block = environment(&[change("CROSSPROC_A", "1"), change("CROSSPROC_A", "2"), change("PATH", "x")]);
        let text = String::from_utf8_lossy(&block).into_owned();
        let mut lines: Vec<&str> = text.split('\0').collect();
        lines.retain(|line| line.starts_with("CROSSPROC_A=") || line.starts_with("PATH="));
        lines.sort_unstable();
        assert_eq!(lines, ["CROSSPROC_A=2", "PATH=x"]);
    }

    #[test]
    fn credentials_are_the_same_until_something_changes() {
        let mut reader = None;
        let mut read = || ProcReader::of_this_thread(&mut reader).unwrap().read().unwrap();
        let (attributes, credentials) = read();
        assert_eq!(read().1, credentials);
        assert!(!attributes.affinity.is_empty() && attributes.limits.len() == 16);
        let text = String::from_utf8_lossy(&credentials.text);
        assert!(
            ["Uid:", "Groups:", "CapEff:", "NoNewPrivs:", "Seccomp:", "mnt:["].iter().all(|part| text.contains(part))
        );
        // SAFETY: no pointers; this test's process has its own umask back at once.
        let umask = unsafe { libc::umask(0o077) };
        let changed = read().0.umask;
        // SAFETY: no pointers.
        unsafe { libc::umask(umask) };
        assert_eq!((changed, read().0.umask), (0o077, umask as u32));
    }
}
