//! `RLock`: a lock that its thread may take again. The protocol is `RawLock`'s; the depth lies beside it.
//!
//! # Invariants
//! * R1: the depth is only read and written by the thread whose number is in the word; it is 1 when the word is taken.
//!
//! # If a process dies here
//! The lock is marked, whatever the depth was; who takes it next sets the depth anew.
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

/// A lock between processes which the thread that holds it may take again, as deep as it likes.
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
/// At whatever depth: the next `lock` of another thread is [`OwnerDied`](LockError::OwnerDied) at once, until
/// [`lock_or_repair`](RLock::lock_or_repair), as with a [`Lock`](crate::Lock).
pub struct RLock {
    handle: Handle,
}

unit_handle!(RLock, 0, LINE, "doc-rlock");

/// A lock and its depth, in one line.
#[repr(C)]
struct Line {
    lock: RawLock,
    depth: AtomicU32,
}

const _: () = assert!(size_of::<Line>() <= LINE);

/// A guard is this alone: one register, which nothing has to move through memory.
#[derive(Clone, Copy)]
pub(crate) struct Levels<'a>(&'a Line);

impl<'a> Levels<'a> {
    /// # Safety
    /// There is a line of shared memory that begins with a lock, and lives as long as `'a`.
    #[inline(always)]
    pub(crate) unsafe fn at(line: NonNull<u8>) -> Self {
        // SAFETY: by the caller's promise; the depth is inside the line, and any bytes are one.
        Levels(unsafe { line.cast().as_ref() })
    }

    #[inline(always)]
    pub(crate) fn acquire(self, patience: Timeout) -> Result<RLockGuard<'a>, LockFailure> {
        if self.held().is_some() {
            return self.deeper();
        }
        self.0.lock.acquire_unpoisoned(patience)?;
        Ok(self.first())
    }

    pub(crate) fn acquire_repaired(self, repair: impl FnOnce()) -> Result<RLockGuard<'a>, LockError> {
        if self.held().is_some() {
            return Ok(self.deeper()?);
        }
        // R1 holds in the repair, too, which may take the lock again.
        let at_first_level = || {
            self.0.depth.store(1, Relaxed);
            repair();
        };
        self.0.lock.acquire_repaired(at_first_level)?;
        Ok(self.first())
    }

    /// Whether this thread has it. A fork child has copies of guards, and another number.
    #[inline(always)]
    fn held(self) -> Option<Held> {
        self.0.lock.held_by_this_thread()
    }

    #[inline(always)]
    fn first(self) -> RLockGuard<'a> {
        self.0.depth.store(1, Relaxed);
        RLockGuard { levels: self, thread: PhantomData }
    }

    #[inline(always)]
    fn deeper(self) -> Result<RLockGuard<'a>, LockFailure> {
        let deeper = self.0.depth.load(Relaxed).checked_add(1).ok_or(LockFailure::TooMany)?;
        self.0.depth.store(deeper, Relaxed);
        Ok(RLockGuard { levels: self, thread: PhantomData })
    }

    /// So many levels less, if this thread has that many.
    #[inline(always)]
    fn release(self, levels: u32) -> Result<(), ReleaseError> {
        let held = self.held().ok_or(ReleaseError::NotOwner)?;
        let left = self.0.depth.load(Relaxed).saturating_sub(levels);
        self.0.depth.store(left, Relaxed);
        if left == 0 {
            self.0.lock.release_mine(&held);
        }
        Ok(())
    }
}

