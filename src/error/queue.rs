//! The errors of queues. An error of a `put` method returns the item that was not put.

use super::codec::CodecError;
use serde::{Deserialize, Serialize};
use thiserror::Error as ThisError;

/// An error returned from the `put` methods, with the item that was not put.
///
/// ```
/// use crossproc::{PutError, SimpleQueue};
/// let queue = SimpleQueue::bounded(1)?;
/// queue.close();
/// assert_eq!(queue.put('a'), Err(PutError::Closed('a')));
/// # Ok::<(), crossproc::Error>(())
/// ```
#[derive(ThisError, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum PutError<T> {
    /// The queue is closed and takes no more items.
    #[error("the queue is closed")]
    Closed(T),
    /// The item cannot be encoded.
    #[error("cannot encode the item: {1}")]
    Encode(T, CodecError),
    /// There is no memory for the item.
    #[error("no space left for the item")]
    NoSpace(T),
    /// The queue was overwritten with bytes that this library does not write.
    #[error("the queue is corrupt")]
    Corrupt(T),
}

/// An error returned from the `try_put` methods, with the item that was not put.
///
/// ```
/// use crossproc::{SimpleQueue, TryPutError};
/// let queue = SimpleQueue::bounded(1)?;
/// queue.put('a')?;
/// assert_eq!(queue.try_put('b'), Err(TryPutError::Full('b')));
/// # Ok::<(), crossproc::Error>(())
/// ```
#[derive(ThisError, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum TryPutError<T> {
    /// The queue has as many items as its bound allows.
    #[error("the queue is full")]
    Full(T),
    /// The queue is closed and takes no more items.
    #[error("the queue is closed")]
    Closed(T),
    /// The item cannot be encoded.
    #[error("cannot encode the item: {1}")]
    Encode(T, CodecError),
    /// There is no memory for the item.
    #[error("no space left for the item")]
    NoSpace(T),
    /// The queue was overwritten with bytes that this library does not write.
    #[error("the queue is corrupt")]
    Corrupt(T),
}

/// An error returned from the `put_timeout` methods, with the item that was not put.
///
/// ```
/// use crossproc::{PutTimeoutError, SimpleQueue};
/// let queue = SimpleQueue::bounded(1)?;
/// queue.put('a')?;
/// let refused = queue.put_timeout('b', std::time::Duration::from_millis(1)).unwrap_err();
/// assert!(refused.is_timeout() && refused.into_inner() == 'b');
/// # Ok::<(), crossproc::Error>(())
/// ```
#[derive(ThisError, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum PutTimeoutError<T> {
    /// The queue was full until the time ran out.
    #[error("timed out waiting for room in the queue")]
    Timeout(T),
    /// The queue is closed and takes no more items.
    #[error("the queue is closed")]
    Closed(T),
    /// The item cannot be encoded.
    #[error("cannot encode the item: {1}")]
    Encode(T, CodecError),
    /// There is no memory for the item.
    #[error("no space left for the item")]
    NoSpace(T),
    /// The queue was overwritten with bytes that this library does not write.
    #[error("the queue is corrupt")]
    Corrupt(T),
}

/// Implements the methods of the three errors above. `$own` is the variant that only one of them has.
macro_rules! put_error {
    ($name:ident, $($own:ident)?) => {
        impl<T> $name<T> {
            /// Returns the item that was not put.
            ///
            /// ```
            /// let queue = crossproc::SimpleQueue::bounded(1)?;
            /// queue.close();
            /// assert_eq!(queue.put(5).unwrap_err().into_inner(), 5);
            /// # Ok::<(), crossproc::Error>(())
            /// ```
            pub fn into_inner(self) -> T {
                match self {
                    $($name::$own(item) => item,)?
                    $name::Closed(item) | $name::NoSpace(item) | $name::Corrupt(item) => item,
                    $name::Encode(item, _) => item,
                }
            }

            /// Replaces the item by the result of `change`.
            ///
            /// ```
            /// assert_eq!(crossproc::PutError::Closed(5).map(|n| n + 1), crossproc::PutError::Closed(6));
            /// ```
            pub fn map<U>(self, change: impl FnOnce(T) -> U) -> $name<U> {
                match self {
                    $($name::$own(item) => $name::$own(change(item)),)?
                    $name::Closed(item) => $name::Closed(change(item)),
                    $name::Encode(item, why) => $name::Encode(change(item), why),
                    $name::NoSpace(item) => $name::NoSpace(change(item)),
                    $name::Corrupt(item) => $name::Corrupt(change(item)),
                }
            }

            /// Returns whether the queue is closed.
            ///
            /// ```
            /// assert!(crossproc::PutError::Closed(5).is_closed() && !crossproc::PutError::NoSpace(5).is_closed());
            /// ```
            pub fn is_closed(&self) -> bool {
                matches!(self, $name::Closed(_))
            }
        }

        impl<T> std::fmt::Debug for $name<T> {
            /// Omits the item, whose type may not implement `Debug`.
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self {
                    $($name::$own(_) => f.write_str(concat!(stringify!($own), "(..)")),)?
                    $name::Closed(_) => f.write_str("Closed(..)"),
                    $name::Encode(_, why) => write!(f, "Encode(.., {why:?})"),
                    $name::NoSpace(_) => f.write_str("NoSpace(..)"),
                    $name::Corrupt(_) => f.write_str("Corrupt(..)"),
                }
            }
        }
    };
}

