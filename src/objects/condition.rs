//! `Condition`: releases a lock, waits for a notification, and takes the lock again. The protocol is that of
//! `sync::monitor`, the state that of `sync::condvar`.
#![allow(unsafe_code)] // the state lies in shared memory

use super::array::RangeLock;
use super::lock::SuspendedLock;
use super::rlock::{RecursiveLock, SuspendedRLock};
use super::value::SuspendedValue;
use crate::segment::unit_handle;
use crate::segment::{Handle, LINE};
use crate::sync::Timeout;
use crate::sync::condvar::CondvarState;
use crate::sync::layout;
use crate::sync::monitor::Monitor;
use crate::sys::Deadline;
use crate::{ArrayGuard, Element, LockError, LockGuard, RLockGuard, ValueGuard};
use bytemuck::Pod;
use std::time::Duration;

/// The largest number of threads that wait at the same time.
const MAX_WAITERS: usize = 128;

/// A condition variable between processes: threads wait until something that a lock protects has changed.
///
/// [`wait`](Condition::wait) takes the guard of a [`Lock`](crate::Lock), an [`RLock`](crate::RLock), a
/// [`Value`](crate::Value), an [`Array`](crate::Array) or a [`Part`](crate::Part), releases that lock while it waits,
/// and takes it again before it returns. It may return without a notification, so mostly
/// [`wait_while`](Condition::wait_while) is the method to use. At most 128 threads can wait for a condition at the same
/// time.
///
/// A condition also has a [lock of its own](Condition::lock), for data that no object of this crate holds.
///
/// ```
/// use crossproc::{Condition, Process, Value};
/// fn add_later(total: Value<u32>, changed: Condition) -> crossproc::Result<()> {
///     *total.lock()? = 7;
///     changed.notify_all()?;
///     Ok(())
/// }
/// let (total, changed) = (Value::new(0_u32)?, Condition::new()?);
/// let child = Process::spawn(add_later, (total.clone(), changed.clone()))?;
/// let guard = changed.wait_while(total.lock()?, |total| *total == 0)?;
/// assert_eq!(*guard, 7);
/// # drop(guard);
/// child.join()??;
/// # Ok::<(), crossproc::Error>(())
/// ```
///
/// # When a process dies
/// - While it waits: the other waiters are not affected.
/// - After [`notify_one`](Condition::notify_one) woke it, but before it has its lock again: another waiter wakes in its
///   place.
/// - With its lock held again: see the type of the lock.
/// - During a `notify` call: either every waiter that the call was to wake wakes, or none.
pub struct Condition {
    handle: Handle,
}

unit_handle!(Condition, 1, layout::bytes::<CondvarState>(1, MAX_WAITERS), "doc-condition");

/// The result of a wait with a timeout, like [`std::sync::WaitTimeoutResult`].
///
/// ```
/// use crossproc::{Condition, Lock};
/// let (lock, condition) = (Lock::new()?, Condition::new()?);
/// let (_guard, result) = condition.wait_timeout(lock.lock()?, std::time::Duration::from_millis(1))?;
/// assert!(result.timed_out());
/// # Ok::<(), crossproc::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    /// Returns whether the time ran out.
    ///
    /// ```
    /// # use crossproc::{Condition, Lock};
    /// # let (lock, condition) = (Lock::new()?, Condition::new()?);
    /// let (_guard, result) = condition.wait_timeout(lock.lock()?, std::time::Duration::ZERO)?;
    /// assert!(result.timed_out());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    #[must_use]
    pub fn timed_out(&self) -> bool {
        self.0
    }
}

mod sealed {
    pub trait Sealed {}
}

/// A guard whose lock a [`Condition`] can release and take again: those of `Lock`, `RLock`, `Value`, `Array` and
/// `Part`.
///
/// ```
/// fn is_guard<G: crossproc::Guard>(_: &G) {}
/// let lock = crossproc::Lock::new()?;
/// is_guard(&lock.lock()?);
/// # Ok::<(), crossproc::Error>(())
/// ```
pub trait Guard: Sized + sealed::Sealed {
    /// The type of the data that the guard protects.
    type Target: ?Sized;
    #[doc(hidden)]
    type Suspended;
    #[doc(hidden)]
    fn suspend(self) -> Self::Suspended;
    #[doc(hidden)]
    fn resume(suspended: Self::Suspended) -> Result<Self, LockError>;
    #[doc(hidden)]
    fn target(&mut self) -> &mut Self::Target;
}

