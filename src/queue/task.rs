//! `Task`: an item that this process works at, and that goes back to the queue if it is not done.

use super::leased::Leased;
use super::leases::LeaseId;
use super::message_queue::MessageQueue;
use crate::sys::process_id::ProcessId;
use std::fmt;
use std::ops::{Deref, DerefMut};

/// An item of a [`JoinableQueue`](crate::JoinableQueue) that this process has taken and not marked as done.
///
/// [`done`](Task::done) marks it as done. If it is dropped before, by an early `?`, a panic, or the death of the
/// process, it goes back to the front of the queue, as it was put: changes that were made to the item through the task
/// are lost.
///
/// ```
/// let queue = crossproc::JoinableQueue::new()?;
/// queue.put("job".to_string())?;
/// drop(queue.get_task()?); // not done
/// let task = queue.get_task()?;
/// assert_eq!((task.as_str(), task.deliveries()), ("job", 2));
/// assert_eq!(task.done(), "job");
/// queue.join()?;
/// # Ok::<(), crossproc::Error>(())
/// ```
///
/// # When a process dies
/// The task goes back to the queue, once, and its count of deliveries grows by one. The work itself may be finished
/// already, if the process died between the end of the work and `done`: a task is done *at least once*.
#[must_use = "a task that is dropped goes back to the queue"]
pub struct Task<T> {
    /// `None` once the task is done.
    item: Option<T>,
    /// Keeps the memory, but does not count as a holder.
    queue: MessageQueue<Leased>,
    lease: LeaseId,
    /// The process that took the task. A copy in a fork child is not the task.
    process: ProcessId,
}

impl<T> Task<T> {
    pub(super) fn new(item: T, queue: MessageQueue<Leased>, lease: LeaseId) -> Self {
        Task { item: Some(item), queue, lease, process: ProcessId::current() }
    }

    /// Marks the task as done and returns the item.
    ///
    /// ```
    /// let queue = crossproc::JoinableQueue::new()?;
    /// queue.put(5)?;
    /// assert_eq!(queue.get_task()?.done(), 5);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn done(self) -> T {
        let mut task = self;
        if task.process == ProcessId::current() {
            task.queue.acknowledge(&task.lease);
        }
        match task.item.take() {
            Some(item) => item,
            None => unreachable!("only `done`, which takes the task, takes the item"),
        }
    }

    /// How often the task was delivered, this time included. More than 1: a worker gave it up, or died.
    ///
    /// ```
    /// let queue = crossproc::JoinableQueue::new()?;
    /// queue.put(5)?;
    /// let task = queue.get_task()?;
    /// assert_eq!(task.deliveries(), 1);
    /// task.done();
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn deliveries(&self) -> u32 {
        self.lease.deliveries
    }
}

impl<T> Deref for Task<T> {
    type Target = T;

    fn deref(&self) -> &T {
        match &self.item {
            Some(item) => item,
            None => unreachable!("only `done`, which takes the task, takes the item"),
        }
    }
}

impl<T> DerefMut for Task<T> {
    fn deref_mut(&mut self) -> &mut T {
        match &mut self.item {
            Some(item) => item,
            None => unreachable!("only `done`, which takes the task, takes the item"),
        }
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        if self.item.is_some() && self.process == ProcessId::current() {
            self.queue.requeue(&self.lease);
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("item", &self.item).field("deliveries", &self.deliveries()).finish_non_exhaustive()
    }
}
