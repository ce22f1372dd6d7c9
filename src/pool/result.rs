//! `AsyncResult`: the result of a task that may not have ended yet.

use super::job::Job;
use super::promise::{Promise, ResultCallback};
use super::reentrancy::{is_in_callback, is_in_waker};
use super::shared::PoolShared;
use crate::sys::Deadline;
use crate::wait::{Source, Waitable};
use crate::{Message, NotReady, TaskError};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// The result of a task of a [`Pool`](crate::Pool), which may not have come yet.
///
/// Wait for it with [`get`](AsyncResult::get), `.await` it, register a callback, or pass it to [`wait`](crate::wait())
/// together with other objects. Dropping it does not cancel the task.
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
/// A result or an error comes in any case, see [`Pool`](crate::Pool). In a fork of the pool's process no result comes:
/// [`PoolClosed`](TaskError::PoolClosed).
pub struct AsyncResult<R> {
    promise: Arc<Promise<R>>,
    /// The pool and the job; None if the pool refused the task.
    source: Option<(Arc<PoolShared>, Arc<dyn Job>)>,
}

impl<R> std::fmt::Debug for AsyncResult<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AsyncResult").field("ready", &self.ready()).finish_non_exhaustive()
    }
}

impl<R> AsyncResult<R> {
    pub(super) fn of(promise: Arc<Promise<R>>, shared: Arc<PoolShared>, job: Arc<dyn Job>) -> Self {
        AsyncResult { promise, source: Some((shared, job)) }
    }

    pub(super) fn ready_with(answer: Result<R, TaskError>) -> Self {
        AsyncResult { promise: Promise::ready(answer), source: None }
    }

    /// Returns whether the result or an error is there, so that [`get`](AsyncResult::get) would not wait. This includes
    /// the case that this thread cannot wait for it. Callbacks of other results see it before its own callbacks have
    /// run.
    ///
    /// ```
    /// let pool = crossproc::Pool::new(1)?;
    /// let result = pool.apply_async(|| 1, ());
    /// result.wait();
    /// assert!(result.ready());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn ready(&self) -> bool {
        self.promise.is_done() || is_in_callback() && self.promise.is_resolved() || self.refusal().is_some()
    }

    /// Returns whether the task returned a result, and not an error.
    ///
    /// # Errors
    /// [`NotReady`] if the task has not ended.
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

    /// Waits for the result or an error. Returns at once if this thread cannot wait for it
    /// ([`Deadlock`](TaskError::Deadlock)), or if it cannot come ([`PoolClosed`](TaskError::PoolClosed)).
    ///
    /// ```
    /// let pool = crossproc::Pool::new(1)?;
    /// let result = pool.apply_async(|| 1, ());
    /// result.wait();
    /// assert_eq!(result.successful(), Ok(true));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn wait(&self) {
        self.wait_until(None);
    }

    /// Waits like [`wait`](AsyncResult::wait), but at most for `duration` of the monotonic clock. Returns whether the
    /// result has come.
    ///
    /// ```
    /// use std::time::Duration;
    /// let pool = crossproc::Pool::new(1)?;
    /// let result = pool.apply_async(|| std::thread::sleep(Duration::from_millis(200)), ());
    /// assert!(!result.wait_timeout(Duration::from_millis(1)) && result.wait_timeout(Duration::from_secs(60)));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn wait_timeout(&self, duration: Duration) -> bool {
        self.wait_until(Some(Deadline::after(duration)))
    }

    fn wait_until(&self, deadline: Option<Deadline>) -> bool {
        let Some((shared, _)) = &self.source else { return true };
        if !is_in_callback() {
            return shared.wait_until(&|thread| self.promise.register_thread(thread), deadline);
        }
        // The thread that would run its callbacks may be this one, or wait for this one.
        let waits = |thread| self.promise.register_thread(thread) && !self.promise.has_callbacks_to_run();
        while !self.promise.is_done() {
            if self.promise.is_called_back_here() || !shared.wait_until(&waits, deadline) {
                return false;
            }
            self.promise.run_callbacks(&**shared);
        }
        true
    }

    /// Why this thread cannot wait for it, if so.
    fn refusal(&self) -> Option<TaskError> {
        let (shared, _) = self.source.as_ref()?;
        shared.refusal().or_else(|| self.promise.is_called_back_here().then_some(TaskError::Deadlock))
    }
}

