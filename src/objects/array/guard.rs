//! The locks that cover some items, and the items.

use super::Array;
use crate::LockError;
use crate::sync::{Held, LockFailure, RawLock, Timeout};
use bytemuck::Pod;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut, Range};

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
        self.release_by(RawLock::release_poisoned);
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
    cover: Cover<'a, T>,
    thread: PhantomData<*const ()>,
}

impl<'a, T: Pod> ArrayGuard<'a, T> {
    pub(super) fn new(items: &'a mut [T], taken: Taken<'a>, cover: Cover<'a, T>) -> Self {
        ArrayGuard { items, taken, cover, thread: PhantomData }
    }

    /// Gives the locks up.
    pub(crate) fn park(self) -> Cover<'a, T> {
        self.cover.clone()
    }
}

/// Some items of an array, and which locks are theirs.
#[allow(missing_debug_implementations, reason = "nobody but this crate sees it")]
#[derive(Clone)]
pub struct Cover<'a, T: Pod> {
    pub(super) array: &'a Array<T>,
    pub(super) range: Range<usize>,
    pub(super) locks: Locks<'a>,
}

#[derive(Clone, Copy)]
pub(super) enum Locks<'a> {
    /// The array's own, and those of the parts that the range touches.
    All,
    Part(&'a RawLock),
    /// An empty part has no lock and needs none.
    None,
}

impl<'a, T: Pod> Cover<'a, T> {
    #[inline]
    pub(super) fn take(&self, patience: Timeout) -> Result<Taken<'a>, LockFailure> {
        match self.locks {
            Locks::All => self.array.take(patience, self.range.clone()),
            Locks::Part(lock) => Ok(Taken::new(lock, lock.acquire(patience, true)?)),
            Locks::None => Ok(Taken::none()),
        }
    }

    /// The guard, unless somebody died and left a mark.
    #[inline]
    pub(super) fn lock(self, patience: Timeout) -> Result<ArrayGuard<'a, T>, LockFailure> {
        let taken = self.take(patience)?;
        match taken.victim() {
            Some(pid) => Err(LockFailure::OwnerDied { pid }), // dropping it leaves the marks
            None => Ok(self.guard(taken)),
        }
    }

    pub(super) fn lock_or_repair(self, repair: impl FnOnce(&mut [T])) -> Result<ArrayGuard<'a, T>, LockError> {
        let taken = self.take(Timeout::Never)?;
        if taken.victim().is_some() {
            // The records still name the victim: a repairer that dies, or panics, leaves the marks as they were.
            // SAFETY: V1, as in `guard`; this reference ends before the guard's begins.
            repair(unsafe { self.array.slice(self.range.clone()) });
        }
        Ok(self.guard(taken))
    }

    #[inline]
    fn guard(self, taken: Taken<'a>) -> ArrayGuard<'a, T> {
        taken.record();
        // SAFETY: V1: the locks that cover the range are held and recorded.
        let items = unsafe { self.array.slice(self.range.clone()) };
        ArrayGuard::new(items, taken, self)
    }

    /// Looks at items without a record, for nothing is changed: a reader that is killed leaves no mark.
    pub(super) fn look<R>(&self, look: impl FnOnce(&[T]) -> R) -> Result<R, LockError> {
        let taken = self.take(Timeout::Never)?;
        match taken.victim() {
            Some(pid) => Err(LockError::OwnerDied { pid }),
            // SAFETY: V1: the locks that cover the range are held until `taken` goes, after this.
            None => Ok(look(unsafe { self.array.slice(self.range.clone()) })),
        }
    }

    /// Behind [`ArrayGuard::park`].
    pub(crate) fn retake(self) -> Result<ArrayGuard<'a, T>, LockError> {
        Ok(self.lock(Timeout::Never)?)
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
