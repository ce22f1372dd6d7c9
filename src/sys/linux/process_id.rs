//! Process ids: the current process, whether a process is alive, and in which namespace.
//!
//! A pid alone does not identify a process, since pids are reused. A pid with the start time does.

use crate::sys::RaceOnce;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// A process: its pid and its start time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProcessId {
    pub(crate) pid: u32,
    /// In clock ticks since the system started, as in `/proc/PID/stat`; 0 where `/proc` is missing.
    pub(crate) start: u64,
}

// The pid first: 0 means "look it up", as in a fork child.
static PID: AtomicU32 = AtomicU32::new(0);
static START: AtomicU64 = AtomicU64::new(0);

impl ProcessId {
    pub(crate) fn current() -> Self {
        let pid = PID.load(Ordering::Acquire);
        if pid != 0 {
            return ProcessId { pid, start: START.load(Ordering::Relaxed) };
        }
        let pid = std::process::id();
        let start = if let StartTime::At(start) = start_of(pid) { start } else { 0 };
        START.store(start, Ordering::Relaxed);
        PID.store(pid, Ordering::Release);
        ProcessId { pid, start }
    }

    /// Whether the process runs (a zombie does not). Where the system does not say, it does.
    pub(crate) fn is_alive(self) -> bool {
        exists(self.pid)
            && match start_of(self.pid) {
                StartTime::Gone => false,
                StartTime::Unknown => true,
                StartTime::At(start) => self.start == 0 || start == self.start,
            }
    }

    /// Whether the process has this thread.
    pub(crate) fn has_thread(self, tid: u32) -> bool {
        use std::path::Path;
        Path::new(&format!("/proc/{}/task/{tid}", self.pid)).exists() || !Path::new("/proc/self").exists()
    }
}

impl ProcessId {
    /// The process as one word: its pid, and the low half of its start time. Never 0.
    pub(crate) fn tag(self) -> u64 {
        u64::from(self.pid) | self.start << 32
    }
}

/// Whether the process with this [`ProcessId::tag`] runs.
pub(crate) fn tag_is_alive(tag: u64) -> bool {
    let pid = tag as u32;
    exists(pid)
        && match start_of(pid) {
            StartTime::Gone => false,
            StartTime::Unknown => true,
            // 0: the start time was unknown when the tag was made.
            StartTime::At(start) => tag >> 32 == 0 || start as u32 == (tag >> 32) as u32,
        }
}

/// The child that this thread forked last and that is not reaped yet, where the system says.
pub(crate) fn newest_child() -> Option<u32> {
    let children = std::fs::read_to_string("/proc/thread-self/children").ok()?;
    children.split_ascii_whitespace().next_back()?.parse().ok()
}

/// The [`ProcessId::tag`] of a child; an error if it has ended, `None` where the system does not say.
pub(crate) fn tag_of_child(pid: u32) -> Result<Option<u64>, Ended> {
    match start_of(pid) {
        StartTime::At(start) => Ok(Some(ProcessId { pid, start }.tag())),
        StartTime::Gone => Err(Ended),
        StartTime::Unknown => Ok(None),
    }
}

/// The process has ended.
#[derive(Debug)]
pub(crate) struct Ended;

/// A process that is checked many times, by one system call each: the open file refers to this very process, also after
/// its pid was reused.
#[derive(Debug)]
pub(crate) struct ProcessWatch {
    process: ProcessId,
    stat: Option<std::fs::File>,
}

impl ProcessWatch {
    pub(crate) fn new(process: ProcessId) -> Self {
        let stat = std::fs::File::open(format!("/proc/{}/stat", process.pid)).ok();
        ProcessWatch { process, stat }
    }

    pub(crate) fn is_alive(&self) -> bool {
        let Some(stat) = &self.stat else { return self.process.is_alive() };
        match read_start(stat) {
            Ok(start) => start.is_some_and(|start| self.process.start == 0 || start == self.process.start),
            Err(error) => error.raw_os_error() != Some(libc::ESRCH),
        }
    }
}

/// Whether this number is that of a process or thread that is not reaped yet. One system call.
pub(crate) fn exists(pid: u32) -> bool {
    if pid == 0 || pid > i32::MAX as u32 {
        return false;
    }
    // SAFETY: no pointers; signal 0 sends nothing.
    let answer = unsafe { libc::kill(pid as i32, 0) };
    answer == 0 || std::io::Error::last_os_error().raw_os_error() != Some(libc::ESRCH)
}

enum StartTime {
    At(u64),
    /// It has ended, or is a zombie.
    Gone,
    /// There is no `/proc`.
    Unknown,
}

fn start_of(pid: u32) -> StartTime {
    match std::fs::File::open(format!("/proc/{pid}/stat")).and_then(|stat| read_start(&stat)) {
        Ok(start) => start.map_or(StartTime::Gone, StartTime::At),
        Err(_) if exists(pid) => StartTime::Unknown,
        Err(_) => StartTime::Gone,
    }
}

