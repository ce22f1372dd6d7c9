//! `Queue`: items of any type and length. The protocol is the ring's.

use super::macros::{BATCH, Get, Iter, queue_methods};
use super::{UNBOUNDED, company, plan};
use crate::marker::Message;
use crate::marker::{self, Element};
use crate::messages::codec::{self, SendFailure};
use crate::messages::record::{Flags, Record};
use crate::messages::{self, MessageRing};
use crate::ring::{Peers, RingSource, WaitFor};
use crate::segment::{self, Handle, Holders, Kind, Object, ObjectLayout, Spec};
use crate::sync::Timeout;
use crate::{GetError, GetTimeoutError, PutError, PutTimeoutError, SegmentError, TryGetError, TryPutError};
use std::marker::PhantomData;
use std::time::Duration;

/// A queue between processes, for items of any type that can travel and of any length.
///
/// First in, first out, for any number of producers and consumers: items are delivered in the order in which their `put`s
/// came to their end. A queue is an argument, a result, or part of a message like any handle, and so may its items have
/// handles in them. What is short (22 bytes encoded) is fastest; [`SimpleQueue`](crate::SimpleQueue) is faster still, for
/// plain data.
///
/// ```
/// use crossproc::{Process, Queue, Result};
/// fn count(texts: Queue<String>, lengths: Queue<(String, usize)>) -> Result<()> {
///     for text in &texts {
///         let text = text?;
///         let length = text.chars().count();
///         lengths.put((text, length))?;
///     }
///     Ok(())
/// }
/// let (texts, lengths) = (Queue::new()?, Queue::new()?);
/// let worker = Process::spawn(count, (texts.clone(), lengths.clone()))?;
/// texts.put_many(["hello", "中文"].map(String::from))?;
/// texts.close(); // the worker's loop ends when nothing is left
/// worker.join()??;
/// assert_eq!((lengths.get()?.1, lengths.get()?.1), (5, 2));
/// # Ok::<(), crossproc::Error>(())
/// ```
///
/// # When a process dies
/// At any instruction: an item is in the queue, whole, or not, and out of it or not; what a `put` has acknowledged is
/// delivered, once, also when its producer has ended long ago. A killed consumer takes at most the items with it that it was
/// just getting ([`JoinableQueue`](crate::JoinableQueue) loses none). The others go on at once. If everybody else is gone,
/// `get` on an empty queue is [`Disconnected`](GetError::Disconnected). Threads that share one handle are one holder: clone it
/// for each that is to count. A process that was killed while it took a handle on the queue out of a message still counts, as
/// long as the memory lives: then `get` waits; [`close`](Queue::close) ends that.
///
/// # Limits
/// Handles on up to 128 different memories (arrays of more than 64 KiB, queues, arenas of small objects) can be on their way
/// through one queue at a time; one more is [`NoSpace`](PutError::NoSpace). Where a process may not write large files
/// (`RLIMIT_FSIZE`), queues that are made there do not grow: what they have no room for is `NoSpace`.
pub struct Queue<T> {
    handle: Handle,
    mail: MessageRing,
    items: usize,
    item: PhantomData<fn() -> T>,
}

queue_methods!(Queue);

impl<T> Queue<T> {
    /// How many items are in, exactly at this moment.
    ///
    /// ```
    /// let queue = crossproc::Queue::new()?;
    /// queue.put(1)?;
    /// assert_eq!(queue.len(), 1);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn len(&self) -> usize {
        self.mail.len()
    }

    /// Whether nothing is in, exactly at this moment.
    ///
    /// ```
    /// assert!(crossproc::Queue::<u8>::new()?.is_empty());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn is_empty(&self) -> bool {
        !self.mail.has_messages()
    }

    pub(crate) fn ring_source(&self) -> RingSource<'_> {
        let MessageRing { ring, .. } = &self.mail;
        let company = || self.company(WaitFor::Items);
        RingSource::new(ring, move || self.has_work() || ring.is_closed() || ring.is_alone(&company))
    }

    fn drain(&self) {
        self.mail.discard_all();
    }

    /// Where it cannot grow, it can be used all the same.
    fn check_room(&self) -> Result<(), SegmentError> {
        Ok(())
    }

    fn may_take_several(&self) -> bool {
        true
    }

    fn has_work(&self) -> bool {
        self.mail.has_messages()
    }

    fn company(&self, what: WaitFor) -> Peers {
        company(&self.handle, &self.mail.ring, what)
    }
}

impl<T: Message> Queue<T> {
    #[inline]
    fn receive(&self, to: &mut Option<T>, patience: Timeout) -> Result<(), SendFailure> {
        self.mail.receive_value(to, patience, &|| self.company(WaitFor::Items))
    }

    fn receive_bytes(&self) -> Result<Vec<u8>, SendFailure> {
        Ok(self.mail.receive_bytes(usize::MAX, Timeout::Never, &|| self.company(WaitFor::Items))?)
    }
}
