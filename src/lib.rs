#![doc = include_str!("../README.md")]
#![deny(missing_docs, missing_debug_implementations, unsafe_code)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used))]
#![cfg_attr(docsrs, feature(doc_cfg))]
// The stub of `sys` has types without values, so the code that needs a descriptor is unreachable there.
#![cfg_attr(crossproc_stub, allow(unreachable_code))]

// The layers, from the bottom up: a module uses modules of the layers before its own only.

mod error;

mod marker;
mod sys;

mod sync;

mod segment;

mod entry;
mod ring;

mod messages;
mod objects;

mod pipe;
mod process;
mod queue;

mod wait;

mod pool;

// Tests: what must not compile, and the hooks of the tests in `tests/`.
#[cfg(doctest)]
mod compile_fail;
#[doc(hidden)]
pub mod testing;

pub use bytemuck::{self, CheckedBitPattern, NoUninit, Pod, Zeroable};
pub use entry::{Entry, Outcome};
pub use error::*;
pub use marker::{Element, Message};
pub use objects::{
    Array, ArrayGuard, Atomic, Barrier, BarrierWaitResult, BoundedSemaphore, Condition, Event, Guard, Int, Lock,
    LockGuard, Part, Permit, RLock, RLockGuard, RawArray, RawValue, Semaphore, Value, ValueGuard, WaitTimeoutResult,
};
pub use pipe::{Frame, Messages, Pipe, Receiver, Sender, Slot, channel};
pub use pool::{AsyncResult, Chunked, Imap, Insights, Pool, PoolBuilder, SlowTask, WorkerInfo, WorkerInsights};
pub use process::{
    ChildInfo, Current, Parent, Process, ProcessBuilder, Scope, ScopedProcess, StartMethod, Stdio, active_children,
    cpu_count, current, fork, init, parent, scope,
};
pub use queue::{Iter, JoinableQueue, Queue, SimpleQueue, Task};
pub use segment::Named;
#[cfg(feature = "shared_memory")]
pub use segment::Within;
pub use wait::{Waitable, wait};

/// Messages with handles in them, over a Unix socket of the program's own.
///
/// [`send`](transfer::send) and [`recv`](transfer::recv) move one value of any serde type between two processes of the
/// same user. Handles in it keep working on the other side: the file descriptors of their memory are sent along.
///
/// ```
/// use crossproc::{Value, transfer};
/// let (here, there) = std::os::unix::net::UnixStream::pair()?;
/// let hits = Value::new(1)?;
/// transfer::send(&here, &("hits", &hits))?;
/// let (name, same) = transfer::recv::<(String, Value<i32>)>(&there)?;
/// hits.set(2)?;
/// assert_eq!((name.as_str(), same.get()), ("hits", 2));
/// # Ok::<(), crossproc::Error>(())
/// ```
pub mod transfer {
    pub use crate::segment::transfer::socket::{recv, send};
}
