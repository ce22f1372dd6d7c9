//! Before `main`: a program that was executed again to be a fork server or a child is diverted here.
//!
//! A child that never reaches `main` lacks what std does before it. What matters of that is done here: descriptors 0 to
//! 2 are open, `SIGPIPE` is ignored, panics are caught. The constructors that would have run after ours run before user
//! code. Not done: the message at a stack overflow (the parent sees the signal).

use super::{child_main, fork_server, fork_server_client};
use crate::sys::image::{self, Start};
use crate::sys::spawn::{self, Role};
use crate::{SpawnError, segment};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;

/// The constructor, or `init`, ran in this process, so it would run in another one that executes the same program.
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

/// Makes this program one that can start processes, where the feature `auto` is off. Call it first in `main`.
///
/// It does not return in a process that was started to be a child. With `auto`, a constructor before `main` has done
/// this already, and this function does nothing.
///
/// It also prepares the program for a `fork` by other code. Without it, a thread that forks while another one makes the
/// first shared object gets a child that can make none.
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

/// Whether this program can be executed again without repeating all that it does.
pub(super) fn check() -> Result<(), SpawnError> {
    if image::is_privileged() {
        return Err(SpawnError::Privileged);
    }
    if !HOOKED.load(SeqCst) || spawn::has_role() {
        return Err(SpawnError::NotHooked);
    }
    Ok(())
}
