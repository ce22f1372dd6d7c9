//! What procfs says about a thread: the system call it is in, and whether it sleeps there.
//!
//! `/proc/ID/task/ID/syscall` holds the call number, its arguments, the stack pointer and the
//! address of the next instruction; it needs no register access and is the same everywhere.

use std::io::ErrorKind;
use std::thread;
use std::time::{Duration, Instant};

use super::tracer::REMEDY;

/// A thread that is off the processor, stopped or asleep.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sighting {
    /// The system call it is in, or whose end it was stopped at.
    pub call: Option<i64>,
    /// The next instruction.
    pub address: u64,
}

impl Sighting {
    fn parse(text: &str) -> Option<Self> {
        let number: i64 = text.split_whitespace().next()?.parse().ok()?;
        let address = text.split_whitespace().next_back()?.strip_prefix("0x")?;
        Some(Self { call: (number >= 0).then_some(number), address: u64::from_str_radix(address, 16).ok()? })
    }

    /// A futex wait, also one that was resumed after a stop by a signal.
    pub fn in_futex(&self) -> bool {
        const WAITS: [i64; 3] = [libc::SYS_futex, libc::SYS_futex_waitv, libc::SYS_restart_syscall];
        self.call.is_some_and(|number| WAITS.contains(&number))
    }
}

/// Where thread `id` is, or `None` while it runs (or is gone).
pub(super) fn sight(id: i32) -> Option<Sighting> {
    Sighting::parse(&read(id, "syscall")?)
}

/// The state letter of thread `id`: R, S, D, T, t, Z or X.
pub(super) fn state(id: i32) -> char {
    let stat = read(id, "stat").unwrap_or_default();
    let after_name = stat.rsplit(") ").next().unwrap_or_default();
    after_name.chars().next().unwrap_or('X')
}

/// Whether the process (its main thread) or thread `id` sleeps in a futex wait.
///
/// One that is stopped by a signal or by its tracer is not asleep: it has left the wait queue.
pub fn asleep(id: i32) -> bool {
    sight(id).is_some_and(|s| s.in_futex()) && state(id) == 'S'
}

/// Waits until [`asleep`]; false if `limit` passes first.
#[must_use]
pub fn until_asleep(id: i32, limit: Duration) -> bool {
    let begun = Instant::now();
    while !asleep(id) {
        let waited = begun.elapsed();
        if waited > limit {
            return false;
        }
        pause_a_little(waited);
    }
    true
}

/// Between two looks: yields the processor at first, and sleeps when the event is late.
pub(super) fn pause_a_little(waited: Duration) {
    if waited < Duration::from_millis(1) {
        thread::yield_now();
    } else {
        thread::sleep(Duration::from_micros(50));
    }
}

fn read(id: i32, file: &str) -> Option<String> {
    match std::fs::read_to_string(format!("/proc/{id}/task/{id}/{file}")) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            panic!("/proc/{id}/task/{id}/{file}: {error}\n{REMEDY}")
        }
        Err(_) => None,
    }
}
