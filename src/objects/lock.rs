//! `Lock`: a lock that protects nothing in shared memory. The protocol is that of [`RawLock`].
#![allow(unsafe_code)] // the lock lies in shared memory

use crate::segment::unit_handle;
use crate::segment::{Handle, LINE};
use crate::sync::{Held, RawLock, Timeout};
use crate::{LockError, LockTimeoutError, TryLockError};
use std::marker::PhantomData;
use std::time::Duration;

/// A lock between processes that holds no data. It protects what is not in shared memory: a file, a terminal, a device.
///
/// ```
/// use crossproc::{Lock, LockError};
/// let lock = Lock::new()?;
/// let held = lock.lock()?;
/// assert_eq!(lock.lock().unwrap_err(), LockError::Deadlock);
/// drop(held);
/// # Ok::<(), crossproc::Error>(())
/// ```
///
/// # When a process dies
/// If a process dies while it holds the lock, what the lock protects may be half done. So the next [`lock`](Lock::lock)
/// returns [`OwnerDied`](LockError::OwnerDied) at once, in every process, until a call of
/// [`lock_or_repair`](Lock::lock_or_repair) has made it good. A panic while a guard is alive only unlocks. A guard that
/// is leaked ([`std::mem::forget`]) keeps the lock until its process ends.
pub struct Lock {
    handle: Handle,
}

unit_handle!(Lock, 0, LINE, "doc-lock");

impl Lock {
    #[inline]
    fn raw(&self) -> &RawLock {
        // SAFETY: the object begins with its lock, which consists of atomics. The handle keeps it mapped.
        unsafe { self.handle.object().cast().as_ref() }
    }

    #[inline]
    fn guard(&self, held: Held) -> LockGuard<'_> {
        LockGuard { lock: self.raw(), held, thread: PhantomData }
    }

    /// Takes the lock, and waits until it is free.
    ///
    /// # Errors
    /// - [`OwnerDied`](LockError::OwnerDied) if a holder was killed and no process has repaired what the lock protects.
    ///   The lock is not held then.
    /// - [`Deadlock`](LockError::Deadlock) if this thread holds the lock.
    /// - [`TooMany`](LockError::TooMany) if this thread holds about 2,000 locks.
    /// - [`Corrupt`](LockError::Corrupt) if the lock was overwritten.
    ///
    /// ```
    /// let lock = crossproc::Lock::new()?;
    /// let held = lock.lock()?;
    /// assert!(lock.try_lock().is_err());
    /// # drop(held);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    #[inline]
    pub fn lock(&self) -> Result<LockGuard<'_>, LockError> {
        Ok(self.guard(self.raw().acquire_unpoisoned(Timeout::Never)?))
    }

    /// Takes the lock if it is free.
    ///
    /// # Errors
    /// [`WouldBlock`](TryLockError::WouldBlock), or the errors of [`lock`](Lock::lock).
    ///
    /// ```
    /// assert!(crossproc::Lock::new()?.try_lock().is_ok());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    #[inline]
    pub fn try_lock(&self) -> Result<LockGuard<'_>, TryLockError> {
        Ok(self.guard(self.raw().acquire_unpoisoned(Timeout::Now)?))
    }

    /// Takes the lock, and waits for it for at most `duration`, by the monotonic clock. If that is zero, it tries once.
    ///
    /// # Errors
    /// [`Timeout`](LockTimeoutError::Timeout), or the errors of [`lock`](Lock::lock).
    ///
    /// ```
    /// assert!(crossproc::Lock::new()?.lock_timeout(std::time::Duration::ZERO).is_ok());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn lock_timeout(&self, duration: Duration) -> Result<LockGuard<'_>, LockTimeoutError> {
        Ok(self.guard(self.raw().acquire_unpoisoned(Timeout::at_most(duration))?))
    }

    /// Takes the lock, like [`lock`](Lock::lock). If a holder was killed, runs `repair` first.
    ///
    /// The first caller after the death runs its `repair`. If it is killed or panics meanwhile, the next caller
    /// repairs.
    ///
    /// # Errors
    /// The errors of [`lock`](Lock::lock), except `OwnerDied`.
    ///
    /// ```
    /// let held = crossproc::Lock::new()?.lock_or_repair(|| unreachable!("no holder died")).map(drop);
    /// assert!(held.is_ok());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn lock_or_repair(&self, repair: impl FnOnce()) -> Result<LockGuard<'_>, LockError> {
        Ok(self.guard(self.raw().acquire_repaired(repair)?))
    }

    /// Returns the id of the process that holds the lock at this moment.
    ///
    /// ```
    /// let lock = crossproc::Lock::new()?;
    /// let held = lock.lock()?;
    /// assert_eq!(lock.holder(), Some(std::process::id()));
    /// # drop(held);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn holder(&self) -> Option<u32> {
        self.raw().holder()
    }
}

/// A [`Lock`] that is held. Dropping the guard unlocks, also during a panic.
///
/// ```
/// let lock = crossproc::Lock::new()?;
/// drop(lock.lock()?);
/// assert_eq!(lock.holder(), None);
/// # Ok::<(), crossproc::Error>(())
/// ```
#[must_use = "a guard that is dropped at once protects nothing"]
pub struct LockGuard<'a> {
    lock: &'a RawLock,
    held: Held,
    thread: PhantomData<*const ()>,
}

impl<'a> LockGuard<'a> {
    /// Unlocks, and returns what takes the lock again.
    pub(crate) fn suspend(self) -> SuspendedLock<'a> {
        SuspendedLock(self.lock)
    }
}

/// A lock that a [`Condition`](crate::Condition) has released, to take it again.
#[allow(missing_debug_implementations, reason = "it is not visible outside of this crate")]
pub struct SuspendedLock<'a>(&'a RawLock);

impl<'a> SuspendedLock<'a> {
    pub(crate) fn resume(self) -> Result<LockGuard<'a>, LockError> {
        let held = self.0.acquire_unpoisoned(Timeout::Never)?;
        Ok(LockGuard { lock: self.0, held, thread: PhantomData })
    }
}

// SAFETY: a shared guard gives access to nothing. Unlocking, which belongs to the guard's thread, needs the guard
// itself.
unsafe impl Sync for LockGuard<'_> {}

impl Drop for LockGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        self.lock.release(&self.held);
    }
}

impl std::fmt::Debug for LockGuard<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LockGuard")
    }
}
