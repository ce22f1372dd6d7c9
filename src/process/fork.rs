//! `fork`: a child with a copy of everything that this process has.
#![allow(unsafe_code)] // the caller's promise

use super::child_record::ChildRecord;
use super::current::{self, ChildContext};
use super::handle::Process;
use super::reexec::own_child;
use super::{child_main, fork_server_client, registry};
use crate::entry::CallError;
use crate::segment::transfer;
use crate::sys::exit;
use crate::sys::spawn;
use crate::{Message, SpawnError};
use std::sync::Arc;

/// Runs `f`, captures included, in a child that is a copy of this process, like Python's start method `fork`.
///
/// The child has this thread alone. The time that it takes grows with the page tables of this process. The child ends
/// after `f` without running exit functions that were registered before.
///
/// # Safety
/// In a process with other threads, whatever one of them had locked at this moment stays locked in the child forever.
/// The allocator of the C library is prepared for that, and so is this crate; other code may not be. `f` may then only
/// call what takes no such lock.
///
/// # Errors
/// [`DaemonChild`](SpawnError::DaemonChild), or the system's error.
///
/// # When a process dies
/// As for [`Process`]. The child owns no guard of this process: locks that this process holds remain its own.
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
    let identity = current::next_identity(None, false, false);
    let me = ChildContext { identity: identity.clone(), parents_end: fork_server_client::parents_end()? };
    exit::flush();
    // SAFETY: the caller guarantees that the child copes with locks of other threads.
    match unsafe { spawn::fork() }? {
        None => {
            drop(here);
            child_main::forked(me, there, || transfer::encode(&f()).map_err(CallError::Encode))
        }
        Some(pid) => {
            drop(there);
            let pidfd = own_child(pid)?;
            let record = Arc::new(ChildRecord::new(pid, &identity, pidfd, here));
            registry::join_at_exit();
            registry::lock().add(record.clone());
            Ok(Process::of(record))
        }
    }
}
