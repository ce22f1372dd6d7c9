#![doc = include_str!("../README.md")]
#![deny(missing_docs, missing_debug_implementations, unsafe_code)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used))]
#![cfg_attr(docsrs, feature(doc_cfg))]
// On a system without descriptors, what needs one is never reached.
#![cfg_attr(crossproc_stub, allow(unreachable_code))]

#[cfg(doctest)]
mod compile_fail;
mod entry;
mod error;
mod marker;
mod messages;
mod objects;
mod pipe;
mod pool;
mod process;
mod queue;
mod ring;
mod segment;
mod sync;
mod sys;
mod wait;

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

/// Messages with handles in them, over a Unix socket.
pub mod transfer {
    pub use crate::segment::transfer::socket::{recv, send};
}

/// For this crate's own tests.
#[doc(hidden)]
pub mod testing {
    /// The look at the holder that a sleeper takes twice a second, which hides a lost wake-up from a test.
    pub fn switch_backstop(on: bool) {
        crate::sync::backstop::switch(on);
    }
    #[doc(hidden)]
    pub use crate::pool::testing::TestPool;
    #[doc(hidden)]
    pub use crate::process::testing::{
        TestHandOver, close_fork_server, join_children, link, run_request, serve_one, sweep,
    };
}
