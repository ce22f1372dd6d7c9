//! A value under its lock: a private copy that is committed when the guard goes.

use super::is_valid;
use crate::sync::double_buffer::Transaction;
use crate::sync::{DoubleBuffer, LockFailure, Timeout};
use crate::{Element, LockError};
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::{Deref, DerefMut};

/// A [`Value`](crate::Value) under its lock: a private copy, committed when the guard is dropped.
///
/// Dropped by a panic that began while it was alive, it rolls back. It stays in its thread:
///
/// ```compile_fail,E0277
/// let value = crossproc::Value::new(0).unwrap();
/// let guard = value.lock().unwrap();
/// std::thread::scope(|scope| { scope.spawn(move || drop(guard)); });
/// ```
#[must_use = "dropped at once, the lock protects nothing"]
pub struct ValueGuard<'a, T: Element> {
    twin: &'a DoubleBuffer,
    turn: Transaction,
    copy: PrivateCopy<T>,
    was_panicking: bool,
    thread: PhantomData<*const ()>,
}

/// A value whose lock was given up, to be taken again.
#[allow(missing_debug_implementations, reason = "nobody but this crate sees it")]
pub struct Parked<'a, T>(&'a DoubleBuffer, PhantomData<T>);

impl<'a, T: Element> Parked<'a, T> {
    pub(crate) fn retake(self) -> Result<ValueGuard<'a, T>, LockError> {
        // SAFETY: the twin is that of a guard of a T.
        Ok(unsafe { ValueGuard::begin(self.0, Timeout::Never) }?)
    }
}

// SAFETY: a shared guard gives a shared T, no more.
unsafe impl<T: Element + Sync> Sync for ValueGuard<'_, T> {}

/// Room for a T: up to 256 bytes inline, boxed above, so that a guard can be moved about.
struct PrivateCopy<T> {
    inline: [MaybeUninit<u64>; 32],
    boxed: Option<Box<MaybeUninit<T>>>,
}

impl<T> PrivateCopy<T> {
    const INLINE: bool = size_of::<T>() <= 256 && align_of::<T>() <= 8;

    #[inline(always)]
    fn new() -> Self {
        let boxed = if Self::INLINE { None } else { Some(Box::new_uninit()) };
        PrivateCopy { inline: [const { MaybeUninit::uninit() }; 32], boxed }
    }

    #[inline(always)]
    fn get(&self) -> &MaybeUninit<T> {
        match &self.boxed {
            Some(boxed) if !Self::INLINE => boxed,
            // SAFETY: large and aligned enough by INLINE.
            _ => unsafe { &*self.inline.as_ptr().cast() },
        }
    }

    #[inline(always)]
    fn place(&mut self) -> &mut MaybeUninit<T> {
        match &mut self.boxed {
            Some(boxed) if !Self::INLINE => boxed,
            // SAFETY: large and aligned enough by INLINE.
            _ => unsafe { &mut *self.inline.as_mut_ptr().cast() },
        }
    }
}

impl<'a, T: Element> ValueGuard<'a, T> {
    /// Takes the lock, and copies the value.
    ///
    /// # Safety
    /// The twin has slots for T.
    #[inline(always)]
    pub(super) unsafe fn begin(twin: &'a DoubleBuffer, patience: Timeout) -> Result<Self, LockFailure> {
        let was_panicking = std::thread::panicking();
        let turn = twin.begin(patience)?;
        let mut copy = PrivateCopy::<T>::new();
        let place = copy.place();
        // SAFETY: by the caller's promise.
        unsafe { twin.read(&turn, place.as_mut_ptr().cast(), size_of::<T>()) };
        if !is_valid(place) {
            twin.roll_back(&turn);
            return Err(LockFailure::Corrupt);
        }
        Ok(ValueGuard { twin, turn, copy, was_panicking, thread: PhantomData })
    }

    /// Commits, and gives up the lock.
    pub(crate) fn park(self) -> Parked<'a, T> {
        Parked(self.twin, PhantomData)
    }

    /// Gives up the lock and the changes.
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
        guard.twin.roll_back(&guard.turn);
        // SAFETY: once, and the guard is not used afterwards.
        unsafe { std::ptr::drop_in_place(&mut guard.copy) };
    }

    /// The process that was killed while it held the lock just before us: its changes are gone as a whole. `None` if it
    /// had committed, or nobody was killed.
    ///
    /// ```
    /// assert_eq!(crossproc::Value::new(1)?.lock()?.recovered_from(), None);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn recovered_from(&self) -> Option<u32> {
        self.turn.rolled_back
    }
}

impl<T: Element> Deref for ValueGuard<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: `begin` filled it with a valid T.
        unsafe { self.copy.get().assume_init_ref() }
    }
}

impl<T: Element> DerefMut for ValueGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`.
        unsafe { self.copy.place().assume_init_mut() }
    }
}

impl<T: Element> Drop for ValueGuard<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        if std::thread::panicking() && !self.was_panicking {
            self.twin.roll_back(&self.turn);
        } else {
            // SAFETY: the twin has slots for T, which has no uninitialised bytes.
            unsafe { self.twin.commit(&self.turn, self.copy.get().as_ptr().cast(), size_of::<T>()) };
        }
    }
}

impl<T: Element + std::fmt::Debug> std::fmt::Debug for ValueGuard<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ValueGuard").field(&**self).finish()
    }
}
