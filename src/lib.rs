#![doc = include_str!("../README.md")]
#![deny(missing_docs, missing_debug_implementations, unsafe_code)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used))]
#![cfg_attr(docsrs, feature(doc_cfg))]
// On a system without descriptors, what needs one is never reached.
#![cfg_attr(crossproc_stub, allow(unreachable_code))]

mod array;
mod atomic;
mod barrier;
#[cfg(doctest)]
mod compile_fail;
mod condition;
mod element;
mod error;
mod event;
mod lock;
mod message;
mod pipe;
mod pool;
mod process;
mod queue;
mod raw;
mod ring;
mod rlock;
mod segment;
mod semaphore;
mod sync;
mod sys;
mod value;
mod wait;

pub use array::{Array, ArrayGuard, Part};
pub use atomic::{Atomic, Int};
pub use barrier::{Barrier, Turn};
pub use bytemuck::{self, CheckedBitPattern, NoUninit, Pod, Zeroable};
pub use condition::{Condition, Guard, WaitTimeoutResult};
pub use element::Element;
pub use error::*;
pub use event::Event;
pub use lock::{Lock, LockGuard};
pub use message::Message;
pub use pipe::{Frame, Messages, Pipe, Receiver, Sender, Slot, channel};
pub use pool::{AsyncResult, Chunked, Imap, Insights, Pool, PoolBuilder, SlowTask, WorkerInfo, WorkerInsights};
pub use process::{
    ChildInfo, Current, Entry, Outcome, Parent, Process, ProcessBuilder, Scope, ScopedProcess, StartMethod, Stdio,
    active_children, cpu_count, current, fork, init, parent, scope,
};
pub use queue::{Iter, JoinableQueue, Queue, SimpleQueue, Task};
pub use raw::{RawArray, RawValue};
pub use rlock::{RLock, RLockGuard};
pub use segment::Named;
#[cfg(feature = "shared_memory")]
pub use segment::Within;
pub use semaphore::{BoundedSemaphore, Permit, Semaphore};
pub use value::{Value, ValueGuard};
pub use wait::{Waitable, wait};

/// Messages with handles in them, over a Unix socket.
pub mod travel {
    pub use crate::segment::stream::{recv, send};
}

/// For this crate's own tests.
#[doc(hidden)]
pub mod testing {
    /// The look at the holder that a sleeper takes twice a second, which hides a lost wake-up from a test.
    pub fn switch_backstop(on: bool) {
        crate::sync::raw_lock::switch_backstop(on);
    }
    #[doc(hidden)]
    pub use crate::pool::testing::Rehearsal;
    #[doc(hidden)]
    pub use crate::process::testing::{Half, close_nursery, join_children, link, live, serve_one, sweep};
}
