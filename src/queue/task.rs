//! `Task`: an item that somebody works at, and that comes back if it is not done.

use super::JoinableQueue;
use super::leases::LeaseId;
use crate::sys::process_id::ProcessId;
use std::fmt;
use std::ops::{Deref, DerefMut};

/// An item of a [`JoinableQueue`] in the hands of this process.
///
/// [`done`](Task::done) ends it. Dropped before that, by an early `?`, a panic, or the death of the process, it goes back to the
/// front of the queue, as it was put: changes to the item here are not seen there.
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
/// The task comes back, once, and its count of deliveries is one more. Between the last line of the work and `done` it may have been
/// worked at already: that is what "at least once" means.
#[must_use = "a task that is dropped goes back to the queue"]
pub struct Task<T> {
    pub(super) item: Option<T>,
    pub(super) queue: JoinableQueue<T>,
    pub(super) grip: LeaseId,
    /// A fork child's copy is not its own.
    pub(super) process: ProcessId,
}

impl<T> Task<T> {
    /// The task is done; gives the item.
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
            task.queue.finish(&task.grip);
        }
        match task.item.take() {
            Some(item) => item,
            None => unreachable!("only `done`, which takes the task, takes the item"),
        }
    }

    /// How often the task was given out, from 1: more than that, and somebody gave up or died with it.
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
        self.grip.deliveries
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
            self.queue.put_back(&self.grip);
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("item", &self.item).field("deliveries", &self.deliveries()).finish_non_exhaustive()
    }
}