/// Implements `Guard` by the guard's own `suspend`, and `resume` of what that returns.
macro_rules! guard {
    ([$($generics:tt)*] $guard:ty, $target:ty, $suspended:ty, $suspend:path, |$this:ident| $access:expr) => {
        impl<$($generics)*> sealed::Sealed for $guard {}
        impl<$($generics)*> Guard for $guard {
            type Target = $target;
            type Suspended = $suspended;
            fn suspend(self) -> Self::Suspended {
                $suspend(self)
            }
            fn resume(suspended: Self::Suspended) -> Result<Self, LockError> {
                suspended.resume()
            }
            fn target(&mut self) -> &mut Self::Target {
                let $this = self;
                $access
            }
        }
    };
}

/// The target of a guard that protects no shared memory.
fn unit() -> &'static mut () {
    Box::leak(Box::new(())) // its size is 0, so no memory is leaked
}

guard!(['a] LockGuard<'a>, (), SuspendedLock<'a>, LockGuard::suspend, |_guard| unit());
guard!(['a] RLockGuard<'a>, (), SuspendedRLock<'a>, RLockGuard::suspend, |_guard| unit());
guard!(['a, T: Element] ValueGuard<'a, T>, T, SuspendedValue<'a, T>, ValueGuard::suspend, |guard| &mut **guard);
guard!(['a, T: Pod] ArrayGuard<'a, T>, [T], RangeLock<'a, T>, ArrayGuard::suspend, |guard| &mut **guard);

impl Condition {
    #[inline]
    fn monitor(&self) -> Monitor<'_, CondvarState> {
        // SAFETY: the object has the layout of a monitor with one more lock and `MAX_WAITERS` participants. The handle
        // keeps it mapped.
        unsafe { layout::monitor(self.handle.object(), 1, MAX_WAITERS) }
    }

    /// Takes the condition's own lock, which is recursive like an [`RLock`](crate::RLock). It can protect anything.
    ///
    /// # Errors
    /// The errors of [`RLock::lock`](crate::RLock::lock).
    ///
    /// ```
    /// let condition = crossproc::Condition::new()?;
    /// let guard = condition.lock()?;
    /// condition.notify_all()?;
    /// # drop(guard);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn lock(&self) -> Result<RLockGuard<'_>, LockError> {
        Ok(self.own_lock().acquire(Timeout::Never)?)
    }

    /// Takes the condition's own lock. If a holder was killed, runs `repair` first.
    ///
    /// # Errors
    /// The errors of [`RLock::lock_or_repair`](crate::RLock::lock_or_repair).
    ///
    /// ```
    /// let condition = crossproc::Condition::new()?;
    /// assert!(condition.lock_or_repair(|| unreachable!("no holder died")).is_ok());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn lock_or_repair(&self, repair: impl FnOnce()) -> Result<RLockGuard<'_>, LockError> {
        self.own_lock().acquire_repaired(repair)
    }

    fn own_lock(&self) -> RecursiveLock<'_> {
        // SAFETY: the second line of the object begins with a lock (the layout has one more lock). The handle keeps it
        // mapped.
        unsafe { RecursiveLock::at(self.handle.object().add(LINE)) }
    }

    /// Releases the guard's lock, waits for a notification, and takes the lock again.
    ///
    /// Releasing the lock of a [`Value`](crate::Value) commits its changes. An [`RLock`](crate::RLock) is released
    /// completely, however often this thread has taken it, and taken again as often. A notification that is sent after
    /// the lock was released is not missed.
    ///
    /// # Errors
    /// - The error of taking the lock again.
    /// - [`TooMany`](LockError::TooMany) if 128 threads wait for this condition already, or this thread holds about
    ///   2,000 locks.
    /// - [`Corrupt`](LockError::Corrupt) if the condition was overwritten.
    ///
    /// In each case, this thread does not hold the lock any more.
    ///
    /// ```
    /// use crossproc::{Condition, Lock};
    /// let (lock, condition) = (Lock::new()?, Condition::new()?);
    /// std::thread::scope(|scope| -> crossproc::Result<()> {
    ///     let guard = lock.lock()?;
    ///     scope.spawn(|| {
    ///         let _guard = lock.lock(); // not before the other thread waits
    ///         condition.notify_one()
    ///     });
    ///     let _guard = condition.wait(guard)?;
    ///     Ok(())
    /// })?;
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn wait<G: Guard>(&self, guard: G) -> Result<G, LockError> {
        Ok(self.wait_until(guard, None)?.0)
    }

    /// Like [`wait`](Condition::wait), but waits for a notification for at most `duration`, by the monotonic clock.
    ///
    /// Taking the lock again afterwards may take longer.
    ///
    /// # Errors
    /// The errors of [`wait`](Condition::wait).
    ///
    /// ```
    /// use crossproc::{Condition, Value};
    /// let (value, condition) = (Value::new(1)?, Condition::new()?);
    /// let (guard, result) = condition.wait_timeout(value.lock()?, std::time::Duration::from_millis(1))?;
    /// assert!(result.timed_out() && *guard == 1);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn wait_timeout<G: Guard>(&self, guard: G, duration: Duration) -> Result<(G, WaitTimeoutResult), LockError> {
        self.wait_until(guard, Some(Deadline::after(duration)))
    }

    /// Waits, with the guard's lock released, while `condition` returns true. It is called under the lock, before the
    /// first wait and after each one.
    ///
    /// # Errors
    /// The errors of [`wait`](Condition::wait).
    ///
    /// ```
    /// use crossproc::{Condition, Array};
    /// let (array, condition) = (Array::from_slice(&[1, 2])?, Condition::new()?);
    /// let guard = condition.wait_while(array.lock()?, |items| items.is_empty())?; // does not wait
    /// assert_eq!(guard[..], [1, 2]);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn wait_while<G: Guard>(
        &self,
        mut guard: G,
        mut condition: impl FnMut(&mut G::Target) -> bool,
    ) -> Result<G, LockError> {
        while condition(guard.target()) {
            guard = self.wait(guard)?;
        }
        Ok(guard)
    }

    /// Like [`wait_while`](Condition::wait_while), but waits for at most `duration` in total, by the monotonic clock.
    ///
    /// # Errors
    /// The errors of [`wait`](Condition::wait).
    ///
    /// ```
    /// use crossproc::{Condition, Value};
    /// let (value, condition) = (Value::new(0)?, Condition::new()?);
    /// let time = std::time::Duration::from_millis(5);
    /// let (_guard, result) = condition.wait_timeout_while(value.lock()?, time, |n| *n == 0)?;
    /// assert!(result.timed_out());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn wait_timeout_while<G: Guard>(
        &self,
        mut guard: G,
        duration: Duration,
        mut condition: impl FnMut(&mut G::Target) -> bool,
    ) -> Result<(G, WaitTimeoutResult), LockError> {
        let deadline = Deadline::after(duration);
        loop {
            if !condition(guard.target()) {
                return Ok((guard, WaitTimeoutResult(false)));
            }
            if deadline.has_passed() {
                return Ok((guard, WaitTimeoutResult(true)));
            }
            guard = self.wait_until(guard, Some(deadline))?.0;
        }
    }

    fn wait_until<G: Guard>(&self, guard: G, deadline: Option<Deadline>) -> Result<(G, WaitTimeoutResult), LockError> {
        let monitor = self.monitor();
        let waiter = monitor.register()?;
        let suspended = guard.suspend();
        let was_notified = monitor.wait_for_grant(&waiter, deadline);
        let guard = G::resume(suspended);
        monitor.unregister(&waiter)?;
        let (was_notified, guard) = (was_notified?, guard?);
        Ok((guard, WaitTimeoutResult(!was_notified)))
    }

    /// Wakes one waiting thread, if there is one. The caller may hold the lock, but need not.
    ///
    /// # Errors
    /// [`Corrupt`](LockError::Corrupt) if the condition was overwritten.
    ///
    /// ```
    /// crossproc::Condition::new()?.notify_one()?;
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    #[inline]
    pub fn notify_one(&self) -> Result<(), LockError> {
        self.notify(1)
    }

    /// Wakes `n` waiting threads, or all if fewer wait.
    ///
    /// # Errors
    /// [`Corrupt`](LockError::Corrupt) if the condition was overwritten.
    ///
    /// ```
    /// crossproc::Condition::new()?.notify(3)?;
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    #[inline]
    pub fn notify(&self, n: usize) -> Result<(), LockError> {
        if self.monitor().state.has_no_waiters() { Ok(()) } else { self.notify_waiting(n) }
    }

    #[cold]
    #[inline(never)]
    fn notify_waiting(&self, n: usize) -> Result<(), LockError> {
        Ok(self.monitor().notify_some(u32::try_from(n).unwrap_or(u32::MAX))?)
    }

    /// Wakes all waiting threads.
    ///
    /// # Errors
    /// [`Corrupt`](LockError::Corrupt) if the condition was overwritten.
    ///
    /// ```
    /// crossproc::Condition::new()?.notify_all()?;
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    #[inline]
    pub fn notify_all(&self) -> Result<(), LockError> {
        self.notify(usize::MAX)
    }
}
