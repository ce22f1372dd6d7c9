//! What a process has around it: what a child gets from its caller at the spawn, and what a fork server cannot change any
//! more once it runs.

use super::syscall;
use serde::{Deserialize, Serialize};
use std::ffi::{CStr, c_char};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

/// What a child gets from its caller, beside descriptors and environment.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings {
    umask: u32,
    /// Soft and hard, by the kernel's numbers.
    limits: [(u64, u64); LIMITS],
    affinity: Vec<u64>,
    group: i32,
    nice: i32,
}

/// What of this a child does not have from its server.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Changes {
    umask: u32,
    limits: Vec<(u32, (u64, u64))>,
    affinity: Option<Vec<u64>>,
    group: i32,
    nice: Option<i32>,
}

/// Who a process is: what none but a new process can take over. Compared as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    text: String,
}

const LIMITS: usize = 16;
/// Bits for that many processors.
const PROCESSORS: usize = 4096;
const NAMESPACES: [&CStr; 7] = [c"mnt", c"net", c"ipc", c"uts", c"user", c"cgroup", c"pid_for_children"];

impl Surroundings {
    /// Those of the calling thread, and its standing.
    pub(crate) fn now() -> io::Result<(Self, Standing)> {
        let status = read_small(c"/proc/thread-self/status")?;
        let umask = line(&status, "Umask:").and_then(|text| u32::from_str_radix(text, 8).ok()).unwrap_or(0o022);
        let limits = std::array::from_fn(|resource| limit(resource as u32));
        let surroundings = Surroundings { umask, limits, affinity: affinity(), group: group(), nice: nice() };
        Ok((surroundings, Standing::of(&status)?))
    }

    /// Compared with the surroundings of the process that started the server, when it did; all, if there is no server.
    pub(crate) fn changes(self, since: Option<&Self>) -> Changes {
        let differs = |resource: usize| {
            let (soft, hard) = self.limits[resource];
            // A server has as many descriptors as it can.
            let raised = resource == libc::RLIMIT_NOFILE as usize && soft != hard;
            raised || since.is_none_or(|since| since.limits[resource] != self.limits[resource])
        };
        let limits = (0..LIMITS).filter(|at| differs(*at)).map(|at| (at as u32, self.limits[at])).collect();
        let affinity = since.is_none_or(|since| since.affinity != self.affinity).then_some(self.affinity);
        let nice = since.is_none_or(|since| since.nice != self.nice).then_some(self.nice);
        Changes { umask: self.umask, limits, affinity, group: self.group, nice }
    }
}

impl Changes {
    /// In a child.
    pub(crate) fn apply(&self) -> io::Result<()> {
        // SAFETY: no pointers.
        unsafe {
            libc::umask(self.umask as libc::mode_t);
            // A group that ended meanwhile cannot be joined: then the child has one of its own.
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

/// How many processes the user of this process may have, as far as this one may make them.
pub(crate) fn process_limit() -> (u64, u64) {
    limit(libc::RLIMIT_NPROC as u32)
}

/// Has another process of ours make no more processes than this one may.
pub(crate) fn set_process_limit(pid: u32, limit: (u64, u64)) {
    let _ = set_limit(pid, libc::RLIMIT_NPROC as u32, limit);
}

/// In a server: as many descriptors as the system allows.
pub(super) fn raise_descriptor_limit() {
    let (_, hard) = limit(libc::RLIMIT_NOFILE as u32);
    let _ = set_limit(0, libc::RLIMIT_NOFILE as u32, (hard, hard));
}

impl Standing {
    /// Users, groups, capabilities, filters; session; namespaces, root and cgroup.
    fn of(status: &str) -> io::Result<Self> {
        const LINES: [&str; 8] =
            ["Uid:", "Gid:", "Groups:", "CapInh:", "CapPrm:", "CapBnd:", "CapAmb:", "NoNewPrivs:"];
        const FILTERS: [&str; 2] = ["Seccomp:", "Seccomp_filters:"];
        let mut text = String::with_capacity(1024);
        for name in LINES.iter().chain(&FILTERS) {
            text += line(status, name).unwrap_or("");
            text.push('\n');
        }
        let folder = open_folder(c"/proc/thread-self/ns")?;
        for name in NAMESPACES {
            let mut link = [0_u8; 64];
            // SAFETY: a valid name, and a buffer of that size.
            let length = unsafe {
                libc::readlinkat(folder.as_raw_fd(), name.as_ptr(), link.as_mut_ptr().cast(), link.len())
            };
            text.push_str(&String::from_utf8_lossy(&link[..length.max(0) as usize]));
            text.push('\n');
        }
        text += &read_small(c"/proc/thread-self/cgroup").unwrap_or_default();
        use std::os::unix::fs::MetadataExt;
        let root = std::fs::metadata("/")?;
        // SAFETY: a number in, a number out.
        let session = unsafe { libc::getsid(0) };
        text += &format!("{session} {} {}", root.dev(), root.ino());
        Ok(Standing { text })
    }
}

/// A file of `/proc`, which is written anew at each open: in one read, unless it is long.
fn read_small(path: &CStr) -> io::Result<String> {
    let fd = syscall!(libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC))?;
    // SAFETY: a fresh descriptor that nobody else owns.
    let mut file = std::fs::File::from(unsafe { OwnedFd::from_raw_fd(fd) });
    let mut bytes = vec![0; 4096];
    let mut length = 0;
    loop {
        match file.read(&mut bytes[length..])? {
            0 => break,
            got => length += got,
        }
        if length < bytes.len() {
            break;
        }
        bytes.resize(2 * length, 0);
    }
    bytes.truncate(length);
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// What stands behind a name at the begin of a line.
fn line<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
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

/// The working folder of the caller.
pub(crate) fn working_folder() -> io::Result<OwnedFd> {
    open_folder(c".")
}

/// In a child: works there from now on.
pub(crate) fn enter_folder(folder: &OwnedFd) -> io::Result<()> {
    syscall!(libc::fchdir(folder.as_raw_fd())).map(drop)
}

fn open_folder(path: &CStr) -> io::Result<OwnedFd> {
    let fd = syscall!(libc::open(path.as_ptr(), libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC))?;
    // SAFETY: a fresh descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The environment of this process, with some variables set otherwise, as one block of `NAME=VALUE` and NUL.
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

/// In a child with one thread: replaces the environment.
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

/// Whether a variable may have this name and value.
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
    fn the_standing_is_the_same_until_something_changes() {
        let (surroundings, standing) = Surroundings::now().unwrap();
        assert_eq!(Surroundings::now().unwrap().1, standing);
        assert!(!surroundings.affinity.is_empty() && surroundings.limits.len() == 16);
        assert!(standing.text.contains("mnt:["), "{standing:?}");
    }
}
