//! The errors of pools and their tasks.

use super::process::{SpawnError, describe_exit};
use super::{codec::CodecError, segment::SegmentError};
use serde::{Deserialize, Serialize};
use thiserror::Error as ThisError;

/// The reason why a task of a [`Pool`](crate::Pool) has no result. In a map, `index` is the number of the input, from
/// 0.
///
/// ```
/// use crossproc::{Pool, TaskError};
/// let pool = Pool::new(1)?;
/// match pool.map(|x| if x == 2 { panic!("two") } else { x }, 0..4) {
///     Err(TaskError::Panicked { message, index, .. }) => assert_eq!((message.as_str(), index), ("two", Some(2))),
///     other => unreachable!("{other:?}"),
/// }
/// # Ok::<(), crossproc::Error>(())
/// ```
#[derive(ThisError, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum TaskError {
    /// The task panicked. Its worker goes on.
    #[error("{}panicked: {message}", input(.index))]
    Panicked {
        /// The panic's message.
        message: String,
        /// The place of the panic, as `file:line:column`.
        location: Option<String>,
        /// The backtrace, if `RUST_BACKTRACE` is set.
        backtrace: Option<String>,
        /// The number of the input, in a map.
        index: Option<usize>,
    },
    /// The worker died in this task: it was killed, or the task ended the process.
    #[error("{}worker {pid} died with {}", input(.index), describe_exit(*.exit_code))]
    WorkerDied {
        /// The process that died.
        pid: u32,
        /// Its exit code, or minus the number of the signal that killed it.
        exit_code: i32,
        /// The number of the input, in a map.
        index: Option<usize>,
    },
    /// The input could not be encoded in this process, or the result in the worker; or the function is not part of the
    /// program's own image.
    #[error("cannot encode the input or the result: {0}")]
    Encode(CodecError),
    /// The input could not be decoded in the worker, or the result in this process; or the result has a handle for
    /// which this process had no descriptor for a second.
    #[error("cannot decode the input or the result: {0}")]
    Decode(CodecError),
    /// There was no memory for the input, or for a second no memory for the result.
    #[error("no space left for the input or the result")]
    NoSpace,
    /// The task was [cancelled](crate::AsyncResult::cancel), or the pool was terminated.
    #[error("the task was cancelled")]
    Cancelled,
    /// From `get_timeout` and `next_timeout`: there is no result yet. From anything else: the task took longer than the
    /// pool's `task_timeout`, and its worker was killed.
    #[error("timed out")]
    Timeout,
    /// The result was returned before.
    #[error("the result was taken already")]
    Taken,
    /// This thread runs code of the program for the pool (serde code, a destructor), which may not wait for the pool;
    /// or it is in a callback of this very result.
    #[error("deadlock: code that the pool runs waits for the pool itself")]
    Deadlock,
    /// The chunk size is 0.
    #[error("the chunk size is 0: it must be at least 1")]
    ChunkSize,
    /// The pool takes no more tasks: it was closed, or this process is a fork of the pool's process.
    #[error("the pool is closed")]
    PoolClosed,
    /// The pool has no workers and can have none: they fail when they begin, or could not be started for about three
    /// seconds, since there were no processes or descriptors left. The text says why.
    #[error("the pool is broken: {0}")]
    PoolBroken(String),
}

fn input(index: &Option<usize>) -> String {
    index.map_or_else(String::new, |index| format!("input {index}: "))
}

impl TaskError {
    /// Returns whether the time ran out.
    ///
    /// ```
    /// assert!(crossproc::TaskError::Timeout.is_timeout());
    /// ```
    pub fn is_timeout(&self) -> bool {
        matches!(self, TaskError::Timeout)
    }
}

/// An error of making or joining a pool.
///
/// ```
/// assert_eq!(crossproc::Pool::new(0).unwrap_err(), crossproc::PoolError::Zero);
/// ```
#[derive(ThisError, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum PoolError {
    /// The pool would have 0 processes, or each process 0 tasks.
    #[error("a pool needs at least 1 process, and each process at least 1 task")]
    Zero,
    /// `join` was called before `close` or `terminate`.
    #[error("the pool is still running: call close or terminate before join")]
    StillRunning,
    /// The workers fail when they begin, or cannot be started. The text says why.
    #[error("the pool is broken: {0}")]
    Broken(String),
    /// A worker was not started; or this process is a daemon, which may not have children.
    #[error("no worker was started: {0}")]
    Spawn(#[from] SpawnError),
    /// There is no memory for what the workers share.
    #[error("no memory for what the workers share: {0}")]
    Segment(#[from] SegmentError),
}

/// The error of [`AsyncResult::successful`](crate::AsyncResult::successful) while there is no result.
///
/// ```
/// let pool = crossproc::Pool::new(1)?;
/// let result = pool.apply_async(|| std::thread::sleep(std::time::Duration::from_millis(50)), ());
/// assert_eq!(result.successful(), Err(crossproc::NotReady));
/// # Ok::<(), crossproc::Error>(())
/// ```
#[derive(ThisError, Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[error("the result is not ready")]
pub struct NotReady;
