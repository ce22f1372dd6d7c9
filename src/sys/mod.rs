//! The only home of `libc`, `unsafe extern` and `cfg(target_os)`: the system.
//!
//! Required of a port, one kernel object per module:
//! * `futex`: [`futex::wait`], [`futex::wake`], [`futex::wait_any`] on words in shared memory, absolute deadlines.
//! * `robust_list`: [`robust_list::PendingSlot`], and the list that frees the lock words of a dead thread.
//! * `process_id`: [`process_id::ProcessId`], whether processes are alive, namespaces. `fork_hooks`: what happens
//!   around a fork.
//! * `memory`: [`memory::anonymous`] segments, sealed; [`memory::accept`] for those that a peer sent.
//! * `shm_file`: files in `/dev/shm` that appear complete, shared and exclusive holds on them.
//! * `socket`: messages with file descriptors.
//! * `image`: the program in memory, its build, and what runs before `main`.
//! * `spawn`: new processes: [`spawn::execute_self`], [`spawn::clone_sibling`], [`spawn::fork`]. `exit`, `signals`,
//!   `stdio`: how they end, their signals and streams.
//! * `attributes`: [`attributes::Attributes`], what a child gets from its caller, and credentials.
//! * `pidfd`, `lifeline`, `poll`: a process as a descriptor, the pipe by which children see their parent's end,
//!   waiting.
//! * `watcher`: events of descriptors for threads that sleep on words. `copy`: long copies of memory that others may
//!   write.
//!
//! A missing item is a compile error. On other systems everything returns `Unsupported` (`stub`), or is never reached.

#[cfg_attr(crossproc_stub, allow(dead_code))]
mod once;

pub(crate) use once::{ForkHandoff, RaceOnce};

#[cfg(all(target_os = "linux", target_pointer_width = "64", not(crossproc_stub)))]
mod linux;
#[cfg(all(target_os = "linux", target_pointer_width = "64", not(crossproc_stub)))]
pub(crate) use linux::*;

#[cfg(not(all(target_os = "linux", target_pointer_width = "64", not(crossproc_stub))))]
mod stub;
#[cfg(not(all(target_os = "linux", target_pointer_width = "64", not(crossproc_stub))))]
pub(crate) use stub::*;
