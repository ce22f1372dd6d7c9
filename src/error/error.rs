//! [`Error`]: any failure of this crate, or of the program that uses it.

use super::{
    AcquireError, AcquireTimeoutError, ArrayError, BarrierError, CodecError, GetError, GetTimeoutError, JoinError,
    LockError, LockTimeoutError, NotReady, Os, PoolError, PutError, PutTimeoutError, RecvError, RecvIntoError,
    RecvTimeoutError, ReleaseError, ScopeError, SegmentError, SendError, SendTimeoutError, SpawnError, TaskDoneError,
    TaskError, TransferError, TryAcquireError, TryGetError, TryLockError, TryPutError, TryRecvError, TrySendError,
};
use serde::{Deserialize, Serialize};
use thiserror::Error as ThisError;

/// `Result` with [`Error`], unless another error type is given.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Any failure of this crate, or of the program that uses it: for `main`, and for functions that run in other
/// processes.
///
/// ```
/// fn main() -> crossproc::Result<()> {
///     let value = crossproc::Value::new(1)?;               // a SegmentError
///     *value.lock()? += "41".parse::<i32>().map_err(crossproc::Error::other)?;
///     assert_eq!(value.get(), 42);
///     Ok(())
/// }
/// ```
#[derive(ThisError, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[error(transparent)]
pub enum Error {
    /// A shared object was not created, opened or attached.
    Segment(#[from] SegmentError),
    /// A lock was not taken.
    Lock(#[from] LockError),
    /// A lock was not taken at once.
    TryLock(#[from] TryLockError),
    /// A lock was not taken in time.
    LockTimeout(#[from] LockTimeoutError),
    /// A method of an array failed.
    Array(#[from] ArrayError),
    /// A value was not encoded or decoded.
    Codec(#[from] CodecError),
    /// A message was not sent or received over a socket.
    Transfer(#[from] TransferError),
    /// A process was not started.
    Spawn(#[from] SpawnError),
    /// A process has no result.
    Join(#[from] JoinError),
    /// A process of a scope was not started, or has no result.
    Scope(#[from] ScopeError),
    /// No item was got.
    Get(#[from] GetError),
    /// No item was got at once.
    TryGet(#[from] TryGetError),
    /// No item was got in time.
    GetTimeout(#[from] GetTimeoutError),
    /// An item was not marked as done.
    TaskDone(#[from] TaskDoneError),
    /// A message was not sent.
    Send(#[from] SendError),
    /// A message was not sent at once.
    TrySend(#[from] TrySendError),
    /// A message was not sent in time.
    SendTimeout(#[from] SendTimeoutError),
    /// No message was received.
    Recv(#[from] RecvError),
    /// No message was received at once.
    TryRecv(#[from] TryRecvError),
    /// No message was received in time.
    RecvTimeout(#[from] RecvTimeoutError),
    /// No message was received into a buffer.
    RecvInto(#[from] RecvIntoError),
    /// No permit was acquired.
    Acquire(#[from] AcquireError),
    /// No permit was acquired at once.
    TryAcquire(#[from] TryAcquireError),
    /// No permit was acquired in time.
    AcquireTimeout(#[from] AcquireTimeoutError),
    /// No permit, or level of a lock, was released.
    Release(#[from] ReleaseError),
    /// A barrier was not passed.
    Barrier(#[from] BarrierError),
    /// A task of a pool has no result.
    Task(#[from] TaskError),
    /// A pool was not made, or not joined.
    Pool(#[from] PoolError),
    /// A result is not ready.
    NotReady(#[from] NotReady),
    /// An item was not put. The item itself is dropped.
    Put(PutError<()>),
    /// An item was not put at once. The item itself is dropped.
    TryPut(TryPutError<()>),
    /// An item was not put in time. The item itself is dropped.
    PutTimeout(PutTimeoutError<()>),
    /// A system call failed.
    Os(#[from] Os),
    /// An error of the program, as its text.
    #[error("{0}")]
    Other(String),
}

impl Error {
    /// Makes an error of the text of another error.
    ///
    /// ```
    /// assert_eq!(crossproc::Error::other("no money").to_string(), "no money");
    /// ```
    pub fn other(error: impl std::fmt::Display) -> Self {
        Error::Other(error.to_string())
    }

    /// Returns whether a time ran out.
    ///
    /// ```
    /// assert!(crossproc::Error::from(crossproc::LockTimeoutError::Timeout).is_timeout());
    /// ```
    pub fn is_timeout(&self) -> bool {
        matches!(
            self,
            Error::LockTimeout(LockTimeoutError::Timeout)
                | Error::GetTimeout(GetTimeoutError::Timeout)
                | Error::PutTimeout(PutTimeoutError::Timeout(()))
                | Error::SendTimeout(SendTimeoutError::Timeout)
                | Error::RecvTimeout(RecvTimeoutError::Timeout)
                | Error::AcquireTimeout(AcquireTimeoutError::Timeout)
                | Error::Barrier(BarrierError::Timeout)
                | Error::Task(TaskError::Timeout)
        )
    }
}

/// Drops the item.
impl<T> From<PutError<T>> for Error {
    fn from(error: PutError<T>) -> Self {
        Error::Put(error.map(drop))
    }
}

/// Drops the item.
impl<T> From<TryPutError<T>> for Error {
    fn from(error: TryPutError<T>) -> Self {
        Error::TryPut(error.map(drop))
    }
}

/// Drops the item.
impl<T> From<PutTimeoutError<T>> for Error {
    fn from(error: PutTimeoutError<T>) -> Self {
        Error::PutTimeout(error.map(drop))
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        match error.raw_os_error() {
            Some(number) => Error::Os(Os(number)),
            None => Error::other(error),
        }
    }
}

impl From<String> for Error {
    fn from(text: String) -> Self {
        Error::Other(text)
    }
}

impl From<&str> for Error {
    fn from(text: &str) -> Self {
        Error::other(text)
    }
}

impl From<Box<dyn std::error::Error>> for Error {
    fn from(error: Box<dyn std::error::Error>) -> Self {
        Error::other(error)
    }
}

impl From<Box<dyn std::error::Error + Send + Sync>> for Error {
    fn from(error: Box<dyn std::error::Error + Send + Sync>) -> Self {
        Error::other(error)
    }
}
