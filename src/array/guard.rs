//! The locks that cover some items, and the items.

use crate::sync::{Held, RawLock};
use bytemuck::Pod;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

/// Locks that are held; dropped, they are given up, and marks that were not repaired stay.
pub(super) struct Taken<'a> {
    /// The one that there mostly is, apart from the others, which take an allocation.
    first: Option<(&'a RawLock, Held)>,
    others: Vec<(&'a RawLock, Held)>,
}

impl<'a> Taken<'a> {
    pub(super) fn none() -> Self {
        Taken { first: None, others: Vec::new() }
    }

    pub(super) fn new(lock: &'a RawLock, held: Held) -> Self {
        Taken { first: Some((lock, held)), others: Vec::new() }
    }

    pub(super) fn push(&mut self, lock: &'a RawLock, held: Held) {
        self.others.push((lock, held));
    }

    fn all(&self) -> impl Iterator<Item = &(&'a RawLock, Held)> {
        self.first.iter().chain(&self.others)
    }

    /// Whoever died with one of these locks.
    pub(super) fn victim(&self) -> Option<u32> {
        self.all().find_map(|(lock, _)| lock.recorded()).map(|(pid, _)| pid)
    }

    /// From here on the death of this process leaves its own mark.
    pub(super) fn record(&self) {
        self.all().for_each(|(lock, held)| lock.record(held, 0));
    }

    /// Gives all up, the last one first.
    fn release_by(&mut self, release: impl Fn(&RawLock, &Held)) {
        self.others.drain(..).rev().chain(self.first.take()).for_each(|(lock, held)| release(lock, &held));
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.release_by(RawLock::release_marked);
    }
}

/// An [`Array`](crate::Array), or a [`Part`](crate::Part), under its lock: `&mut [T]` in shared memory.
///
/// Dropping it unlocks, also by a panic: only a death leaves a mark.
///
/// ```
/// let array = crossproc::Array::from_slice(&[3, 1, 2])?;
/// let mut guard = array.lock()?;
/// guard.sort_unstable();
/// assert_eq!((guard.first(), guard.len()), (Some(&1), 3));
/// # Ok::<(), crossproc::Error>(())
/// ```
#[must_use = "dropped at once, the lock protects nothing"]
pub struct ArrayGuard<'a, T: Pod> {
    items: &'a mut [T],
    taken: Taken<'a>,
    thread: PhantomData<*const ()>,
}

impl<'a, T: Pod> ArrayGuard<'a, T> {
    pub(super) fn new(items: &'a mut [T], taken: Taken<'a>) -> Self {
        ArrayGuard { items, taken, thread: PhantomData }
    }
}

// SAFETY: a shared guard gives a shared slice, no more.
unsafe impl<T: Pod + Sync> Sync for ArrayGuard<'_, T> {}

impl<T: Pod> Deref for ArrayGuard<'_, T> {
    type Target = [T];
    #[inline]
    fn deref(&self) -> &[T] {
        self.items
    }
}

impl<T: Pod> DerefMut for ArrayGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        self.items
    }
}

impl<T: Pod> Drop for ArrayGuard<'_, T> {
    fn drop(&mut self) {
        self.taken.release_by(RawLock::release);
    }
}

impl<T: Pod + std::fmt::Debug> std::fmt::Debug for ArrayGuard<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ArrayGuard").field(&&*self.items).finish()
    }
}
