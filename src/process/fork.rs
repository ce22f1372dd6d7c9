//! `fork`: a child with a copy of all that this process has.
#![allow(unsafe_code)] // the caller's promise

use super::child_record::Life;
use super::current::{self, Me};
use super::handle::Process;
use super::reexec::own_child;
use super::{child_main, fork_server_client, registry};
use crate::entry::CallError;
use crate::segment::transfer;
use crate::sys::spawn;
use crate::{Message, SpawnError};
use std::sync::Arc;

/// Runs `f`, captures and all, in a child that is a copy of this process, as Python's start method `fork` does.
///
/// The child has this thread alone. It takes as long as it takes to copy this process's page tables. It ends behind `f`
/// without running the exit functions that were registered before.
///
/// # Safety
/// In a process with other threads, whatever one of them had locked at this moment stays locked in the child for ever: the
/// allocator of the C library is prepared for that, and so is this crate, other code may not be. `f` may then call only
/// what takes no such lock.
///
/// # Errors
/// [`DaemonChild`](SpawnError::DaemonChild), or what the system says.
///
/// # When a process dies
/// As for [`Process`]. No guard of this process is the child's: locks that this process holds stay its own.
///
/// ```
/// let captured = vec![1, 2, 3];
/// // SAFETY: this program has no other thread.
/// let child = unsafe { crossproc::fork(|| captured.iter().sum::<i32>()) }?;
/// assert_eq!(child.join()?, 6);
/// # Ok::<(), crossproc::Error>(())
/// ```
pub unsafe fn fork<R: Message>(f: impl FnOnce() -> R) -> Result<Process<R>, SpawnError> {
    if current::is_daemon() {
        return Err(SpawnError::DaemonChild);
    }
    fork_server_client::watch_forks();
    let (here, there) = fork_server_client::control_pair()?;
    let who = current::next_child(None, false, false);
    let me = Me { who: who.clone(), parents_end: fork_server_client::parents_end()? };
    spawn::flush();
    // SAFETY: by the caller's promise.
    match unsafe { spawn::fork() }? {
        None => {
            drop(here);
            child_main::forked(me, there, || transfer::encode(&f()).map_err(CallError::Encode))
        }
        Some(pid) => {
            drop(there);
            let pidfd = own_child(pid)?;
            let life = Arc::new(Life::new(pid, &who, pidfd, here));
            registry::join_at_exit();
            registry::lock().add(life.clone());
            Ok(Process::of(life))
        }
    }
}
