//! Life before `main`: a program that was executed anew to be a fork server or a child is diverted here.
//!
//! A child that never reaches `main` lacks what std does before it; what matters of that is done anew: descriptors 0 to 2 are
//! open, `SIGPIPE` is ignored, panics are caught. The constructors that would have run behind ours run before user code.
//! Not done: the message at a stack overflow (the parent sees the signal).

use super::{child_main, fork_server, fork_server_client};
use crate::sys::image::{self, Start};
use crate::sys::spawn::{self, Role};
use crate::{SpawnError, segment};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;

/// The hook ran in this process, so it would in one that executes the same program.
static HOOKED: AtomicBool = AtomicBool::new(false);

#[cfg(feature = "auto")]
image::before_main!(divert);

fn divert(start: Start) {
    if !start.is_in_program() {
        return;
    }
    HOOKED.store(true, SeqCst);
    segment::watch_forks();
    fork_server_client::watch_forks();
    if let Some((role, link)) = Role::take() {
        match role {
            Role::Server => fork_server::run(link, &start),
            Role::Child => child_main::executed(&link, &start),
        }
    }
}

/// Makes this program one that can start processes, where the feature `auto` is off: call it first in `main`.
///
/// In a process that was started to be a child it does not return. With `auto`, a constructor before `main` does the
/// same, and this does nothing.
///
/// It also prepares the program for `fork` by other code: without it, a thread that forks in the moment in which another
/// makes the first shared object gets a child that can make none.
///
/// ```
/// # fn main() -> crossproc::Result<()> {
/// crossproc::init();
/// let child = crossproc::Process::spawn(|a: u32, b: u32| a + b, (20, 22))?;
/// assert_eq!(child.join()?, 42);
/// # Ok(()) }
/// ```
pub fn init() {
    divert(Start::of_main());
}

/// Whether this program may execute itself anew without doing over again all that it does.
pub(super) fn check() -> Result<(), SpawnError> {
    if image::is_privileged() {
        return Err(SpawnError::Privileged);
    }
    if !HOOKED.load(SeqCst) || spawn::has_role() {
        return Err(SpawnError::NotHooked);
    }
    Ok(())
}
