//! `JoinableQueue`: a queue that knows which of its items are not done yet. See `leased` and `leases`.

use super::Task;
use super::leased::Leased;
use super::message_queue::{self, MessageQueue};
use crate::marker::Message;
use crate::messages::codec::SendFailure;
use crate::ring::{RingError, RingSource};
use crate::segment::{self, Handle, Holders, Kind, Object, ObjectLayout, Spec, handle_type};
use crate::sync::Timeout;
use crate::{GetError, GetTimeoutError, SegmentError, TaskDoneError, TryGetError};
use std::marker::PhantomData;
use std::time::Duration;

/// A [`Queue`](crate::Queue) that can wait until all its items are done, and that loses no task when a worker is
/// killed.
///
/// [`get_task`](JoinableQueue::get_task) returns a [`Task`], which goes back to the front of the queue unless it is
/// marked as [`done`](Task::done). The calls of Python exist too: [`get`](JoinableQueue::get) takes an item out for
/// good, and [`task_done`](JoinableQueue::task_done) marks one of these items as done. [`join`](JoinableQueue::join)
/// waits for both.
///
/// ```
/// use crossproc::{JoinableQueue, Process, Result, Value};
/// fn work(jobs: JoinableQueue<i64>, sum: Value<i64>) -> Result<()> {
///     while let Ok(job) = jobs.get_task() {
///         sum.update(|sum| *sum += *job)?; // an early return: the job goes back
///         job.done();
///     }
///     Ok(())
/// }
/// let (jobs, sum) = (JoinableQueue::new()?, Value::new(0)?);
/// let worker = Process::spawn(work, (jobs.clone(), sum.clone()))?;
/// jobs.put_many(1..=10)?;
/// jobs.join()?; // all are done
/// assert_eq!(sum.get(), 55);
/// jobs.close();
/// worker.join()??;
/// # Ok::<(), crossproc::Error>(())
/// ```
///
/// # When a process dies
/// As for a [`Queue`](crate::Queue); in addition, the tasks of the process go back to the front of the queue. An item
/// that the process took by `get` is lost and never marked as done: `join` waits for it until no other process has the
/// queue, and is then [`Disconnected`](GetError::Disconnected).
///
/// # Limits
/// At most 4,096 tasks can be taken and not done at a time; one more is [`NoSpace`](GetError::NoSpace). If a process
/// must not write large files (`RLIMIT_FSIZE`), it cannot make such a queue: [`NoSpace`](SegmentError::NoSpace).
pub struct JoinableQueue<T> {
    pub(super) inner: MessageQueue<Leased>,
    item: PhantomData<fn() -> T>,
}

handle_type!(JoinableQueue<T>);

impl<T> Object for JoinableQueue<T> {
    const IN_PLACE: bool = false;
    const HOLDERS: Option<Holders> = Some(message_queue::HOLDERS);

    fn spec(count: usize) -> Result<Spec, SegmentError> {
        Ok(Spec::of_messages::<Self>(Kind::JoinableQueue, count))
    }

    fn layout(count: usize) -> Option<ObjectLayout> {
        message_queue::layout(count)
    }

    fn of(handle: Handle, count: usize) -> Self {
        JoinableQueue { inner: MessageQueue::new(handle, count), item: PhantomData }
    }

    fn handle(&self) -> &Handle {
        &self.inner.handle
    }

    fn count(&self) -> usize {
        self.inner.bound
    }
}

impl<T> JoinableQueue<T> {
    pub(super) fn create(bound: usize) -> Result<Self, SegmentError> {
        let queue: Self = segment::create(bound, |_| ())?;
        queue.inner.check_extent()?;
        Ok(queue)
    }

    /// The number of items in the queue, exact at one moment during the call. Tasks that are taken do not count.
    ///
    /// ```
    /// let queue = crossproc::JoinableQueue::new()?;
    /// queue.put_many([1, 2])?;
    /// let task = queue.get_task()?;
    /// assert_eq!(queue.len(), 1);
    /// drop(task);
    /// assert_eq!(queue.len(), 2);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn len(&self) -> usize {
        self.inner.len()
    }

    /// Whether the queue is empty, exact at one moment during the call.
    ///
    /// ```
    /// assert!(crossproc::JoinableQueue::<u8>::new()?.is_empty());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn is_empty(&self) -> bool {
        !self.inner.has_items()
    }

    pub(crate) fn ring_source(&self) -> RingSource<'_> {
        self.inner.ring_source()
    }
}

