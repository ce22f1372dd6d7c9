//! The error of arrays and their parts.

use super::lock::LockError;
use serde::{Deserialize, Serialize};
use thiserror::Error as ThisError;

/// An error returned from the methods of an [`Array`](crate::Array) or a [`Part`](crate::Part).
///
/// ```
/// use crossproc::{Array, ArrayError};
/// assert_eq!(Array::<u8>::zeroed(2)?.get(2), Err(ArrayError::OutOfBounds { index: 2, len: 2 }));
/// # Ok::<(), crossproc::Error>(())
/// ```
#[derive(ThisError, Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ArrayError {
    /// There is no item with this index.
    #[error("index {index} is out of bounds for {len} items")]
    OutOfBounds {
        /// The index that was passed.
        index: usize,
        /// The number of items.
        len: usize,
    },
    /// The slice has another length than the array or part.
    #[error("a slice of {got} items was passed for {len} items")]
    LengthMismatch {
        /// The length of the slice.
        got: usize,
        /// The number of items of the array or part.
        len: usize,
    },
    /// Parts of a division into another number are alive.
    #[error("the array is divided into another number of parts, which are alive: drop them first")]
    Partitioned,
    /// The lock was not taken.
    #[error(transparent)]
    Lock(#[from] LockError),
}
