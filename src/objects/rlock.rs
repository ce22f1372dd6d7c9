//! `RLock`: a lock that the thread which holds it may take again. The protocol is that of [`RawLock`].
//!
//! # Layout
//! ```text
//! offset 0    lock     RawLock
//!        40   depth    how often the holder has taken the lock
//! ```
//!
//! # Invariants
//! * rlock-R1: only the thread whose id is in the lock word reads and writes the depth. It sets the depth to 1 when it
//!   takes the free lock.
//!
//! # If a process dies here
//! While it holds the lock, at any depth: its owner record stays, so `lock` returns `OwnerDied` until a repair has
//! finished. The next holder sets the depth to 1, whatever the dead process left.
#![allow(unsafe_code)] // the lock lies in shared memory

use crate::segment::unit_handle;
use crate::segment::{Handle, LINE};
use crate::sync::{Held, LockFailure, RawLock, Timeout};
use crate::{LockError, LockTimeoutError, ReleaseError, TryLockError};
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// A recursive lock between processes: the thread that holds it may take it again, any number of times.
///
/// Each call of [`lock`](RLock::lock) returns a guard of its own, and the lock is free when all of them are dropped.
///
/// ```
/// use crossproc::{Process, RLock, TryLockError};
/// let lock = RLock::new()?;
/// let outer = lock.lock()?;
/// let inner = lock.lock()?;
/// let others = |lock: RLock| lock.try_lock().is_err();
/// assert!(Process::spawn(others, (lock.clone(),))?.join()?);
/// drop((outer, inner));
/// assert!(!Process::spawn(others, (lock.clone(),))?.join()?);
/// # Ok::<(), crossproc::Error>(())
/// ```
///
/// # When a process dies
/// If a process dies while it holds the lock, at any depth, the next [`lock`](RLock::lock) returns
/// [`OwnerDied`](LockError::OwnerDied) at once, in every process, until a call of
/// [`lock_or_repair`](RLock::lock_or_repair) has repaired what the lock protects.
pub struct RLock {
    handle: Handle,
}

unit_handle!(RLock, 0, LINE, "doc-rlock");

/// A lock and its depth.
#[repr(C)]
struct LockAndDepth {
    lock: RawLock,
    depth: AtomicU32,
}

const _: () = assert!(size_of::<LockAndDepth>() <= LINE && std::mem::offset_of!(LockAndDepth, depth) == 40);

/// The operations of a recursive lock. A guard holds this pointer only, so that it fits into a register.
#[derive(Clone, Copy)]
pub(crate) struct RecursiveLock<'a>(&'a LockAndDepth);

impl<'a> RecursiveLock<'a> {
    /// # Safety
    /// `line` points to a line (64 bytes) of shared memory that begins with a lock, and stays mapped for `'a`.
    #[inline(always)]
    pub(crate) unsafe fn at(line: NonNull<u8>) -> Self {
        // SAFETY: lock and depth lie in the line that the caller vouches for. Both are atomics, for which any bytes are
        // valid.
        RecursiveLock(unsafe { line.cast().as_ref() })
    }

    #[inline(always)]
    pub(crate) fn acquire(self, timeout: Timeout) -> Result<RLockGuard<'a>, LockFailure> {
        if self.held().is_some() {
            return self.take_again();
        }
        self.0.lock.acquire_unpoisoned(timeout)?;
        Ok(self.first_guard())
    }

    pub(crate) fn acquire_repaired(self, repair: impl FnOnce()) -> Result<RLockGuard<'a>, LockError> {
        if self.held().is_some() {
            return Ok(self.take_again()?);
        }
        // The repair may take the lock again, so it needs rlock-R1, too.
        let repair_at_depth_1 = || {
            self.0.depth.store(1, Relaxed);
            repair();
        };
        self.0.lock.acquire_repaired(repair_at_depth_1)?;
        Ok(self.first_guard())
    }

    /// Returns proof that this thread holds the lock. The thread of a fork child has copies of guards, but another id,
    /// so it holds none.
    #[inline(always)]
    fn held(self) -> Option<Held> {
        self.0.lock.held_by_this_thread()
    }

    #[inline(always)]
    fn first_guard(self) -> RLockGuard<'a> {
        self.0.depth.store(1, Relaxed);
        RLockGuard { lock: self, thread: PhantomData }
    }

    #[inline(always)]
    fn take_again(self) -> Result<RLockGuard<'a>, LockFailure> {
        let depth = self.0.depth.load(Relaxed).checked_add(1).ok_or(LockFailure::TooMany)?;
        self.0.depth.store(depth, Relaxed);
        Ok(RLockGuard { lock: self, thread: PhantomData })
    }

    /// Reduces the depth by `times`, and unlocks when it becomes 0.
    #[inline(always)]
    fn release(self, times: u32) -> Result<(), ReleaseError> {
        let held = self.held().ok_or(ReleaseError::NotOwner)?;
        let left = self.0.depth.load(Relaxed).saturating_sub(times);
        self.0.depth.store(left, Relaxed);
        if left == 0 {
            self.0.lock.release_mine(&held);
        }
        Ok(())
    }
}

