//! The error of making, opening and attaching shared objects.

use super::os::Os;
use serde::{Deserialize, Serialize};
use thiserror::Error as ThisError;

/// An error of creating, opening or attaching a shared object.
///
/// ```
/// use crossproc::{SegmentError, Value};
/// assert_eq!(Value::<u8>::named("a/b").open().unwrap_err(), SegmentError::InvalidName);
/// ```
#[derive(ThisError, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum SegmentError {
    /// `create`: an object of this name exists.
    #[error("an object of this name exists already: open it")]
    AlreadyExists,
    /// `open`, `remove`: no object has this name.
    #[error("no object has this name")]
    NotFound,
    /// A name has 1 to 200 bytes, without NUL and slash, and is neither `.` nor `..`.
    #[error("not a valid name: it has 1 to 200 bytes without NUL and slash, and is neither `.` nor `..`")]
    InvalidName,
    /// An invalid argument. The text says which one, and what is valid.
    #[error("{0}")]
    Invalid(String),
    /// The object belongs to another user; or it is changed in place, and other users may write to it.
    #[error("the object belongs to another user, or other users may write to it")]
    WrongOwner,
    /// The object is of another kind, or holds another type of data.
    #[error("the object holds another type of data than the handle that opens it")]
    WrongType,
    /// The object's items have another size or alignment.
    #[error("the object's items have another size or alignment than those of the handle that opens it")]
    WrongSize,
    /// The object was made by a program with another version, word size, byte order or layout of this library.
    #[error("the object was made with another version or memory layout of this library")]
    WrongVersion,
    /// The object was made in another PID namespace, where process ids stand for other processes.
    #[error("the object was made in another PID namespace: share it within one namespace only")]
    WrongNamespace,
    /// The file or memory of this name is not a segment of this library, or is damaged.
    #[error("not a segment of this library, or a damaged one")]
    NotASegment,
    /// The length is more than any memory holds.
    #[error("the object is larger than any memory")]
    TooLarge,
    /// The memory, the memory cgroup, or `/dev/shm` has not enough space left.
    #[error("no space left for shared memory")]
    NoSpace,
    /// The handle came from another process, and no living process holds the object's memory any more.
    #[error("the object is gone: no living process holds its memory")]
    Gone,
    /// This operating system is not supported.
    #[error("shared objects are not supported on this system")]
    Unsupported,
    /// Any other error of the operating system.
    #[error("cannot create or open shared memory: {0}")]
    Os(Os),
}

impl From<std::io::Error> for SegmentError {
    fn from(error: std::io::Error) -> Self {
        use std::io::ErrorKind;
        match error.kind() {
            ErrorKind::OutOfMemory | ErrorKind::StorageFull | ErrorKind::QuotaExceeded => SegmentError::NoSpace,
            ErrorKind::FileTooLarge => SegmentError::TooLarge,
            ErrorKind::Unsupported => SegmentError::Unsupported,
            _ => SegmentError::Os(error.into()),
        }
    }
}
