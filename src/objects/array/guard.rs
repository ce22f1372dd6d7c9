//! Taking the locks that cover a range of items, and [`ArrayGuard`], which holds them.

use super::layout::part_range;
use super::memory::ArrayMemory;
use crate::LockError;
use crate::sync::{Held, LockFailure, RawLock, Timeout};
use bytemuck::Pod;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut, Range};
use std::sync::atomic::Ordering::SeqCst;

/// Locks that this thread holds. Dropping it unlocks, and leaves owner records of dead holders as they are.
struct HeldLocks<'a> {
    /// The first lock stands by itself, since the vector allocates, and most guards hold one lock only.
    first: Option<(&'a RawLock, Held)>,
    others: Vec<(&'a RawLock, Held)>,
}

impl<'a> HeldLocks<'a> {
    fn none() -> Self {
        HeldLocks { first: None, others: Vec::new() }
    }

    fn new(lock: &'a RawLock, held: Held) -> Self {
        HeldLocks { first: Some((lock, held)), others: Vec::new() }
    }

    fn push(&mut self, lock: &'a RawLock, held: Held) {
        self.others.push((lock, held));
    }

    fn all(&self) -> impl Iterator<Item = &(&'a RawLock, Held)> {
        self.first.iter().chain(&self.others)
    }

    /// A process that died while it held one of these locks.
    fn victim(&self) -> Option<u32> {
        self.all().find_map(|(lock, _)| lock.recorded()).map(|(pid, _)| pid)
    }

    /// Writes this process into the owner record of each lock (array-V3).
    fn record(&self) {
        self.all().for_each(|(lock, held)| lock.record(held, 0));
    }

    /// Unlocks all, the last one first.
    fn release_by(&mut self, release: impl Fn(&RawLock, &Held)) {
        self.others.drain(..).rev().chain(self.first.take()).for_each(|(lock, held)| release(lock, &held));
    }
}

impl Drop for HeldLocks<'_> {
    fn drop(&mut self) {
        self.release_by(RawLock::release_poisoned);
    }
}

/// Exclusive access to the items of an [`Array`](crate::Array) or a [`Part`](crate::Part): `&mut [T]` in shared memory.
///
/// Dropping the guard unlocks, also during a panic. Only if the process dies, the lock is marked
/// ([`OwnerDied`](LockError::OwnerDied)).
///
/// ```
/// let array = crossproc::Array::from_slice(&[3, 1, 2])?;
/// let mut guard = array.lock()?;
/// guard.sort_unstable();
/// assert_eq!((guard.first(), guard.len()), (Some(&1), 3));
/// # Ok::<(), crossproc::Error>(())
/// ```
#[must_use = "a guard that is dropped at once protects nothing"]
pub struct ArrayGuard<'a, T: Pod> {
    items: &'a mut [T],
    held: HeldLocks<'a>,
    range: RangeLock<'a, T>,
    thread: PhantomData<*const ()>,
}

impl<'a, T: Pod> ArrayGuard<'a, T> {
    /// Unlocks, and returns what locks the same items again.
    pub(crate) fn suspend(self) -> RangeLock<'a, T> {
        self.range.clone()
    }
}

/// A range of an array's items, and the locks that cover it. They are not held.
#[allow(missing_debug_implementations, reason = "it is not visible outside of this crate")]
#[derive(Clone)]
pub struct RangeLock<'a, T: Pod> {
    memory: &'a ArrayMemory<T>,
    range: Range<usize>,
    locks: Locks<'a>,
}

#[derive(Clone, Copy)]
enum Locks<'a> {
    /// The array's own lock, and those of the parts that overlap the range.
    All,
    /// The lock of a part.
    Part(&'a RawLock),
    /// No lock. An empty part has none and needs none.
    None,
}

impl<'a, T: Pod> RangeLock<'a, T> {
    /// The lock of a range for access through the array.
    #[inline]
    pub(super) fn of_array(memory: &'a ArrayMemory<T>, range: Range<usize>) -> Self {
        RangeLock { memory, range, locks: Locks::All }
    }

