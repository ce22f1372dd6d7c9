//! `Lock`: a lock by itself. The protocol is [`RawLock`]'s.
#![allow(unsafe_code)] // the lock lies in shared memory

use crate::segment::unit_handle;
use crate::segment::{Handle, LINE};
use crate::sync::{Held, RawLock, Timeout};
use crate::{LockError, LockTimeoutError, TryLockError};
use std::marker::PhantomData;
use std::time::Duration;

/// A lock between processes, for what is not in shared memory: a file, a terminal, a device.
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
/// With the lock held: the next `lock` is [`OwnerDied`](LockError::OwnerDied) at once, for what the lock protects may be
/// half-done, until [`lock_or_repair`](Lock::lock_or_repair) has made it good. A panic in the guard's scope just unlocks. A
/// leaked guard keeps the lock until its process ends.
pub struct Lock {
    handle: Handle,
}

unit_handle!(Lock, 0, LINE, "doc-lock");

impl Lock {
    #[inline]
    fn raw(&self) -> &RawLock {
        // SAFETY: the object begins with its lock, mapped as long as the handle lives.
        unsafe { self.handle.object().cast().as_ref() }
    }

    #[inline]
    fn guard(&self, held: Held) -> LockGuard<'_> {
        LockGuard { lock: self.raw(), held, thread: PhantomData }
    }

    /// Waits for the lock.
    ///
    /// # Errors
    /// [`OwnerDied`](LockError::OwnerDied) at once, without holding the lock, when a holder was killed and nobody repaired
    /// what it left; [`Deadlock`](LockError::Deadlock) when this thread holds it; [`TooMany`](LockError::TooMany);
    /// [`Corrupt`](LockError::Corrupt).
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

    /// Takes the lock if nobody has it.
    ///
    /// # Errors
    /// [`WouldBlock`](TryLockError::WouldBlock), or as [`lock`](Lock::lock).
    ///
    /// ```
    /// assert!(crossproc::Lock::new()?.try_lock().is_ok());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    #[inline]
    pub fn try_lock(&self) -> Result<LockGuard<'_>, TryLockError> {
        Ok(self.guard(self.raw().acquire_unpoisoned(Timeout::Now)?))
    }

    /// Waits for the lock for that long, by the monotonic clock; zero means try.
    ///
    /// # Errors
    /// [`Timeout`](LockTimeoutError::Timeout), or as [`lock`](Lock::lock).
    ///
    /// ```
    /// assert!(crossproc::Lock::new()?.lock_timeout(std::time::Duration::ZERO).is_ok());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn lock_timeout(&self, duration: Duration) -> Result<LockGuard<'_>, LockTimeoutError> {
        Ok(self.guard(self.raw().acquire_unpoisoned(Timeout::at_most(duration))?))
    }

    /// Waits for the lock; if a holder was killed, runs `repair` first.
    ///
    /// The repair runs once, by whoever comes first. If that one is killed, or panics, in it, the next one repairs.
    ///
    /// # Errors
    /// As [`lock`](Lock::lock), but `OwnerDied`.
    ///
    /// ```
    /// let held = crossproc::Lock::new()?.lock_or_repair(|| unreachable!("nobody died")).map(drop);
    /// assert!(held.is_ok());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn lock_or_repair(&self, repair: impl FnOnce()) -> Result<LockGuard<'_>, LockError> {
        Ok(self.guard(self.raw().acquire_repaired(repair)?))
    }

    /// The process that holds the lock at this moment.
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

/// A [`Lock`] that is held; dropping it unlocks, also by a panic.
///
/// ```
/// let lock = crossproc::Lock::new()?;
/// drop(lock.lock()?);
/// assert_eq!(lock.holder(), None);
/// # Ok::<(), crossproc::Error>(())
/// ```
#[must_use = "dropped at once, the lock protects nothing"]
pub struct LockGuard<'a> {
    lock: &'a RawLock,
    held: Held,
    thread: PhantomData<*const ()>,
}

impl<'a> LockGuard<'a> {
    /// Gives the lock up.
    pub(crate) fn park(self) -> Parked<'a> {
        Parked(self.lock)
    }
}

/// A lock that was given up, to be taken again.
#[allow(missing_debug_implementations, reason = "nobody but this crate sees it")]
pub struct Parked<'a>(&'a RawLock);

impl<'a> Parked<'a> {
    pub(crate) fn retake(self) -> Result<LockGuard<'a>, LockError> {
        let held = self.0.acquire_unpoisoned(Timeout::Never)?;
        Ok(LockGuard { lock: self.0, held, thread: PhantomData })
    }
}

// SAFETY: a shared guard gives nothing at all.
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