impl<T: Message> JoinableQueue<T> {
    /// Takes the first item out as a task; waits while the queue is empty.
    ///
    /// # Errors
    /// As for [`get`](JoinableQueue::get). A task that cannot be decoded counts as done.
    ///
    /// ```
    /// let queue = crossproc::JoinableQueue::new()?;
    /// queue.put(1.5)?;
    /// let task = queue.get_task()?;
    /// assert_eq!(*task, 1.5);
    /// task.done();
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn get_task(&self) -> Result<Task<T>, GetError> {
        Ok(self.take_task(Timeout::Never)?)
    }

    /// Takes the first item out as a task if there is one.
    ///
    /// # Errors
    /// [`Empty`](TryGetError::Empty), or as for [`get_task`](JoinableQueue::get_task).
    ///
    /// ```
    /// use crossproc::{JoinableQueue, TryGetError};
    /// let queue = JoinableQueue::<u8>::new()?;
    /// assert_eq!(queue.try_get_task().unwrap_err(), TryGetError::Empty);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn try_get_task(&self) -> Result<Task<T>, TryGetError> {
        Ok(self.take_task(Timeout::Now)?)
    }

    /// Takes the first item out as a task; waits at most for `duration` while the queue is empty, by the monotonic
    /// clock.
    ///
    /// # Errors
    /// [`Timeout`](GetTimeoutError::Timeout), or as for [`get_task`](JoinableQueue::get_task).
    ///
    /// ```
    /// let queue = crossproc::JoinableQueue::<u8>::new()?;
    /// assert!(queue.get_task_timeout(std::time::Duration::from_millis(1)).unwrap_err().is_timeout());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn get_task_timeout(&self, duration: Duration) -> Result<Task<T>, GetTimeoutError> {
        Ok(self.take_task(Timeout::at_most(duration))?)
    }

    fn take_task(&self, timeout: Timeout) -> Result<Task<T>, SendFailure> {
        let (item, lease) = self.inner.take_task(timeout)?;
        let queue = MessageQueue::new(self.inner.handle.uncounted(), self.inner.bound);
        Ok(Task::new(item, queue, lease))
    }

    /// Marks one of the items that were taken by [`get`](JoinableQueue::get) and its variants as done.
    ///
    /// # Errors
    /// [`TooMany`](TaskDoneError::TooMany) if all of them are done already; [`Corrupt`](TaskDoneError::Corrupt).
    ///
    /// ```
    /// let queue = crossproc::JoinableQueue::new()?;
    /// queue.put('x')?;
    /// assert!(queue.task_done().is_err(), "no process has taken it");
    /// queue.get()?;
    /// queue.task_done()?;
    /// queue.join()?;
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn task_done(&self) -> Result<(), TaskDoneError> {
        self.inner.acknowledge_got()
    }

    /// Waits until every item that was ever put is done. A closed queue makes no difference.
    ///
    /// # Errors
    /// [`Disconnected`](GetError::Disconnected) if something is not done and no other process has the queue any more,
    /// though others had it. [`Corrupt`](GetError::Corrupt).
    ///
    /// ```
    /// crossproc::JoinableQueue::<u8>::new()?.join()?; // nothing was ever put
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn join(&self) -> Result<(), GetError> {
        self.inner.join(Timeout::Never).map_err(|error| SendFailure::Ring(error).into())
    }

    /// Waits at most for `duration` until every item is done, by the monotonic clock. Returns whether they are.
    ///
    /// # Errors
    /// As for [`join`](JoinableQueue::join).
    ///
    /// ```
    /// let queue = crossproc::JoinableQueue::new()?;
    /// queue.put(1)?;
    /// assert!(!queue.join_timeout(std::time::Duration::from_millis(1))?);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn join_timeout(&self, duration: Duration) -> Result<bool, GetError> {
        match self.inner.join(Timeout::at_most(duration)) {
            Ok(()) => Ok(true),
            Err(RingError::NotNow | RingError::Timeout) => Ok(false),
            Err(error) => Err(SendFailure::Ring(error).into()),
        }
    }
}
