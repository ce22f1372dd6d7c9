//! `AsyncResult`: the result of a task that may not have ended yet.

use super::callbacks::{Waking, is_in_callback};
use super::job::Job;
use super::promise::{Callback, Promise};
use super::shared::PoolShared;
use crate::sys::Deadline;
use crate::wait::{Source, Waitable};
use crate::{Message, NotReady, TaskError};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// The result of a task of a [`Pool`](crate::Pool), now or later.
///
/// Wait for it with [`get`](AsyncResult::get), `.await` it, have a function called with it, or pass it to
/// [`wait`](crate::wait()) among other things. Dropping it cancels nothing.
///
/// ```
/// use crossproc::{Pool, TaskError};
/// use std::time::Duration;
/// let pool = Pool::new(2)?;
/// let mut slow = pool.apply_async(|| std::thread::sleep(Duration::from_secs(1)), ());
/// assert!(!slow.ready() && slow.successful().is_err());
/// assert_eq!(slow.get_timeout(Duration::from_millis(1)), Err(TaskError::Timeout));
/// let quick = pool.apply_async(u64::pow, (2, 10)).on_done(|power| assert_eq!(*power, 1024));
/// assert_eq!(quick.get()?, 1024);
/// # Ok::<(), crossproc::Error>(())
/// ```
///
/// # When a process dies
/// See [`Pool`](crate::Pool): a result or an error comes in any case. In a fork of the pool's process no result comes:
/// [`PoolClosed`](TaskError::PoolClosed).
pub struct AsyncResult<R> {
    promise: Arc<Promise<R>>,
    /// The pool and the job; none if it was refused.
    source: Option<(Arc<PoolShared>, Arc<dyn Job>)>,
}

impl<R> std::fmt::Debug for AsyncResult<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AsyncResult").field("ready", &self.ready()).finish_non_exhaustive()
    }
}

impl<R> AsyncResult<R> {
    pub(super) fn of(promise: Arc<Promise<R>>, hub: Arc<PoolShared>, job: Arc<dyn Job>) -> Self {
        AsyncResult { promise, source: Some((hub, job)) }
    }

    pub(super) fn kept(answer: Result<R, TaskError>) -> Self {
        AsyncResult { promise: Promise::kept(answer), source: None }
    }

    /// Whether it has come, as a result or an error: [`get`](AsyncResult::get) would not wait. (So it is also where nobody can wait for
    /// it, and in a callback before its own callbacks have run.)
    ///
    /// ```
    /// let pool = crossproc::Pool::new(1)?;
    /// let result = pool.apply_async(|| 1, ());
    /// result.wait();
    /// assert!(result.ready());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn ready(&self) -> bool {
        self.promise.is_done() || is_in_callback() && self.promise.has_come() || self.refusal().is_some()
    }

    /// Whether the task returned a result.
    ///
    /// # Errors
    /// It has not ended yet.
    ///
    /// ```
    /// let pool = crossproc::Pool::new(1)?;
    /// let result = pool.apply_async(|| panic!("no"), ());
    /// result.wait();
    /// assert_eq!(result.successful(), Ok(false));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn successful(&self) -> Result<bool, NotReady> {
        self.promise.is_ok(is_in_callback()).ok_or(NotReady)
    }

    /// Waits until it has come; not at all where nobody can wait for it ([`Deadlock`](TaskError::Deadlock)), or it never will
    /// ([`PoolClosed`](TaskError::PoolClosed)).
    ///
    /// ```
    /// let pool = crossproc::Pool::new(1)?;
    /// let result = pool.apply_async(|| 1, ());
    /// result.wait();
    /// assert_eq!(result.successful(), Ok(true));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn wait(&self) {
        self.drive(None);
    }

    /// The same, for that long at most, by the monotonic clock; whether it has come.
    ///
    /// ```
    /// use std::time::Duration;
    /// let pool = crossproc::Pool::new(1)?;
    /// let result = pool.apply_async(|| std::thread::sleep(Duration::from_millis(200)), ());
    /// assert!(!result.wait_timeout(Duration::from_millis(1)) && result.wait_timeout(Duration::from_secs(60)));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn wait_timeout(&self, duration: Duration) -> bool {
        self.drive(Some(Deadline::after(duration)))
    }

    fn drive(&self, deadline: Option<Deadline>) -> bool {
        let Some((hub, _)) = &self.source else { return true };
        if !is_in_callback() {
            return hub.drive(&|thread| self.promise.await_by(thread), deadline);
        }
        // What would run its callbacks may be this thread, or wait for it.
        let waits = |thread| self.promise.await_by(thread) && !self.promise.has_callbacks_to_run();
        while !self.promise.is_done() {
            if self.promise.is_called_here() || !hub.drive(&waits, deadline) {
                return false;
            }
            self.promise.settle(hub);
        }
        true
    }

    /// Why nobody can wait for it here, if so.
    fn refusal(&self) -> Option<TaskError> {
        let (hub, _) = self.source.as_ref()?;
        hub.refusal().or_else(|| self.promise.is_called_here().then_some(TaskError::Deadlock))
    }
}

