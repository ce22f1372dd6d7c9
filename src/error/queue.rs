//! What can go wrong with a queue. Where an item was passed in, it comes back.

use super::CodecError;
use serde::{Deserialize, Serialize};
use thiserror::Error as ThisError;

macro_rules! put_error {
    ($(#[$doc:meta])* $name:ident { $($(#[$own_doc:meta])* $own:ident)? }) => {
        $(#[$doc])*
        #[derive(ThisError, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum $name<T> {
            $($(#[$own_doc])* $own(T),)?
            /// The queue is closed: nothing more goes in.
            #[error("closed")]
            Closed(T),
            /// The item cannot be encoded: why.
            #[error("encode: {1}")]
            Encode(T, CodecError),
            /// There is no memory for it.
            #[error("no space left for shared memory")]
            NoSpace(T),
            /// What stands in the queue's memory is nothing that this library writes.
            #[error("the queue is corrupt")]
            Corrupt(T),
        }

        impl<T> $name<T> {
            /// The item that was not put.
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

            /// The same error with another item.
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

            /// Whether the queue is closed.
            ///
            /// ```
            /// assert!(crossproc::PutError::Closed(5).is_closed() && !crossproc::PutError::NoSpace(5).is_closed());
            /// ```
            pub fn is_closed(&self) -> bool {
                matches!(self, $name::Closed(_))
            }
        }

        impl<T> std::fmt::Debug for $name<T> {
            /// Without the item, which may not have a `Debug`.
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

put_error! {
    /// Why an item was not put.
    ///
    /// ```
    /// use crossproc::{PutError, SimpleQueue};
    /// let queue = SimpleQueue::bounded(1)?;
    /// queue.close();
    /// assert_eq!(queue.put('a'), Err(PutError::Closed('a')));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    PutError {}
}

put_error! {
    /// Why `try_put` did not put an item.
    ///
    /// ```
    /// use crossproc::{SimpleQueue, TryPutError};
    /// let queue = SimpleQueue::bounded(1)?;
    /// queue.put('a')?;
    /// assert_eq!(queue.try_put('b'), Err(TryPutError::Full('b')));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    TryPutError {
        /// As many items as may be are in.
        #[error("full")]
        Full
    }
}

put_error! {
    /// Why `put_timeout` did not put an item.
    ///
    /// ```
    /// use crossproc::{PutTimeoutError, SimpleQueue};
    /// let queue = SimpleQueue::bounded(1)?;
    /// queue.put('a')?;
    /// let refused = queue.put_timeout('b', std::time::Duration::from_millis(1)).unwrap_err();
    /// assert!(refused.is_timeout() && refused.into_inner() == 'b');
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    PutTimeoutError {
        /// The queue was full all the time.
        #[error("timed out")]
        Timeout
    }
}

impl<T> PutTimeoutError<T> {
    /// Whether the time ran out.
    ///
    /// ```
    /// assert!(!crossproc::PutTimeoutError::Closed(1).is_timeout());
    /// ```
    pub fn is_timeout(&self) -> bool {
        matches!(self, PutTimeoutError::Timeout(_))
    }
}

macro_rules! get_error {
    ($(#[$doc:meta])* $name:ident { $($(#[$own_doc:meta])* $own:ident)? }) => {
        $(#[$doc])*
        #[derive(ThisError, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$own_doc])* $own,)?
            /// The queue is empty and closed.
            #[error("closed")]
            Closed,
            /// The queue is empty, others have held it, and nobody else does any more: nothing will come.
            #[error("nobody else holds the queue")]
            Disconnected,
            /// The item that was next is no item of this type, or its handles lead nowhere; it is gone.
            #[error("decode: {0}")]
            Decode(CodecError),
            /// There is no memory to get the item with; it stays.
            #[error("no space left for the item")]
            NoSpace,
            /// What stands in the queue's memory is nothing that this library writes.
            #[error("the queue is corrupt")]
            Corrupt,
        }
    };
}

get_error! {
    /// Why no item was got.
    ///
    /// ```
    /// use crossproc::{GetError, SimpleQueue};
    /// let queue = SimpleQueue::<u8>::bounded(1)?;
    /// queue.close();
    /// assert_eq!(queue.get(), Err(GetError::Closed));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    GetError {}
}

get_error! {
    /// Why `try_get` got no item.
    ///
    /// ```
    /// use crossproc::{SimpleQueue, TryGetError};
    /// assert_eq!(SimpleQueue::<u8>::bounded(1)?.try_get(), Err(TryGetError::Empty));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    TryGetError {
        /// There is no item.
        #[error("empty")]
        Empty
    }
}

get_error! {
    /// Why `get_timeout` got no item.
    ///
    /// ```
    /// let queue = crossproc::SimpleQueue::<u8>::bounded(1)?;
    /// assert!(queue.get_timeout(std::time::Duration::from_millis(1)).unwrap_err().is_timeout());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    GetTimeoutError {
        /// The queue was empty all the time.
        #[error("timed out")]
        Timeout
    }
}

impl GetTimeoutError {
    /// Whether the time ran out.
    ///
    /// ```
    /// assert!(crossproc::GetTimeoutError::Timeout.is_timeout() && !crossproc::GetTimeoutError::Closed.is_timeout());
    /// ```
    pub fn is_timeout(&self) -> bool {
        matches!(self, GetTimeoutError::Timeout)
    }
}

/// Without the item.
impl<T> From<PutError<T>> for super::Error {
    fn from(error: PutError<T>) -> Self {
        super::Error::Put(error.map(drop))
    }
}

impl<T> TryPutError<T> {
    /// Whether there was no room.
    ///
    /// ```
    /// assert!(crossproc::TryPutError::Full(1).is_full());
    /// ```
    pub fn is_full(&self) -> bool {
        matches!(self, TryPutError::Full(_))
    }
}

/// Without the item.
impl<T> From<TryPutError<T>> for super::Error {
    fn from(error: TryPutError<T>) -> Self {
        super::Error::TryPut(error.map(drop))
    }
}

/// Without the item.
impl<T> From<PutTimeoutError<T>> for super::Error {
    fn from(error: PutTimeoutError<T>) -> Self {
        super::Error::PutTimeout(error.map(drop))
    }
}

/// Why `task_done` did nothing.
///
/// ```
/// use crossproc::{JoinableQueue, TaskDoneError};
/// assert_eq!(JoinableQueue::<u8>::new()?.task_done(), Err(TaskDoneError::TooMany));
/// # Ok::<(), crossproc::Error>(())
/// ```
#[derive(ThisError, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum TaskDoneError {
    /// All that was got is done already.
    #[error("more tasks are done than were got")]
    TooMany,
    /// What stands in the queue's memory is nothing that this library writes.
    #[error("the queue is corrupt")]
    Corrupt,
}