impl<R: Message> AsyncResult<R> {
    /// Waits for the result, and returns it.
    ///
    /// # Errors
    /// The error of the task, see [`TaskError`].
    ///
    /// ```
    /// let pool = crossproc::Pool::new(1)?;
    /// assert_eq!(pool.apply_async(u64::pow, (2, 10)).get()?, 1024);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn get(self) -> Result<R, TaskError> {
        self.wait_until(None);
        self.promise.take().unwrap_or_else(|| Err(self.refusal().unwrap_or(TaskError::PoolClosed)))
    }

    /// Waits for the result, at most for `duration` of the monotonic clock. The result is returned once.
    ///
    /// # Errors
    /// [`Timeout`](TaskError::Timeout) if the result has not come; [`Taken`](TaskError::Taken) if it was returned
    /// before; the error of the task.
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
        if !self.wait_until(Some(Deadline::after(duration))) {
            return Err(self.refusal().unwrap_or(TaskError::Timeout));
        }
        self.promise.take().unwrap_or(Err(TaskError::PoolClosed))
    }

    /// Calls a function with the result when it has come: in a thread of the pool, before `get` or `wait` return. If
    /// the result is there already, the function is called at once, in this thread.
    ///
    /// Callbacks of a pool run one after the other, so they should be short. While one waits for another result, the
    /// callbacks of that result run. A panic in a callback is reported by the panic hook, and has no other effect.
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
        self.add_callback(Box::new(|answer| {
            if let Ok(result) = answer {
                f(result);
            }
        }));
        self
    }

    /// Calls a function with the error if the task fails; otherwise like [`on_done`](AsyncResult::on_done).
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
        self.add_callback(Box::new(|answer| {
            if let Err(error) = answer {
                f(error);
            }
        }));
        self
    }

    fn add_callback(&self, callback: ResultCallback<R>) {
        if let Some((shared, _)) = self.source.as_ref().filter(|_| !self.promise.is_done()) {
            shared.start_callback_thread();
        }
        self.promise.add_callback(callback);
    }

    /// Takes the task back if no worker has begun it; of a map, the inputs that no worker has begun. Returns true if
    /// there were any. Then the result is [`Cancelled`](TaskError::Cancelled); inputs that were begun run to their end,
    /// and their results are dropped.
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
        let Some((shared, job)) = &self.source else { return false };
        if self.promise.is_resolved() || !shared.cancel(job) {
            return false;
        }
        self.promise.resolve(Err(TaskError::Cancelled), &**shared);
        true
    }
}

/// Can be awaited in any runtime: a thread of the pool wakes the task.
impl<R: Message> Future for AsyncResult<R> {
    type Output = Result<R, TaskError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let waits = self.promise.register_waker(context.waker());
        let Some((shared, _)) = self.source.as_ref().filter(|_| waits) else {
            return Poll::Ready(self.promise.take().unwrap_or(Err(TaskError::Taken)));
        };
        if is_in_callback() {
            self.promise.run_callbacks(&**shared); // see `wait_until`
        }
        // A poll in a waker does not wait.
        let refusal = self.refusal().filter(|error| !matches!(error, TaskError::Deadlock) || !is_in_waker());
        match self.promise.is_done() {
            true => Poll::Ready(self.promise.take().unwrap_or(Err(TaskError::Taken))),
            false => refusal.map_or(Poll::Pending, |error| Poll::Ready(Err(error))),
        }
    }
}

/// Ready when the result or an error has come.
impl<R> Waitable for AsyncResult<R> {
    fn source(&self) -> Source<'_> {
        match self.refusal() {
            Some(_) => Source::Ready, // `get` returns it
            None => Source::Word(self.promise.word(is_in_callback())),
        }
    }
}
