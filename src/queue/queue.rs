//! `Queue`: items of any type and length, each delivered once. The protocol is that of
//! `messages`.

use super::direct::Direct;
use super::message_queue::{self, MessageQueue};
use crate::SegmentError;
use crate::ring::RingSource;
use crate::segment::{self, Handle, Holders, Kind, Object, ObjectLayout, Spec, handle_type};
use std::marker::PhantomData;

/// A queue between processes, for items of any length and of any type that can travel.
///
/// First in, first out, for any number of producers and consumers: items are delivered in the order in which their
/// calls of `put` took effect. A queue can be an argument, a result, or part of a message, like any handle, and its
/// items can contain handles. Items of up to 22 encoded bytes are the fastest; [`SimpleQueue`](crate::SimpleQueue) is
/// faster still, for plain data.
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
/// A process can be killed at any instruction: an item is either in the queue, complete, or not in it at all. An item
/// whose `put` has returned is delivered once, also after its producer has ended. A killed consumer loses at most the
/// items that it was just getting ([`JoinableQueue`](crate::JoinableQueue) loses none). The other processes continue
/// without delay.
///
/// When no other process has the queue any more, `get` on an empty queue is
/// [`Disconnected`](crate::GetError::Disconnected). Threads that share a handle count as one holder: clone the handle
/// for each thread that is to count. A process that is killed while it takes a handle on the queue out of a message
/// still counts as long as the memory exists: then `get` keeps waiting until the queue is [closed](Queue::close).
///
/// # Limits
/// At any time, the unread items of a queue can have handles on up to 128 different segments (arrays of more than 64
/// KiB, queues, and arenas of small objects are a segment each); one more is [`NoSpace`](crate::PutError::NoSpace). If
/// a process must not write large files (`RLIMIT_FSIZE`), the queues that it makes do not grow: a `put` for which there
/// is no memory is `NoSpace`.
pub struct Queue<T> {
    pub(super) inner: MessageQueue<Direct>,
    item: PhantomData<fn() -> T>,
}

handle_type!(Queue<T>);

impl<T> Object for Queue<T> {
    const IN_PLACE: bool = false;
    const HOLDERS: Option<Holders> = Some(message_queue::HOLDERS);

    fn spec(count: usize) -> Result<Spec, SegmentError> {
        Ok(Spec::of_messages::<Self>(Kind::Queue, count))
    }

    fn layout(count: usize) -> Option<ObjectLayout> {
        message_queue::layout(count)
    }

    fn of(handle: Handle, count: usize) -> Self {
        Queue { inner: MessageQueue::new(handle, count), item: PhantomData }
    }

    fn handle(&self) -> &Handle {
        &self.inner.handle
    }

    fn count(&self) -> usize {
        self.inner.bound
    }
}

impl<T> Queue<T> {
    /// A queue that cannot grow, for want of address space or of a limit, is still of use.
    pub(super) fn create(bound: usize) -> Result<Self, SegmentError> {
        segment::create(bound, |_| ())
    }

    /// The number of items in the queue, exact at one moment during the call.
    ///
    /// ```
    /// let queue = crossproc::Queue::new()?;
    /// queue.put(1)?;
    /// assert_eq!(queue.len(), 1);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn len(&self) -> usize {
        self.inner.messages.len()
    }

    /// Whether the queue is empty, exact at one moment during the call.
    ///
    /// ```
    /// assert!(crossproc::Queue::<u8>::new()?.is_empty());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn is_empty(&self) -> bool {
        !self.inner.messages.has_messages()
    }

    pub(crate) fn ring_source(&self) -> RingSource<'_> {
        self.inner.ring_source()
    }
}