/// One read: the system generates the whole line for each. The fields that matter are in its first 512 bytes.
fn read_start(stat: &std::fs::File) -> std::io::Result<Option<u64>> {
    use std::os::unix::fs::FileExt;
    let mut line = [0; 512];
    let length = stat.read_at(&mut line, 0)?;
    Ok(parse_start(&line[..length]))
}

/// Field 22 of the line, counted after the name, which may contain anything; `None` for a zombie. A first thread that
/// ended before the others looks like one, except for the number of threads in field 20.
fn parse_start(stat: &[u8]) -> Option<u64> {
    let name_end = stat.iter().rposition(|byte| *byte == b')')?;
    // The line may be cut off, but all of it after the name is ASCII.
    let mut fields = str::from_utf8(&stat[name_end + 1..]).ok()?.split_ascii_whitespace();
    let ended = matches!(fields.next()?, "Z" | "X");
    let threads: u32 = fields.nth(16)?.parse().ok()?;
    if ended && threads <= 1 {
        return None;
    }
    fields.nth(1)?.parse().ok()
}

/// The PID namespace, by device and inode.
pub(crate) fn pid_namespace() -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;
    // Not cached: a process may change the namespace of its children, and a child must see its own.
    std::fs::metadata("/proc/self/ns/pid").map_or((0, 0), |data| (data.dev(), data.ino()))
}

/// A number that changes with each start of the system; 0 where the system has none. A failed read for want of a
/// descriptor is an error: a wrong number would refuse all other programs for good.
pub(crate) fn boot_id() -> std::io::Result<u128> {
    use std::io::ErrorKind::{NotFound, PermissionDenied};
    static BOOT: RaceOnce<u128> = RaceOnce::new();
    if let Some(boot) = BOOT.get() {
        return Ok(*boot);
    }
    let text = match std::fs::read_to_string("/proc/sys/kernel/random/boot_id") {
        Err(error) if !matches!(error.kind(), NotFound | PermissionDenied) => return Err(error),
        text => text.unwrap_or_default(),
    };
    Ok(*BOOT.get_or_keep(|| u128::from_str_radix(&text.trim().replace('-', ""), 16).unwrap_or(0)))
}

/// A unique random number.
pub(crate) fn random_id() -> u128 {
    let mut bytes = [0_u8; 16];
    // SAFETY: the kernel fills at most 16 bytes of a buffer of 16.
    let got = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    if got == bytes.len() as isize {
        return u128::from_ne_bytes(bytes);
    }
    // An old kernel early after its start: still unique, if not secret.
    static COUNT: AtomicU64 = AtomicU64::new(1);
    let process = ProcessId::current();
    (u128::from(process.start) << 96)
        | (u128::from(process.pid) << 64)
        | u128::from(COUNT.fetch_add(1, Ordering::Relaxed))
}

pub(crate) fn user() -> u32 {
    // SAFETY: no arguments.
    unsafe { libc::geteuid() }
}

/// The number of processors that the system runs. Not the number that this process may use, since the process that it
/// waits for may use others.
pub(crate) fn cores() -> usize {
    static CORES: RaceOnce<usize> = RaceOnce::new();
    // SAFETY: no pointers.
    *CORES.get_or_keep(|| usize::try_from(unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) }).unwrap_or(1))
}

/// Runs in a fork child, and in a process that a raw `clone` made: the current process is looked up again.
pub(super) fn forget() {
    PID.store(0, Ordering::Release);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_named_by_number_and_start() {
        let me = ProcessId::current();
        assert!(me.start > 0 && me.is_alive());
        assert!(me.has_thread(me.pid));
        assert!(!ProcessId { start: me.start + 1, ..me }.is_alive(), "the number is used again by another");
        assert!(!ProcessId { pid: 0x3fff_fff0, start: 1 }.is_alive());
    }

    #[test]
    fn the_start_time_is_found_behind_any_name() {
        let line =
            |state, threads| format!("5 (a) b) {state} 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 {threads} 21 4711 23");
        assert_eq!(parse_start(line('S', 1).as_bytes()), Some(4711));
        assert_eq!(parse_start(line('Z', 1).as_bytes()), None);
        assert_eq!(parse_start(line('Z', 2).as_bytes()), Some(4711), "the first thread has ended, the process has not");
        assert_eq!(parse_start(b""), None);
    }

    #[test]
    fn a_name_that_the_system_cuts_inside_a_letter_hides_nothing() {
        std::thread::spawn(|| {
            crate::sys::spawn::set_name("a中文名字进程");
            // SAFETY: no arguments.
            let thread = unsafe { libc::gettid() } as u32;
            assert!(matches!(start_of(thread), StartTime::At(start) if start > 0));
        })
        .join()
        .unwrap();
    }
}
