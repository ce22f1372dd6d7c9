//! Parts of tests that need root or a feature that not every system has: one that cannot run is reported and counted.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::SeqCst;

/// Another user, for root to become.
pub const NOBODY: u32 = 65534;
/// The exit code of a role that could not get what it needs.
pub const NOT_RUN: i32 = 77;

static MISSING: AtomicU32 = AtomicU32::new(0);

/// Reports that a part of a test could not run, with the number of such parts in this program.
pub fn could_not_run(part: &str, why: &str) {
    let count = MISSING.fetch_add(1, SeqCst) + 1;
    super::say(&format!("\n*** COULD NOT RUN: {part}: {why} (parts not run in this program: {count}) ***\n"));
}

pub fn is_root() -> bool {
    // SAFETY: no arguments.
    unsafe { libc::geteuid() == 0 }
}

/// Becomes another user permanently.
pub fn become_nobody() {
    // SAFETY: no pointers.
    let answer = unsafe { libc::setresuid(NOBODY, NOBODY, NOBODY) };
    assert_eq!(answer, 0, "setresuid: {}", std::io::Error::last_os_error());
}

/// Moves this process into new namespaces. Returns false if the system refuses.
pub fn unshare(flags: i32) -> bool {
    // SAFETY: no pointers.
    unsafe { libc::unshare(flags) == 0 }
}
