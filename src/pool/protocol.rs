//! Messages between a pool and its workers: tasks one way, reports the other, in two pipes that all workers share. The
//! pool sends some reports to itself, such as a death, so that they come after all that the worker reported. If the
//! pipe of tasks has no room, the tasks wait in the pool (`in_flight`), and the supervisor tries again.
//!
//! `task_table` has the steps. A worker claims a task in the *claim* of its receive, under the lock of the ring's head.
//!
//! # Layout
//! A task is a [`TaskHeader`], followed by a list of items (tuples of arguments). A report is a [`WorkerReport`].
//! [`WorkerReport::Results`] is followed by an [`ItemOutcome`] for each item; a result with handles in it is sent
//! alone. [`WorkerReport::Request`] is followed by a sender.

use super::task_table::TaskTable;
use crate::entry::BoundCall;
use crate::entry::Code;
use crate::entry::Panic;
use crate::ring::Peers;
use crate::{CodecError, Receiver, Sender, TaskError};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long a message is retried while there is no memory or no descriptor for it.
pub(super) const RETRY_FOR: Duration = Duration::from_secs(1);

/// The start of a task.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct TaskHeader {
    pub(super) slot: u32,
    pub(super) generation: u32,
    pub(super) code: Code,
    /// The shared value of the items, if they have one.
    pub(super) shared: Option<SharedId>,
}

/// The fields that a [`TaskHeader`] begins with.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct TaskId {
    pub(super) slot: u32,
    pub(super) generation: u32,
}

impl TaskId {
    pub(super) fn of(task: &[u8]) -> Option<Self> {
        postcard::take_from_bytes(task).ok().map(|(task, _)| task)
    }
}

/// The number of a shared value, and the oldest number that is still in use.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct SharedId {
    pub(super) number: u64,
    pub(super) oldest: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum WorkerReport {
    /// Results of `count` items, starting with item `first` of the task.
    Results {
        slot: u32,
        generation: u32,
        first: u32,
        count: u32,
        /// Set in the last report of a task: how many nanoseconds the task took.
        took: Option<u64>,
    },
    /// A worker has ended. The pool sends this to itself, so that it comes after all that the worker reported.
    Died { worker_slot: u32, worker: u32 },
    /// A worker's initializer failed.
    NotReady { worker: u32, why: String },
    /// A worker requests the shared value with this number.
    Request { shared: u64, worker: u32 },
    /// Wakes the thread that reads reports.
    Wake,
}

/// The result of an item.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ItemOutcome<R> {
    Done(R),
    Panicked(Panic),
    Encode(CodecError),
    Decode(CodecError),
    NoSpace,
}

impl<R> ItemOutcome<R> {
    pub(super) fn into_result(self, index: Option<usize>) -> Result<R, TaskError> {
        Err(match self {
            ItemOutcome::Done(result) => return Ok(result),
            ItemOutcome::Panicked(panic) => {
                let Panic { message, location, backtrace } = panic;
                TaskError::Panicked { message, location, backtrace, index }
            }
            ItemOutcome::Encode(error) => TaskError::Encode(error),
            ItemOutcome::Decode(error) => TaskError::Decode(error),
            ItemOutcome::NoSpace => TaskError::NoSpace,
        })
    }
}

/// The arguments of a worker's process.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WorkerConfig {
    pub(super) tasks: Receiver<()>,
    pub(super) reports: Sender<()>,
    pub(super) table: TaskTable,
    pub(super) worker_slot: u32,
    pub(super) worker: u32,
    /// The worker ends after this many tasks.
    pub(super) max_tasks: Option<u64>,
    /// Whether each item has a time limit.
    pub(super) is_timed: bool,
    pub(super) initializer: Option<BoundCall>,
}

pub(super) fn codec_error(error: postcard::Error) -> CodecError {
    CodecError::new(error)
}

/// The other ends are other processes, whose deaths a waiting thread must notice.
pub(super) fn watched() -> Peers {
    Peers::Watched
}
