//! The only home of `libc`, `unsafe extern` and `cfg(target_os)`: what the kernel does for us.
//!
//! Required of a port, one kernel object per module:
//! * `futex`: [`futex::wait`], [`futex::wake`], [`futex::wait_any`] on words in shared memory, absolute deadlines.
//! * `thread`: [`robust_list::enter`] and its kin: the robust list that frees a dead thread's lock words.
//! * `process`: who we are ([`process_id::Identity`]), who is alive, namespaces, fork hooks.
//! * `memory`: [`memory::anonymous`] segments, sealed; [`memory::accept`] what a peer sent.
//! * `names`: files in `/dev/shm` that appear complete, shared and exclusive holds on them.
//! * `socket`: messages with file descriptors.
//! * `image`: the program in memory, and which build of it this is; what runs before `main`.
//! * `birth`: new processes: [`spawn::execute_self`], [`spawn::clone_sibling`], [`spawn::fork`]; how they end.
//! * `surroundings`: what a child has from its caller: [`attributes::Attributes`].
//! * `pidfd`, `lifeline`, `poll`: a process as a descriptor, the pipe by which children see their parent's end, waiting.
//! * `watch`: news from descriptors for threads that sleep on words. `copy`: long copies of memory that others may write.
//!
//! A missing item is a compile error. On other systems everything is `Unsupported` (`stub`), or not reached.

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
