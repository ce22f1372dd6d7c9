//! The public methods of `Queue` and `JoinableQueue`: each is written once, and only forwards.

use super::iter::{Get, Iter};
use super::message_queue::{UNBOUNDED, check_bound};
use super::{JoinableQueue, Queue};
use crate::marker::{self, Element, Message};
use crate::{GetError, GetTimeoutError, PutError, PutTimeoutError, SegmentError, TryGetError, TryPutError};
use std::time::Duration;

/// Defines the methods for each of the types. In their docs, `#[queue = "new()?"]` stands for the line of an example
/// that makes a `queue` of that type.
macro_rules! methods {
    ([$($queue:ident),+] $methods:tt) => { $( methods! { @of $queue $methods } )+ };
    (@of $queue:ident { $(
        $(#[doc = $doc:literal])*
        #[queue = $make:literal]
        $(#[doc = $rest:literal])*
        pub fn $name:ident $(<$param:ident: $bound:ident>)? ($($args:tt)*) $(-> $output:ty)? $body:block
    )+ }) => {
        impl<T: Message> $queue<T> { $(
            $(#[doc = $doc])*
            #[doc = concat!("let queue = crossproc::", stringify!($queue), "::", $make, ";")]
            $(#[doc = $rest])*
            #[inline]
            pub fn $name $(<$param: $bound>)? ($($args)*) $(-> $output)? $body
        )+ }

        impl<T: Message> Get<T> for $queue<T> {
            fn get_one(&self) -> Result<T, GetError> {
                self.get()
            }
        }

        impl<'a, T: Message> IntoIterator for &'a $queue<T> {
            type Item = Result<T, GetError>;
            type IntoIter = Iter<'a, T>;

            fn into_iter(self) -> Iter<'a, T> {
                self.iter()
            }
        }
    };
}

methods! { [Queue, JoinableQueue] {
    /// Makes a queue without a limit: `put` never waits. Its memory grows as needed, and is freed when the queue is
    /// empty.
    ///
    /// # Errors
    /// [`NoSpace`](SegmentError::NoSpace), or an error of the operating system.
    ///
    /// ```
    #[queue = "new()?"]
    /// queue.put_many((0..100_000).map(|n| n.to_string()))?;
    /// assert_eq!((queue.len(), queue.capacity(), queue.get()?), (100_000, None, "0".to_string()));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn new() -> Result<Self, SegmentError> {
        Self::create(UNBOUNDED)
    }

    /// Makes a queue for at most `items` items at a time, each of any length.
    ///
    /// # Errors
    /// [`Invalid`](SegmentError::Invalid) if `items` is 0, [`NoSpace`](SegmentError::NoSpace), or an error of the
    /// operating system.
    ///
    /// ```
    #[queue = "<String>::bounded(1000)?"]
    /// assert_eq!((queue.len(), queue.capacity()), (0, Some(1000)));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn bounded(items: usize) -> Result<Self, SegmentError> {
        Self::create(check_bound(items)?)
    }

    /// Puts an item; waits while the queue is full.
    ///
    /// # Errors
    /// Each returns the item: [`Closed`](PutError::Closed), [`Encode`](PutError::Encode) (nothing was put),
    /// [`NoSpace`](PutError::NoSpace), [`Corrupt`](PutError::Corrupt).
    ///
    /// ```
    #[queue = "bounded(3)?"]
    /// queue.put(("a".to_string(), 1.5))?;
    /// assert_eq!((queue.len(), queue.get()?), (1, ("a".to_string(), 1.5)));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn put(&self, item: T) -> Result<(), PutError<T>> {
        self.inner.put(item)
    }

    /// Puts an item if there is room.
    ///
    /// # Errors
    /// [`Full`](TryPutError::Full), or as for [`put`](Self::put). Each returns the item.
    ///
    /// ```
    /// use crossproc::TryPutError;
    #[queue = "bounded(1)?"]
    /// assert_eq!((queue.try_put(1), queue.try_put(2)), (Ok(()), Err(TryPutError::Full(2))));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn try_put(&self, item: T) -> Result<(), TryPutError<T>> {
        self.inner.try_put(item)
    }

    /// Puts an item; waits at most for `duration` while the queue is full, by the monotonic clock.
    ///
    /// # Errors
    /// [`Timeout`](PutTimeoutError::Timeout), or as for [`put`](Self::put). Each returns the item.
    ///
    /// ```
    #[queue = "bounded(1)?"]
    /// assert!(queue.put_timeout(7, std::time::Duration::from_secs(1)).is_ok());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn put_timeout(&self, item: T, duration: Duration) -> Result<(), PutTimeoutError<T>> {
        self.inner.put_timeout(item, duration)
    }

    /// Puts all items, and returns their number; waits while the queue is full. Short items are put many at a time,
    /// which is faster than one by one. The items of other producers may come between these.
    ///
    /// # Errors
    /// As for [`put`](Self::put), with the first item that was not put. Up to 127 items that were taken from the
    /// iterator after it are dropped.
    ///
    /// ```
    #[queue = "new()?"]
    /// assert_eq!(queue.put_many(["a", "b"].map(String::from))?, 2);
    /// assert_eq!(queue.get_many(10)?, ["a", "b"]);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn put_many(&self, items: impl IntoIterator<Item = T>) -> Result<usize, PutError<T>> {
        self.inner.put_many(items)
    }

    /// Takes the first item out; waits while the queue is empty.
    ///
    /// # Errors
    /// When the queue is empty: [`Closed`](GetError::Closed); [`Disconnected`](GetError::Disconnected) if others had
    /// the queue and no other process has it any more. [`Decode`](GetError::Decode) if the item is not a `T`, or a
    /// handle in it refers to an object that is gone: the item is lost. [`NoSpace`](GetError::NoSpace),
    /// [`Corrupt`](GetError::Corrupt).
    ///
    /// ```
    #[queue = "new()?"]
    /// queue.put_many(['a', 'b'])?;
    /// assert_eq!((queue.get()?, queue.get()?), ('a', 'b'));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn get(&self) -> Result<T, GetError> {
        self.inner.get()
    }

    /// Takes the first item out if there is one.
    ///
    /// # Errors
    /// [`Empty`](TryGetError::Empty), or as for [`get`](Self::get).
    ///
    /// ```
    /// use crossproc::TryGetError;
    #[queue = "new()?"]
    /// queue.put(1u8)?;
    /// assert_eq!((queue.try_get(), queue.try_get()), (Ok(1), Err(TryGetError::Empty)));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn try_get(&self) -> Result<T, TryGetError> {
        self.inner.try_get()
    }

    /// Takes the first item out; waits at most for `duration` while the queue is empty, by the monotonic clock.
    ///
    /// # Errors
    /// [`Timeout`](GetTimeoutError::Timeout), or as for [`get`](Self::get).
    ///
    /// ```
    #[queue = "new()?"]
    /// queue.put(9u16)?;
    /// assert_eq!(queue.get_timeout(std::time::Duration::from_secs(1)), Ok(9));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn get_timeout(&self, duration: Duration) -> Result<T, GetTimeoutError> {
        self.inner.get_timeout(duration)
    }

    /// Takes out the items that are there, at most `max`; waits for the first one, unless `max` is 0. The items are in
    /// order, but other consumers may take some from between them.
    ///
    /// # Errors
    /// As for [`get`](Self::get), for the first item. A later item that cannot be decoded stays for the next call.
    ///
    /// ```
    #[queue = "new()?"]
    /// queue.put_many(0..7)?;
    /// assert_eq!((queue.get_many(5)?, queue.get_many(5)?), (vec![0, 1, 2, 3, 4], vec![5, 6]));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    ///
    /// # When a process dies
    /// Each item of a call that did not return is either still in the queue or lost; if one is still there, so are those
    /// after it.
    pub fn get_many(&self, max: usize) -> Result<Vec<T>, GetError> {
        self.inner.get_many(max)
    }

    /// Puts bytes without encoding them, for [`get_bytes`](Self::get_bytes).
    ///
    /// # Errors
    /// As for [`put`](Self::put).
    ///
    /// ```
    #[queue = "<()>::new()?"]
    /// queue.put_bytes(b"raw")?;
    /// queue.put_bytes(b"")?;
    /// assert_eq!((queue.get_bytes()?, queue.get_bytes()?), (b"raw".to_vec(), vec![]));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn put_bytes(&self, bytes: &[u8]) -> Result<(), PutError<()>> {
        self.inner.put_bytes(bytes)
    }

    /// Takes out the bytes of the first item, of whatever type it is; waits while the queue is empty.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    ///
    /// ```
    #[queue = "<()>::new()?"]
    /// queue.put_bytes(&[7; 1_000_000])?;
    /// assert_eq!(queue.get_bytes()?, vec![7; 1_000_000]);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn get_bytes(&self) -> Result<Vec<u8>, GetError> {
        self.inner.get_bytes()
    }

    /// Puts a slice by one copy, without serde, for [`get_vec`](Self::get_vec).
    ///
    /// # Errors
    /// As for [`put`](Self::put).
    ///
    /// ```
    #[queue = "<()>::new()?"]
    /// queue.put_slice(&[1.5f32, 2.5])?;
    /// assert_eq!(queue.get_vec::<f32>()?, [1.5, 2.5]);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn put_slice<E: Element>(&self, items: &[E]) -> Result<(), PutError<()>> {
        self.inner.put_bytes(marker::bytes_of(items))
    }

    /// Takes out a slice; waits while the queue is empty.
    ///
    /// # Errors
    /// As for [`get`](Self::get); [`Decode`](GetError::Decode) if the bytes of the item are not valid elements.
    ///
    /// ```
    #[queue = "<()>::new()?"]
    /// queue.put_slice(&[1u8, 2])?;
    /// assert!(queue.get_vec::<bool>().is_err());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn get_vec<E: Element>(&self) -> Result<Vec<E>, GetError> {
        self.inner.get_vec()
    }

    /// The number of items that may be in the queue at a time; `None` if there is no limit.
    ///
    /// ```
    #[queue = "<u8>::bounded(5)?"]
    /// assert_eq!(queue.capacity(), Some(5));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn capacity(&self) -> Option<usize> {
        self.inner.capacity()
    }

    /// Whether the queue has reached its capacity, exact at one moment during the call.
    ///
    /// ```
    #[queue = "bounded(1)?"]
    /// queue.put(1)?;
    /// assert!(queue.is_full());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn is_full(&self) -> bool {
        self.inner.is_full()
    }

    /// Closes the queue for all processes, for good: nothing can be put any more, the remaining items can be got. Wakes
    /// all waiters.
    ///
    /// ```
    #[queue = "bounded(5)?"]
    /// queue.put(1)?;
    /// queue.close();
    /// assert!(queue.put(2).is_err() && queue.get() == Ok(1) && queue.get().is_err());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn close(&self) {
        self.inner.close();
    }

    /// An iterator that takes an item out for each call of `next`. It ends when the queue is closed and empty, or after
    /// one [`Disconnected`](GetError::Disconnected).
    ///
    /// ```
    #[queue = "bounded(5)?"]
    /// queue.put_many([1, 2])?;
    /// queue.close();
    /// assert_eq!(queue.iter().collect::<Result<Vec<_>, _>>()?, [1, 2]);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn iter(&self) -> Iter<'_, T> {
        Iter::new(self)
    }
} }
