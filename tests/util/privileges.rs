//! Parts of tests that need root or a feature that not every system has: one that cannot run is reported and counted.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::SeqCst;

/// A user that is not us, for root to become.
pub const NOBODY: u32 = 65534;
/// The exit code of a process that could not get what it needs.
pub const NOT_RUN: i32 = 77;

static MISSING: AtomicU32 = AtomicU32::new(0);

/// Says that a part of a test could not run, and how many that makes in this program.
pub fn could_not_run(part: &str, why: &str) {
    let count = MISSING.fetch_add(1, SeqCst) + 1;
    super::say(&format!("\n*** COULD NOT RUN: {part}: {why} (parts not run in this program: {count}) ***\n"));
}

pub fn is_root() -> bool {
    // SAFETY: no arguments.
    unsafe { libc::geteuid() == 0 }
}

/// Becomes another user for good.
pub fn become_nobody() {
    // SAFETY: no pointers.
    let answer = unsafe { libc::setresuid(NOBODY, NOBODY, NOBODY) };
    assert_eq!(answer, 0, "setresuid: {}", std::io::Error::last_os_error());
}

/// A namespace of one's own; false where the system refuses.
pub fn unshare(flags: i32) -> bool {
    // SAFETY: no pointers.
    unsafe { libc::unshare(flags) == 0 }
}