impl RLock {
    #[inline(always)]
    fn levels(&self) -> Levels<'_> {
        // SAFETY: the object begins with its lock, in a line of its own, mapped as long as the handle lives.
        unsafe { Levels::at(self.handle.object()) }
    }

    /// Waits for the lock, unless this thread has it; then it is one level deeper.
    ///
    /// # Errors
    /// [`OwnerDied`](LockError::OwnerDied) at once, without holding the lock, when a holder was killed and nobody repaired
    /// what it left; [`TooMany`](LockError::TooMany), also of levels; [`Corrupt`](LockError::Corrupt).
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
        Ok(self.levels().acquire(Timeout::Never)?)
    }

    /// Takes the lock if nobody else has it.
    ///
    /// # Errors
    /// [`WouldBlock`](TryLockError::WouldBlock), or as [`lock`](RLock::lock).
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
        Ok(self.levels().acquire(Timeout::Now)?)
    }

    /// Waits for the lock for that long, by the monotonic clock; zero means try.
    ///
    /// # Errors
    /// [`Timeout`](LockTimeoutError::Timeout), or as [`lock`](RLock::lock).
    ///
    /// ```
    /// assert!(crossproc::RLock::new()?.lock_timeout(std::time::Duration::ZERO).is_ok());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn lock_timeout(&self, duration: Duration) -> Result<RLockGuard<'_>, LockTimeoutError> {
        Ok(self.levels().acquire(Timeout::at_most(duration))?)
    }

    /// Waits for the lock; if a holder was killed, runs `repair` first. As with a [`Lock`](crate::Lock::lock_or_repair), it
    /// runs once, or again if the one who repaired was killed or panicked.
    ///
    /// # Errors
    /// As [`lock`](RLock::lock), but `OwnerDied`.
    ///
    /// ```
    /// let lock = crossproc::RLock::new()?;
    /// assert!(lock.lock_or_repair(|| unreachable!("nobody died")).is_ok());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn lock_or_repair(&self, repair: impl FnOnce()) -> Result<RLockGuard<'_>, LockError> {
        self.levels().acquire_repaired(repair)
    }

    /// Gives up one level that was taken without a guard: one whose guard was [forgotten](RLockGuard::forget).
    ///
    /// # Errors
    /// [`NotOwner`](ReleaseError::NotOwner) when this thread does not hold the lock: nothing changes.
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
        self.levels().release(1)
    }

    /// The process that holds the lock at this moment.
    ///
    /// ```
    /// let lock = crossproc::RLock::new()?;
    /// let held = lock.lock()?;
    /// assert_eq!(lock.holder(), Some(std::process::id()));
    /// # drop(held);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn holder(&self) -> Option<u32> {
        self.levels().0.lock.holder()
    }
}

/// A level of an [`RLock`] that is held; dropping it gives that level up, also by a panic.
///
/// ```
/// let lock = crossproc::RLock::new()?;
/// drop(lock.lock()?);
/// assert_eq!(lock.holder(), None);
/// # Ok::<(), crossproc::Error>(())
/// ```
#[must_use = "dropped at once, the lock protects nothing"]
pub struct RLockGuard<'a> {
    levels: Levels<'a>,
    thread: PhantomData<*const ()>,
}

// SAFETY: a shared guard gives nothing at all.
unsafe impl Sync for RLockGuard<'_> {}

impl<'a> RLockGuard<'a> {
    /// Keeps the level, for [`RLock::release`] in the same thread.
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

    /// Gives all levels up.
    pub(crate) fn park(self) -> Parked<'a> {
        let guard = std::mem::ManuallyDrop::new(self);
        let depth = guard.levels.0.depth.load(Relaxed);
        // A copy in a fork child has nothing to give up.
        let _ = guard.levels.release(depth);
        Parked { levels: guard.levels, depth }
    }
}

/// All levels, given up, to be taken again.
#[allow(missing_debug_implementations, reason = "nobody but this crate sees it")]
pub struct Parked<'a> {
    levels: Levels<'a>,
    depth: u32,
}

impl<'a> Parked<'a> {
    pub(crate) fn retake(self) -> Result<RLockGuard<'a>, LockError> {
        let guard = self.levels.acquire(Timeout::Never)?;
        self.levels.0.depth.store(self.depth, Relaxed);
        Ok(guard)
    }
}

impl Drop for RLockGuard<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        // As above.
        let _ = self.levels.release(1);
    }
}

impl std::fmt::Debug for RLockGuard<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RLockGuard")
    }
}