impl RLock {
    #[inline(always)]
    fn raw(&self) -> RecursiveLock<'_> {
        // SAFETY: the object is one line that begins with its lock. The handle keeps it mapped.
        unsafe { RecursiveLock::at(self.handle.object()) }
    }

    /// Takes the lock, and waits until it is free. If this thread holds it already, takes it once more.
    ///
    /// # Errors
    /// - [`OwnerDied`](LockError::OwnerDied) if a holder was killed and no process has repaired what the lock protects.
    ///   The lock is not held then.
    /// - [`TooMany`](LockError::TooMany) if this thread holds about 2,000 locks, or this one 4 billion times.
    /// - [`Corrupt`](LockError::Corrupt) if the lock was overwritten.
    ///
    /// ```
    /// let lock = crossproc::RLock::new()?;
    /// let (outer, inner) = (lock.lock()?, lock.lock()?);
    /// drop(outer); // in any order
    /// assert!(lock.holder().is_some());
    /// drop(inner);
    /// assert_eq!(lock.holder(), None);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    #[inline(always)]
    pub fn lock(&self) -> Result<RLockGuard<'_>, LockError> {
        Ok(self.raw().acquire(Timeout::Never)?)
    }

    /// Takes the lock if it is free or held by this thread.
    ///
    /// # Errors
    /// [`WouldBlock`](TryLockError::WouldBlock), or the errors of [`lock`](RLock::lock).
    ///
    /// ```
    /// let lock = crossproc::RLock::new()?;
    /// let outer = lock.lock()?;
    /// assert!(lock.try_lock().is_ok());
    /// # drop(outer);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    #[inline]
    pub fn try_lock(&self) -> Result<RLockGuard<'_>, TryLockError> {
        Ok(self.raw().acquire(Timeout::Now)?)
    }

    /// Takes the lock, and waits for it for at most `duration`, by the monotonic clock. If that is zero, it tries once.
    ///
    /// # Errors
    /// [`Timeout`](LockTimeoutError::Timeout), or the errors of [`lock`](RLock::lock).
    ///
    /// ```
    /// assert!(crossproc::RLock::new()?.lock_timeout(std::time::Duration::ZERO).is_ok());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn lock_timeout(&self, duration: Duration) -> Result<RLockGuard<'_>, LockTimeoutError> {
        Ok(self.raw().acquire(Timeout::at_most(duration))?)
    }

    /// Takes the lock, like [`lock`](RLock::lock). If a holder was killed, runs `repair` first.
    ///
    /// The first caller after the death runs its `repair`. If it is killed or panics meanwhile, the next caller
    /// repairs.
    ///
    /// # Errors
    /// The errors of [`lock`](RLock::lock), except `OwnerDied`.
    ///
    /// ```
    /// let lock = crossproc::RLock::new()?;
    /// assert!(lock.lock_or_repair(|| unreachable!("no holder died")).is_ok());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn lock_or_repair(&self, repair: impl FnOnce()) -> Result<RLockGuard<'_>, LockError> {
        self.raw().acquire_repaired(repair)
    }

    /// Releases the lock once, in place of a guard that was [forgotten](RLockGuard::forget).
    ///
    /// # Errors
    /// [`NotOwner`](ReleaseError::NotOwner) if this thread does not hold the lock. Nothing changes then.
    ///
    /// ```
    /// use crossproc::{RLock, ReleaseError};
    /// let lock = RLock::new()?;
    /// lock.lock()?.forget();
    /// assert_eq!(lock.release(), Ok(()));
    /// assert_eq!(lock.release(), Err(ReleaseError::NotOwner));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn release(&self) -> Result<(), ReleaseError> {
        self.raw().release(1)
    }

    /// Returns the id of the process that holds the lock at this moment.
    ///
    /// ```
    /// let lock = crossproc::RLock::new()?;
    /// let held = lock.lock()?;
    /// assert_eq!(lock.holder(), Some(std::process::id()));
    /// # drop(held);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn holder(&self) -> Option<u32> {
        self.raw().0.lock.holder()
    }
}

/// An [`RLock`] that was taken once. Dropping the guard releases it once, also during a panic.
///
/// ```
/// let lock = crossproc::RLock::new()?;
/// drop(lock.lock()?);
/// assert_eq!(lock.holder(), None);
/// # Ok::<(), crossproc::Error>(())
/// ```
#[must_use = "a guard that is dropped at once protects nothing"]
pub struct RLockGuard<'a> {
    lock: RecursiveLock<'a>,
    thread: PhantomData<*const ()>,
}

// SAFETY: a shared guard gives access to nothing. Unlocking, which belongs to the guard's thread, needs the guard
// itself.
unsafe impl Sync for RLockGuard<'_> {}

impl<'a> RLockGuard<'a> {
    /// Drops the guard without releasing the lock. [`RLock::release`] in the same thread releases it later.
    ///
    /// ```
    /// let lock = crossproc::RLock::new()?;
    /// lock.lock()?.forget();
    /// assert!(lock.holder().is_some());
    /// lock.release()?;
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn forget(self) {
        std::mem::forget(self);
    }

    /// Releases the lock at all its depths, and returns what takes it again.
    pub(crate) fn suspend(self) -> SuspendedRLock<'a> {
        let guard = std::mem::ManuallyDrop::new(self);
        let depth = guard.lock.0.depth.load(Relaxed);
        // An error means that this is the copy of a guard in a fork child, which does not hold the lock.
        let _ = guard.lock.release(depth);
        SuspendedRLock { lock: guard.lock, depth }
    }
}

/// A recursive lock that a [`Condition`](crate::Condition) has released, to take it again at the same depth.
#[allow(missing_debug_implementations, reason = "it is not visible outside of this crate")]
pub struct SuspendedRLock<'a> {
    lock: RecursiveLock<'a>,
    depth: u32,
}

impl<'a> SuspendedRLock<'a> {
    pub(crate) fn resume(self) -> Result<RLockGuard<'a>, LockError> {
        let guard = self.lock.acquire(Timeout::Never)?;
        self.lock.0.depth.store(self.depth, Relaxed);
        Ok(guard)
    }
}

impl Drop for RLockGuard<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        // An error means that this is the copy of a guard in a fork child, which does not hold the lock.
        let _ = self.lock.release(1);
    }
}

impl std::fmt::Debug for RLockGuard<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RLockGuard")
    }
}
