//! What a pool and its workers tell each other: tasks one way, reports the other.
//!
//! # Layout
//! A task is its `Head`, and a list of items (tuples of arguments). A report is a [`Report`]; behind `Results` comes an
//! [`Outcome`] for each item (results that have handles in them come alone), behind `Wants` a sender.

use super::task_table::Board;
use crate::entry::BoundCall;
use crate::entry::Code;
use crate::entry::Panic;
use crate::{CodecError, Receiver, Sender, TaskError};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long the memory, or a descriptor, for what was sent may be missing, before it is given up.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// The front of a task.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) slot: u32,
    pub(super) generation: u32,
    pub(super) code: Code,
    /// The value that the items are worked at with, and the oldest one that is still in use.
    pub(super) shared: Option<(u64, u64)>,
}

/// What [`Head`] begins with.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Ticket {
    pub(super) slot: u32,
    pub(super) generation: u32,
}

impl Ticket {
    pub(super) fn of(task: &[u8]) -> Option<Self> {
        postcard::take_from_bytes(task).ok().map(|(ticket, _)| ticket)
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Report {
    /// Of so many items, from the first.
    Results {
        slot: u32,
        generation: u32,
        first: u32,
        count: u32,
        /// The task is over, and took so many nanoseconds.
        took: Option<u64>,
    },
    /// A worker has ended; from the pool itself, behind all that it had reported.
    Died { seat: u32, worker: u32 },
    /// A worker cannot begin.
    NotReady { worker: u32, why: String },
    /// A worker needs the value that is shared under this number.
    Wants { shared: u64, worker: u32 },
    /// Whoever reads reports is to look around.
    Look,
}

/// What became of an item.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Outcome<R> {
    Done(R),
    Panicked(Panic),
    Encode(CodecError),
    Decode(CodecError),
    NoSpace,
}

impl<R> Outcome<R> {
    pub(super) fn into_result(self, index: Option<usize>) -> Result<R, TaskError> {
        Err(match self {
            Outcome::Done(result) => return Ok(result),
            Outcome::Panicked(panic) => panicked(panic, index),
            Outcome::Encode(error) => TaskError::Encode(error),
            Outcome::Decode(error) => TaskError::Decode(error),
            Outcome::NoSpace => TaskError::NoSpace,
        })
    }
}

pub(super) fn panicked(panic: Panic, index: Option<usize>) -> TaskError {
    let Panic { message, location, backtrace } = panic;
    TaskError::Panicked { message, location, backtrace, index }
}

/// What a worker is given at its start.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WorkerConfig {
    pub(super) tasks: Receiver<()>,
    pub(super) reports: Sender<()>,
    pub(super) board: Board,
    pub(super) seat: u32,
    pub(super) worker: u32,
    /// It ends behind so many.
    pub(super) most: Option<u64>,
    /// Whether somebody looks how long each item takes.
    pub(super) timed: bool,
    pub(super) initializer: Option<BoundCall>,
}

pub(super) fn codec(error: postcard::Error) -> CodecError {
    CodecError::new(error)
}