put_error!(PutError,);
put_error!(TryPutError, Full);
put_error!(PutTimeoutError, Timeout);

impl<T> TryPutError<T> {
    /// Returns whether the queue was full.
    ///
    /// ```
    /// assert!(crossproc::TryPutError::Full(1).is_full());
    /// ```
    pub fn is_full(&self) -> bool {
        matches!(self, TryPutError::Full(_))
    }
}

impl<T> PutTimeoutError<T> {
    /// Returns whether the time ran out.
    ///
    /// ```
    /// assert!(!crossproc::PutTimeoutError::Closed(1).is_timeout());
    /// ```
    pub fn is_timeout(&self) -> bool {
        matches!(self, PutTimeoutError::Timeout(_))
    }
}

/// An error returned from the `get` methods: no item was got.
///
/// ```
/// use crossproc::{GetError, SimpleQueue};
/// let queue = SimpleQueue::<u8>::bounded(1)?;
/// queue.close();
/// assert_eq!(queue.get(), Err(GetError::Closed));
/// # Ok::<(), crossproc::Error>(())
/// ```
#[derive(ThisError, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum GetError {
    /// The queue is empty and closed.
    #[error("the queue is closed and empty")]
    Closed,
    /// The queue is empty, and no other handle of it exists any more: no item will come.
    #[error("the queue is empty, and no other handle of it exists")]
    Disconnected,
    /// The item is not of this type, or the objects of its handles are gone. It is removed from the queue.
    #[error("cannot decode the item: {0}")]
    Decode(CodecError),
    /// There is no memory to get the item. It stays in the queue.
    #[error("no space left for the item")]
    NoSpace,
    /// The queue was overwritten with bytes that this library does not write.
    #[error("the queue is corrupt")]
    Corrupt,
}

/// An error returned from the `try_get` methods: no item was got.
///
/// ```
/// use crossproc::{SimpleQueue, TryGetError};
/// assert_eq!(SimpleQueue::<u8>::bounded(1)?.try_get(), Err(TryGetError::Empty));
/// # Ok::<(), crossproc::Error>(())
/// ```
#[derive(ThisError, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum TryGetError {
    /// The queue has no item now.
    #[error("the queue is empty")]
    Empty,
    /// The queue is empty and closed.
    #[error("the queue is closed and empty")]
    Closed,
    /// The queue is empty, and no other handle of it exists any more: no item will come.
    #[error("the queue is empty, and no other handle of it exists")]
    Disconnected,
    /// The item is not of this type, or the objects of its handles are gone. It is removed from the queue.
    #[error("cannot decode the item: {0}")]
    Decode(CodecError),
    /// There is no memory to get the item. It stays in the queue.
    #[error("no space left for the item")]
    NoSpace,
    /// The queue was overwritten with bytes that this library does not write.
    #[error("the queue is corrupt")]
    Corrupt,
}

/// An error returned from the `get_timeout` methods: no item was got.
///
/// ```
/// let queue = crossproc::SimpleQueue::<u8>::bounded(1)?;
/// assert!(queue.get_timeout(std::time::Duration::from_millis(1)).unwrap_err().is_timeout());
/// # Ok::<(), crossproc::Error>(())
/// ```
#[derive(ThisError, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum GetTimeoutError {
    /// The queue was empty until the time ran out.
    #[error("timed out waiting for an item")]
    Timeout,
    /// The queue is empty and closed.
    #[error("the queue is closed and empty")]
    Closed,
    /// The queue is empty, and no other handle of it exists any more: no item will come.
    #[error("the queue is empty, and no other handle of it exists")]
    Disconnected,
    /// The item is not of this type, or the objects of its handles are gone. It is removed from the queue.
    #[error("cannot decode the item: {0}")]
    Decode(CodecError),
    /// There is no memory to get the item. It stays in the queue.
    #[error("no space left for the item")]
    NoSpace,
    /// The queue was overwritten with bytes that this library does not write.
    #[error("the queue is corrupt")]
    Corrupt,
}

impl GetTimeoutError {
    /// Returns whether the time ran out.
    ///
    /// ```
    /// assert!(crossproc::GetTimeoutError::Timeout.is_timeout() && !crossproc::GetTimeoutError::Closed.is_timeout());
    /// ```
    pub fn is_timeout(&self) -> bool {
        matches!(self, GetTimeoutError::Timeout)
    }
}

/// An error returned from [`JoinableQueue::task_done`](crate::JoinableQueue::task_done): nothing has changed.
///
/// ```
/// use crossproc::{JoinableQueue, TaskDoneError};
/// assert_eq!(JoinableQueue::<u8>::new()?.task_done(), Err(TaskDoneError::TooMany));
/// # Ok::<(), crossproc::Error>(())
/// ```
#[derive(ThisError, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum TaskDoneError {
    /// Every item that was got is done already.
    #[error("task_done was called more often than items were got")]
    TooMany,
    /// The queue was overwritten with bytes that this library does not write.
    #[error("the queue is corrupt")]
    Corrupt,
}
