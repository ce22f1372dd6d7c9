//! `Condition`: waiting, with a lock given up meanwhile, until somebody says that something changed. The protocol is
//! `sync::monitor`'s, the state `sync::waiters`'.
#![allow(unsafe_code)] // the state lies in shared memory

use super::rlock::Levels;
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

/// More than this do not wait at once.
const SEATS: usize = 128;

/// Where threads of any processes wait until something that a lock protects has changed.
///
/// It goes with the guard of a [`Lock`](crate::Lock), an [`RLock`](crate::RLock), a [`Value`](crate::Value) or an [`Array`](crate::Array):
/// that is given up while one waits, and taken again. A condition may wake without a reason, so
/// [`wait_while`](Condition::wait_while) is mostly what one wants.
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
/// Asleep: nobody is the worse. Woken by [`notify_one`](Condition::notify_one), but not in possession of its lock yet: another one that
/// waits wakes in its place. With the lock held again: what its lock says. In the middle of `notify_*`: all that it was to
/// wake wake, or none.
pub struct Condition {
    handle: Handle,
}

unit_handle!(Condition, 1, layout::bytes::<CondvarState>(1, SEATS), "doc-condition");

/// Whether a wait with a time ended by it, as `std`'s.
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
    /// Whether the time ran out.
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

/// A guard that a [`Condition`] can give up and take again: those of `Lock`, `RLock`, `Value` and `Array`.
///
/// ```
/// fn is_guard<G: crossproc::Guard>(_: &G) {}
/// let lock = crossproc::Lock::new()?;
/// is_guard(&lock.lock()?);
/// # Ok::<(), crossproc::Error>(())
/// ```
pub trait Guard: Sized + sealed::Sealed {
    /// What the guard protects.
    type Target: ?Sized;
    #[doc(hidden)]
    type Parked;
    #[doc(hidden)]
    fn park(self) -> Self::Parked;
    #[doc(hidden)]
    fn retake(parked: Self::Parked) -> Result<Self, LockError>;
    #[doc(hidden)]
    fn target(&mut self) -> &mut Self::Target;
}

/// How each guard is given up, and taken again.
macro_rules! guard {
    ([$($generics:tt)*] $guard:ty, $target:ty, $parked:ty, $park:path, |$this:ident| $access:expr) => {
        impl<$($generics)*> sealed::Sealed for $guard {}
        impl<$($generics)*> Guard for $guard {
            type Target = $target;
            type Parked = $parked;
            fn park(self) -> Self::Parked {
                $park(self)
            }
            fn retake(parked: Self::Parked) -> Result<Self, LockError> {
                parked.retake()
            }
            fn target(&mut self) -> &mut Self::Target {
                let $this = self;
                $access
            }
        }
    };
}

/// Nothing: a lock by itself protects no memory of ours.
fn nothing() -> &'static mut () {
    Box::leak(Box::new(())) // of no size, so nothing is leaked
}