impl<R: Message> AsyncResult<R> {
    /// Waits for the result.
    ///
    /// # Errors
    /// Those of the task: [`TaskError`].
    ///
    /// ```
    /// let pool = crossproc::Pool::new(1)?;
    /// assert_eq!(pool.apply_async(u64::pow, (2, 10)).get()?, 1024);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn get(self) -> Result<R, TaskError> {
        self.drive(None);
        self.promise.take().unwrap_or_else(|| Err(self.refusal().unwrap_or(TaskError::PoolClosed)))
    }

    /// The same, for that long at most, by the monotonic clock. The result is given out once.
    ///
    /// # Errors
    /// [`Timeout`](TaskError::Timeout) when the time is over; [`Taken`](TaskError::Taken) when it was given out; those of the task.
    ///
    /// ```
    /// use crossproc::{Pool, TaskError};
    /// let pool = Pool::new(1)?;
    /// let mut result = pool.apply_async(|| 5, ());
    /// let minute = std::time::Duration::from_secs(60);
    /// assert_eq!((result.get_timeout(minute), result.get_timeout(minute)), (Ok(5), Err(TaskError::Taken)));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn get_timeout(&mut self, duration: Duration) -> Result<R, TaskError> {
        if !self.drive(Some(Deadline::after(duration))) {
            return Err(self.refusal().unwrap_or(TaskError::Timeout));
        }
        self.promise.take().unwrap_or(Err(TaskError::PoolClosed))
    }

    /// Calls the function when there is a result, in a thread of the pool's, before anybody sees the result; at once and here if
    /// that is there already. One follows the other, so it should be short; where one waits for another result, the functions of
    /// that one are called meanwhile. A panic in it is the panic hook's affair alone.
    ///
    /// ```
    /// let (to, from) = std::sync::mpsc::channel();
    /// let pool = crossproc::Pool::new(2)?;
    /// for n in 0..3_u32 {
    ///     let to = to.clone();
    ///     pool.apply_async(u32::pow, (n, 2)).on_done(move |square| to.send(*square).unwrap());
    /// }
    /// pool.close();
    /// pool.join()?; // all callbacks have run
    /// assert_eq!(from.try_iter().sum::<u32>(), 5);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn on_done(self, f: impl FnOnce(&R) + Send + 'static) -> Self {
        self.call_back(Box::new(|answer| {
            if let Ok(result) = answer {
                f(result);
            }
        }));
        self
    }

    /// The same where there is an error instead.
    ///
    /// ```
    /// let (to, from) = std::sync::mpsc::channel();
    /// let pool = crossproc::Pool::new(1)?;
    /// let result = pool.apply_async(|| std::process::exit(5), ());
    /// let result = result.on_error(move |error| to.send(error.clone()).unwrap());
    /// assert_eq!(result.get().unwrap_err(), from.recv().unwrap());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn on_error(self, f: impl FnOnce(&TaskError) + Send + 'static) -> Self {
        self.call_back(Box::new(|answer| {
            if let Err(error) = answer {
                f(error);
            }
        }));
        self
    }

    fn call_back(&self, callback: Callback<R>) {
        if let Some((hub, _)) = self.source.as_ref().filter(|_| !self.promise.is_done()) {
            hub.employ_caller();
        }
        self.promise.call_back(callback);
    }

    /// Takes back what no worker has begun. True if that is all of it, or, of a map, some: then the result is
    /// [`Cancelled`](TaskError::Cancelled), and what has begun comes to its end unseen.
    ///
    /// ```
    /// use crossproc::{Pool, TaskError};
    /// let pool = Pool::new(1)?;
    /// let first = pool.apply_async(|| std::thread::sleep(std::time::Duration::from_millis(100)), ());
    /// let second = pool.apply_async(|| 2, ());
    /// assert!(second.cancel());
    /// assert_eq!((second.get(), first.get()), (Err(TaskError::Cancelled), Ok(())));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn cancel(&self) -> bool {
        let Some((hub, job)) = &self.source else { return false };
        if self.promise.has_come() || !hub.cancel(job) {
            return false;
        }
        self.promise.resolve(Err(TaskError::Cancelled), hub);
        true
    }
}

/// `.await` it in any runtime: the pool's own thread wakes the task.
impl<R: Message> Future for AsyncResult<R> {
    type Output = Result<R, TaskError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let waits = self.promise.wake_with(context.waker());
        let Some((hub, _)) = self.source.as_ref().filter(|_| waits) else {
            return Poll::Ready(self.promise.take().unwrap_or(Err(TaskError::Taken)));
        };
        if is_in_callback() {
            self.promise.settle(hub); // what would run its callbacks may be this thread, or wait for it
        }
        // In a waker it would be no wait.
        let refusal = self.refusal().filter(|error| !matches!(error, TaskError::Deadlock) || !Waking::is_here());
        match self.promise.is_done() {
            true => Poll::Ready(self.promise.take().unwrap_or(Err(TaskError::Taken))),
            false => refusal.map_or(Poll::Pending, |error| Poll::Ready(Err(error))),
        }
    }
}

/// Ready when it has come.
impl<R> Waitable for AsyncResult<R> {
    fn source(&self) -> Source<'_> {
        match self.refusal() {
            Some(_) => Source::Ready, // which `get` gives
            None => Source::Word(self.promise.word(is_in_callback())),
        }
    }
}
