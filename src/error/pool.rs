//! Errors of pools.

use super::{CodecError, SegmentError, SpawnError};
use serde::{Deserialize, Serialize};
use thiserror::Error as ThisError;

/// Why a task of a [`Pool`](crate::Pool) has no result. `index` is the number of the input, in a map.
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
    /// The task panicked; its worker goes on.
    #[error("{}panicked: {message}", place(.index))]
    Panicked {
        /// What the panic said.
        message: String,
        /// The file, line and column.
        location: Option<String>,
        /// Where it came from, if `RUST_BACKTRACE` asked for it.
        backtrace: Option<String>,
        /// Which input of a map.
        index: Option<usize>,
    },
    /// The worker died in this task: it was killed, or the task ended it.
    #[error("{}worker {pid} died with {exit_code}", place(.index))]
    WorkerDied {
        /// The process that died.
        pid: u32,
        /// Its exit code, or minus the signal.
        exit_code: i32,
        /// Which input of a map.
        index: Option<usize>,
    },
    /// The input could not be encoded here, or the result not there; or the function is not in this program.
    #[error("encode: {0}")]
    Encode(CodecError),
    /// The input could not be decoded there, or the result not here; or this process has had no descriptor for a handle in the result
    /// for a second, and gave it up.
    #[error("decode: {0}")]
    Decode(CodecError),
    /// There is no memory for the input, or for the result, which this process waits for a second for.
    #[error("no space left for shared memory")]
    NoSpace,
    /// [`cancel`](crate::AsyncResult::cancel), or the pool was terminated.
    #[error("cancelled")]
    Cancelled,
    /// `get_timeout`, `next_timeout`: not yet. From anything else: the task took longer than the pool's `task_timeout`, and its
    /// worker was killed.
    #[error("timed out")]
    Timeout,
    /// The result was given out already.
    #[error("the result was taken already")]
    Taken,
    /// This thread runs the program's code for the pool, its serde code or a destructor, and cannot wait for the pool meanwhile; or
    /// it is in a callback of this very result.
    #[error("waited for a pool in code that the pool runs itself")]
    Deadlock,
    /// Chunks of 0 inputs.
    #[error("a chunk size of 0")]
    ChunkSize,
    /// The pool takes no more tasks: it was closed, or this process is a fork of the one that made it.
    #[error("the pool is closed")]
    PoolClosed,
    /// The pool has no workers and can have none: they cannot begin, or could not be started for some three seconds, since there were
    /// no processes or descriptors left. The text says why.
    #[error("the pool is broken: {0}")]
    PoolBroken(String),
}

fn place(index: &Option<usize>) -> String {
    index.map_or_else(String::new, |index| format!("input {index}: "))
}

impl TaskError {
    /// Whether a time ran out.
    ///
    /// ```
    /// assert!(crossproc::TaskError::Timeout.is_timeout());
    /// ```
    pub fn is_timeout(&self) -> bool {
        matches!(self, TaskError::Timeout)
    }
}

/// Why a pool was not made, or not joined.
///
/// ```
/// assert_eq!(crossproc::Pool::new(0).unwrap_err(), crossproc::PoolError::Zero);
/// ```
#[derive(ThisError, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum PoolError {
    /// No processes, or no tasks for each of them.
    #[error("no processes, or no tasks for each, were asked for")]
    Zero,
    /// `join` before `close` or `terminate`.
    #[error("the pool is still running")]
    StillRunning,
    /// Workers cannot begin, or be started; the text says why.
    #[error("the pool is broken: {0}")]
    Broken(String),
    /// A worker was not started; or this process is a daemon, which may have no children.
    #[error("not started: {0}")]
    Spawn(#[from] SpawnError),
    /// There is no memory for what the workers share.
    #[error(transparent)]
    Segment(#[from] SegmentError),
}

/// There is no result yet, so nothing can be said about it.
///
/// ```
/// let pool = crossproc::Pool::new(1)?;
/// let result = pool.apply_async(|| std::thread::sleep(std::time::Duration::from_millis(50)), ());
/// assert_eq!(result.successful(), Err(crossproc::NotReady));
/// # Ok::<(), crossproc::Error>(())
/// ```
#[derive(ThisError, Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[error("not ready")]
pub struct NotReady;