guard!(['a] LockGuard<'a>, (), crate::objects::lock::Parked<'a>, LockGuard::park, |_guard| nothing());
guard!(['a] RLockGuard<'a>, (), crate::objects::rlock::Parked<'a>, RLockGuard::park, |_guard| nothing());
guard!(['a, T: Element] ValueGuard<'a, T>, T, crate::objects::value::Parked<'a, T>, ValueGuard::park, |guard| &mut **guard);
guard!(['a, T: Pod] ArrayGuard<'a, T>, [T], crate::objects::array::Cover<'a, T>, ArrayGuard::park, |guard| &mut **guard);

impl Condition {
    #[inline]
    fn monitor(&self) -> Monitor<'_, CondvarState> {
        // SAFETY: by `shape` the object has room for the state and that many seats, and lives as long as the handle.
        unsafe { layout::monitor(self.handle.object(), 1, SEATS) }
    }

    /// The condition's own lock, which its thread may take again, for what lies elsewhere.
    ///
    /// # Errors
    /// As [`RLock::lock`](crate::RLock::lock).
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

    /// The same; if a holder was killed, `repair` runs first.
    ///
    /// # Errors
    /// As [`RLock::lock_or_repair`](crate::RLock::lock_or_repair).
    ///
    /// ```
    /// let condition = crossproc::Condition::new()?;
    /// assert!(condition.lock_or_repair(|| unreachable!("nobody died")).is_ok());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn lock_or_repair(&self, repair: impl FnOnce()) -> Result<RLockGuard<'_>, LockError> {
        self.own_lock().acquire_repaired(repair)
    }

    fn own_lock(&self) -> Levels<'_> {
        // SAFETY: by `shape` there is a line for a second lock behind the first one, mapped as long as the handle lives.
        unsafe { Levels::at(self.handle.object().add(LINE)) }
    }

    /// Gives the guard's lock up, waits until somebody notifies, and takes the lock again. The guard of a `Value` commits
    /// before; of an `RLock` all levels are given up, and taken again.
    ///
    /// # Errors
    /// What the lock says when it is taken again; [`TooMany`](LockError::TooMany) when 128 wait here already, or this
    /// thread holds about 2,000 locks; [`Corrupt`](LockError::Corrupt). The lock is not held then.
    ///
    /// ```
    /// use crossproc::{Condition, Lock};
    /// let (lock, condition) = (Lock::new()?, Condition::new()?);
    /// std::thread::scope(|scope| -> crossproc::Result<()> {
    ///     let guard = lock.lock()?;
    ///     scope.spawn(|| {
    ///         let _guard = lock.lock(); // not before the other one waits
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

    /// The same, at most for that long, by the monotonic clock; the lock is waited for all the same.
    ///
    /// # Errors
    /// As [`wait`](Condition::wait).
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

    /// Waits as long as it is so.
    ///
    /// # Errors
    /// As [`wait`](Condition::wait).
    ///
    /// ```
    /// use crossproc::{Condition, Array};
    /// let (array, condition) = (Array::from_slice(&[1, 2])?, Condition::new()?);
    /// let guard = condition.wait_while(array.lock()?, |items| items.is_empty())?; // not at all
    /// assert_eq!(guard[..], [1, 2]);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn wait_while<G: Guard>(
        &self,
        mut guard: G,
        mut is_so: impl FnMut(&mut G::Target) -> bool,
    ) -> Result<G, LockError> {
        while is_so(guard.target()) {
            guard = self.wait(guard)?;
        }
        Ok(guard)
    }

    /// Waits as long as it is so, at most for that long.
    ///
    /// # Errors
    /// As [`wait`](Condition::wait).
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
        mut is_so: impl FnMut(&mut G::Target) -> bool,
    ) -> Result<(G, WaitTimeoutResult), LockError> {
        let deadline = Deadline::after(duration);
        loop {
            if !is_so(guard.target()) {
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
        let parked = guard.park();
        let called = monitor.wait_for_grant(&waiter, deadline);
        let guard = G::retake(parked);
        monitor.unregister(&waiter)?;
        let (called, guard) = (called?, guard?);
        Ok((guard, WaitTimeoutResult(!called)))
    }

    /// Wakes one of those who wait, if there is one. With the lock held or without it.
    ///
    /// # Errors
    /// [`Corrupt`](LockError::Corrupt).
    ///
    /// ```
    /// crossproc::Condition::new()?.notify_one()?;
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    #[inline]
    pub fn notify_one(&self) -> Result<(), LockError> {
        self.notify(1)
    }

    /// Wakes so many of those who wait, or all if there are not so many.
    ///
    /// # Errors
    /// [`Corrupt`](LockError::Corrupt).
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

    /// Wakes all who wait.
    ///
    /// # Errors
    /// [`Corrupt`](LockError::Corrupt).
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
