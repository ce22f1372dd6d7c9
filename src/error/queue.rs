//! What can go wrong with a queue. Where an item was passed in, it comes back.

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
                    $name::Closed(item) | $name::Corrupt(item) => item,
                }
            }
        }

        impl<T> std::fmt::Debug for $name<T> {
            /// Without the item, which may not have a `Debug`.
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(match self {
                    $($name::$own(_) => concat!(stringify!($own), "(..)"),)?
                    $name::Closed(_) => "Closed(..)",
                    $name::Corrupt(_) => "Corrupt(..)",
                })
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
            /// What stands in the queue's memory is nothing that this library writes, or no item of this type.
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
        super::Error::Put(match error {
            PutError::Closed(_) => PutError::Closed(()),
            PutError::Corrupt(_) => PutError::Corrupt(()),
        })
    }
}