    /// The lock for access through part `index`, whose items are `range`.
    pub(super) fn of_part(memory: &'a ArrayMemory<T>, range: Range<usize>, index: usize) -> Self {
        let locks = if range.is_empty() { Locks::None } else { Locks::Part(memory.part_lock(index)) };
        RangeLock { memory, range, locks }
    }

    #[inline]
    fn take(&self, timeout: Timeout) -> Result<HeldLocks<'a>, LockFailure> {
        match self.locks {
            Locks::All => self.take_all(timeout),
            Locks::Part(lock) => Ok(HeldLocks::new(lock, lock.acquire(timeout, true)?)),
            Locks::None => Ok(HeldLocks::none()),
        }
    }

    /// Step 1 of the protocol. For a range that is not the whole array, only the locks of the parts that it overlaps.
    fn take_all(&self, timeout: Timeout) -> Result<HeldLocks<'a>, LockFailure> {
        let memory = self.memory;
        let own = &memory.header().lock;
        let mut held = HeldLocks::new(own, own.acquire(timeout, true)?);
        let parts = memory.header().part_count.load(SeqCst) as usize;
        let is_whole = self.range == (0..memory.len);
        for index in 0..memory.locked_parts() {
            let part = part_range(index, parts, memory.len);
            if is_whole || (part.start < self.range.end && self.range.start < part.end) {
                let lock = memory.part_lock(index);
                held.push(lock, lock.acquire(timeout, true)?);
            }
        }
        Ok(held)
    }

    /// Fails if a holder died and its record was not repaired.
    #[inline]
    pub(super) fn lock(self, timeout: Timeout) -> Result<ArrayGuard<'a, T>, LockFailure> {
        let held = self.take(timeout)?;
        match held.victim() {
            Some(pid) => Err(LockFailure::OwnerDied { pid }), // dropping `held` leaves the records
            None => Ok(self.guard(held)),
        }
    }

    pub(super) fn lock_or_repair(self, repair: impl FnOnce(&mut [T])) -> Result<ArrayGuard<'a, T>, LockError> {
        let held = self.take(Timeout::Never)?;
        if held.victim().is_some() {
            // The records still name the victim, so they stay as they were if this process dies or panics in the
            // repair.
            // SAFETY: array-V1: the locks that cover the range are held. This slice is gone before `guard` makes
            // another one.
            repair(unsafe { self.memory.items(self.range.clone()) });
        }
        Ok(self.guard(held))
    }

    #[inline]
    fn guard(self, held: HeldLocks<'a>) -> ArrayGuard<'a, T> {
        held.record();
        // SAFETY: array-V1: the locks that cover the range are held, and the guard holds them as long as it has the
        // slice.
        let items = unsafe { self.memory.items(self.range.clone()) };
        ArrayGuard { items, held, range: self, thread: PhantomData }
    }

    /// Reads items. It writes no owner record, since nothing changes: a reader that is killed leaves no trace.
    pub(super) fn read<R>(&self, read: impl FnOnce(&[T]) -> R) -> Result<R, LockError> {
        let held = self.take(Timeout::Never)?;
        match held.victim() {
            Some(pid) => Err(LockError::OwnerDied { pid }),
            // SAFETY: array-V1: the locks that cover the range are held until `held` is dropped, after `read` has
            // returned.
            None => Ok(read(unsafe { self.memory.items(self.range.clone()) })),
        }
    }

    /// Locks again after [`ArrayGuard::suspend`].
    pub(crate) fn resume(self) -> Result<ArrayGuard<'a, T>, LockError> {
        Ok(self.lock(Timeout::Never)?)
    }
}

// SAFETY: a shared guard gives a shared slice only. Unlocking, which belongs to the guard's thread, needs the guard
// itself.
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
        self.held.release_by(RawLock::release);
    }
}

impl<T: Pod + std::fmt::Debug> std::fmt::Debug for ArrayGuard<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ArrayGuard").field(&&*self.items).finish()
    }
}
