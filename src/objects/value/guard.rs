//! A value under its lock: a private copy that is committed when the guard is dropped.

use super::copy::{PrivateCopy, is_valid};
use crate::sync::double_buffer::Transaction;
use crate::sync::{DoubleBuffer, LockFailure, Timeout};
use crate::{Element, LockError};
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

/// Exclusive access to a [`Value`](crate::Value): a private copy of it, which is committed when the guard is dropped.
///
/// If the guard is dropped by a panic that began during its life, the changes are rolled back. A guard stays in its
/// thread:
///
/// ```compile_fail,E0277
/// let value = crossproc::Value::new(0).unwrap();
/// let guard = value.lock().unwrap();
/// std::thread::scope(|scope| { scope.spawn(move || drop(guard)); });
/// ```
#[must_use = "a guard that is dropped at once protects nothing"]
pub struct ValueGuard<'a, T: Element> {
    buffer: &'a DoubleBuffer,
    transaction: Transaction,
    copy: PrivateCopy<T>,
    was_panicking: bool,
    thread: PhantomData<*const ()>,
}

/// A value whose lock a [`Condition`](crate::Condition) has released, to take it again.
#[allow(missing_debug_implementations, reason = "it is not visible outside of this crate")]
pub struct SuspendedValue<'a, T>(&'a DoubleBuffer, PhantomData<T>);

impl<'a, T: Element> SuspendedValue<'a, T> {
    pub(crate) fn resume(self) -> Result<ValueGuard<'a, T>, LockError> {
        // SAFETY: the buffer is that of a guard of a T (`suspend`), so its slots have the size of a T.
        Ok(unsafe { ValueGuard::begin(self.0, Timeout::Never) }?)
    }
}

// SAFETY: a shared guard gives a shared T only. Committing, which belongs to the guard's thread, needs the guard
// itself.
unsafe impl<T: Element + Sync> Sync for ValueGuard<'_, T> {}

impl<'a, T: Element> ValueGuard<'a, T> {
    /// Takes the lock, and copies the value.
    ///
    /// # Safety
    /// The slots of the buffer have the size of a T.
    #[inline(always)]
    pub(super) unsafe fn begin(buffer: &'a DoubleBuffer, timeout: Timeout) -> Result<Self, LockFailure> {
        let was_panicking = std::thread::panicking();
        let transaction = buffer.begin(timeout)?;
        let mut copy = PrivateCopy::<T>::new();
        let bytes = copy.get_mut();
        // SAFETY: the copy has room for a T, and so have the slots by the contract of this function.
        unsafe { buffer.read(&transaction, bytes.as_mut_ptr().cast(), size_of::<T>()) };
        if !is_valid(bytes) {
            buffer.roll_back(&transaction);
            return Err(LockFailure::Corrupt);
        }
        Ok(ValueGuard { buffer, transaction, copy, was_panicking, thread: PhantomData })
    }

    /// Commits and unlocks, and returns what takes the lock again.
    pub(crate) fn suspend(self) -> SuspendedValue<'a, T> {
        SuspendedValue(self.buffer, PhantomData)
    }

    /// Unlocks without committing: the value stays as it was before the guard was made.
    ///
    /// ```
    /// let value = crossproc::Value::new(1)?;
    /// let mut guard = value.lock()?;
    /// *guard = 2;
    /// guard.rollback();
    /// assert_eq!(value.get(), 1);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn rollback(self) {
        let mut guard = std::mem::ManuallyDrop::new(self);
        guard.buffer.roll_back(&guard.transaction);
        // SAFETY: the copy is dropped once, since `guard` is neither dropped nor used after this.
        unsafe { std::ptr::drop_in_place(&mut guard.copy) };
    }

    /// Returns the id of the process that was killed while it held the lock just before this guard, and whose changes
    /// were therefore rolled back. `None` if there was no such process, or it had committed.
    ///
    /// ```
    /// assert_eq!(crossproc::Value::new(1)?.lock()?.recovered_from(), None);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn recovered_from(&self) -> Option<u32> {
        self.transaction.rolled_back
    }
}

impl<T: Element> Deref for ValueGuard<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: `begin` filled the copy and checked that it is a valid T.
        unsafe { self.copy.get().assume_init_ref() }
    }
}

impl<T: Element> DerefMut for ValueGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: `begin` filled the copy and checked that it is a valid T.
        unsafe { self.copy.get_mut().assume_init_mut() }
    }
}

impl<T: Element> Drop for ValueGuard<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        if std::thread::panicking() && !self.was_panicking {
            self.buffer.roll_back(&self.transaction);
        } else {
            // SAFETY: the slots have the size of a T (`begin`), and every byte of a T is initialised (`NoUninit`).
            unsafe { self.buffer.commit(&self.transaction, self.copy.get().as_ptr().cast(), size_of::<T>()) };
        }
    }
}

impl<T: Element + std::fmt::Debug> std::fmt::Debug for ValueGuard<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ValueGuard").field(&**self).finish()
    }
}
