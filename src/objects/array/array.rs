//! The public handle of an array.

use super::guard::{ArrayGuard, RangeLock};
use super::layout::ArrayLayout;
use super::memory::{ArrayMemory, check_index, check_length};
use crate::segment::{self, Handle, Kind, Named, Object, ObjectLayout, Spec, handle_type};
use crate::sync::Timeout;
use crate::{ArrayError, LockError, LockTimeoutError, SegmentError, TryLockError};
use bytemuck::Pod;
use std::time::Duration;

/// A fixed number of items in shared memory, protected by a lock that survives the death of its holder.
///
/// A guard gives `&mut [T]` into shared memory: nothing is copied. So a holder that is killed may leave its changes
/// half done. Then [`lock`](Array::lock) returns [`OwnerDied`](LockError::OwnerDied), until
/// [`lock_or_repair`](Array::lock_or_repair) has repaired the items. `T` is [`Pod`], so the bytes that a killed writer
/// leaves are always valid items.
///
/// [`parts`](Array::parts) divides an array into parts with locks of their own, for workers that change it at the same
/// time.
///
/// ```
/// use crossproc::Array;
/// let squares = Array::from_iter((0..5).map(|i| i * i))?;
/// squares.lock()?[0] = 100;
/// assert_eq!(squares.to_vec()?, [100, 1, 4, 9, 16]);
/// # Ok::<(), crossproc::Error>(())
/// ```
///
/// # When a process dies
/// If a process dies while it holds the lock, the next [`lock`](Array::lock) returns
/// [`OwnerDied`](LockError::OwnerDied) at once, in every process, until a call of
/// [`lock_or_repair`](Array::lock_or_repair) has repaired the items. A panic while a guard is alive only unlocks. A
/// guard that is leaked ([`std::mem::forget`]) keeps the lock and the memory until its process ends, even if its thread
/// ends before.
pub struct Array<T> {
    pub(super) handle: Handle,
    /// Valid as long as `handle`.
    pub(super) memory: ArrayMemory<T>,
}

handle_type!(Array<T>);

impl<T> Object for Array<T> {
    const IN_PLACE: bool = true;

    fn spec(count: usize) -> Result<Spec, SegmentError> {
        Spec::of::<T>(Kind::Array, count)
    }

    fn layout(count: usize) -> Option<ObjectLayout> {
        ArrayLayout::of::<T>(count).map(|layout| ObjectLayout { locks: layout.locks, bytes: layout.bytes })
    }

    fn of(handle: Handle, len: usize) -> Self {
        // SAFETY: the object was made, or checked, by the layout of `len` items. The handle beside it keeps it mapped.
        let memory = unsafe { ArrayMemory::new(handle.object(), len) };
        Array { handle, memory }
    }

    fn handle(&self) -> &Handle {
        &self.handle
    }

    fn count(&self) -> usize {
        self.memory.len
    }
}

impl<T: Pod> Array<T> {
    /// Creates an array of `len` zeros in anonymous shared memory. The length may be 0.
    ///
    /// # Errors
    /// [`TooLarge`](SegmentError::TooLarge) if no memory could hold the items, [`NoSpace`](SegmentError::NoSpace) if
    /// not enough memory is left.
    ///
    /// ```
    /// use crossproc::{Array, SegmentError};
    /// assert_eq!(Array::<u64>::zeroed(3)?.to_vec()?, [0, 0, 0]);
    /// assert_eq!(Array::<u64>::zeroed(usize::MAX).unwrap_err(), SegmentError::TooLarge);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn zeroed(len: usize) -> Result<Self, SegmentError> {
        segment::create(len, |_| ())
    }

    /// Creates an array with a copy of these items in anonymous shared memory.
    ///
    /// # Errors
    /// The errors of [`zeroed`](Array::zeroed).
    ///
    /// ```
    /// assert_eq!(crossproc::Array::from_slice(&[1.5, 2.5])?.len(), 2);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn from_slice(items: &[T]) -> Result<Self, SegmentError> {
        segment::create(items.len(), |array: &Self| array.memory.fill_new(items))
    }

    /// Creates an array with the items of an iterator. It is not the method of [`FromIterator`], since it can fail.
    ///
    /// # Errors
    /// The errors of [`zeroed`](Array::zeroed).
    ///
    /// ```
    /// assert_eq!(crossproc::Array::from_iter("abc".bytes())?.to_vec()?, *b"abc");
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    #[expect(clippy::should_implement_trait, reason = "it can fail")]
    pub fn from_iter(items: impl IntoIterator<Item = T>) -> Result<Self, SegmentError> {
        Self::from_slice(&items.into_iter().collect::<Vec<_>>())
    }

    /// Returns a builder that creates or opens an array by name, so that other programs can use it, too. A file that
    /// other users may write to is not opened.
    ///
    /// ```
    /// use crossproc::Array;
    /// let table = Array::<u32>::named("doc-array").create_zeroed(4)?;
    /// Array::<u32>::named("doc-array").open()?.set(3, 7)?;
    /// assert_eq!(table.to_vec()?, [0, 0, 0, 7]);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn named(name: &str) -> Named<Self> {
        Named::by(name)
    }

    /// Returns a builder that creates or opens an array at an offset of memory that the program owns.
    ///
    /// ```
    /// let memory = crossproc::Within::new(shared_memory::ShmemConf::new().size(65536).create().unwrap());
    /// let made = crossproc::Array::within(&memory, 0).create(&[1u8, 2])?;
    /// assert_eq!(made.get(1)?, 2);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    #[cfg(feature = "shared_memory")]
    pub fn within(memory: &crate::Within, offset: usize) -> Named<Self> {
        memory.at(offset)
    }

    /// Returns the number of items.
    ///
    /// ```
    /// assert_eq!(crossproc::Array::<u8>::zeroed(7)?.len(), 7);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn len(&self) -> usize {
        self.memory.len
    }

    /// Returns whether the array has no items.
    ///
    /// ```
    /// assert!(crossproc::Array::<u8>::zeroed(0)?.is_empty());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn is_empty(&self) -> bool {
        self.memory.len == 0
    }

    /// Locks the whole array, with all its parts. Waits until the locks are free.
    ///
    /// # Errors
    /// - [`OwnerDied`](LockError::OwnerDied) if a holder was killed and no process has repaired the items. The array is
    ///   not locked then.
    /// - [`Deadlock`](LockError::Deadlock) if this thread holds the lock of the array or of a part.
    /// - [`TooMany`](LockError::TooMany) if this thread holds about 2,000 locks.
    /// - [`Corrupt`](LockError::Corrupt) if a lock was overwritten.
    ///
    /// ```
    /// use crossproc::{Array, LockError};
    /// let array = Array::from_slice(&[3, 1, 2])?;
    /// let mut guard = array.lock()?;
    /// guard.sort();
    /// assert_eq!(*guard, [1, 2, 3]);
    /// assert_eq!(array.lock().unwrap_err(), LockError::Deadlock);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    #[inline]
    pub fn lock(&self) -> Result<ArrayGuard<'_, T>, LockError> {
        Ok(self.whole().lock(Timeout::Never)?)
    }

    /// Locks the whole array if no other thread or process holds its lock or the lock of a part.
    ///
    /// # Errors
    /// [`WouldBlock`](TryLockError::WouldBlock), or the errors of [`lock`](Array::lock).
    ///
    /// ```
    /// assert!(crossproc::Array::<u8>::zeroed(1)?.try_lock().is_ok());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn try_lock(&self) -> Result<ArrayGuard<'_, T>, TryLockError> {
        Ok(self.whole().lock(Timeout::Now)?)
    }

    /// Locks the whole array, and waits for the locks for at most `duration`, by the monotonic clock. If that is zero,
    /// it tries once.
    ///
    /// # Errors
    /// [`Timeout`](LockTimeoutError::Timeout), or the errors of [`lock`](Array::lock).
    ///
    /// ```
    /// let array = crossproc::Array::<u8>::zeroed(1)?;
    /// assert!(array.lock_timeout(std::time::Duration::from_secs(1)).is_ok());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn lock_timeout(&self, duration: Duration) -> Result<ArrayGuard<'_, T>, LockTimeoutError> {
        Ok(self.whole().lock(Timeout::at_most(duration))?)
    }

    /// Locks the whole array, like [`lock`](Array::lock). If a holder was killed, runs `repair` on the items first.
    ///
    /// The first caller after the death runs its `repair`. If it is killed or panics meanwhile, the next caller
    /// repairs.
    ///
    /// # Errors
    /// The errors of [`lock`](Array::lock), except `OwnerDied`.
    ///
    /// ```
    /// let array = crossproc::Array::from_slice(&[1, 2])?;
    /// let guard = array.lock_or_repair(|items| items.fill(0))?;
    /// assert_eq!(*guard, [1, 2], "no holder died");
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn lock_or_repair(&self, repair: impl FnOnce(&mut [T])) -> Result<ArrayGuard<'_, T>, LockError> {
        self.whole().lock_or_repair(repair)
    }

    /// Returns a copy of item `i`. Waits for the lock of the array and of the part that has the item.
    ///
    /// # Errors
    /// [`OutOfBounds`](ArrayError::OutOfBounds), or the errors of [`lock`](Array::lock).
    ///
    /// ```
    /// use crossproc::{Array, ArrayError};
    /// let array = Array::from_slice(&[5, 6])?;
    /// assert_eq!((array.get(1), array.get(2)), (Ok(6), Err(ArrayError::OutOfBounds { index: 2, len: 2 })));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn get(&self, i: usize) -> Result<T, ArrayError> {
        check_index(i, self.memory.len)?;
        Ok(RangeLock::of_array(&self.memory, i..i + 1).read(|items| items[0])?)
    }

    /// Replaces item `i`. Waits for the same locks as [`get`](Array::get).
    ///
    /// # Errors
    /// The errors of [`get`](Array::get).
    ///
    /// ```
    /// let array = crossproc::Array::<u8>::zeroed(2)?;
    /// array.set(1, 9)?;
    /// assert_eq!(array.get(1)?, 9);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn set(&self, i: usize, value: T) -> Result<(), ArrayError> {
        check_index(i, self.memory.len)?;
        RangeLock::of_array(&self.memory, i..i + 1).lock(Timeout::Never).map_err(LockError::from)?[0] = value;
        Ok(())
    }

    /// Returns a copy of all items, made under the lock.
    ///
    /// # Errors
    /// The errors of [`lock`](Array::lock).
    ///
    /// ```
    /// assert_eq!(crossproc::Array::from_slice(&[1, 2])?.to_vec()?, vec![1, 2]);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn to_vec(&self) -> Result<Vec<T>, LockError> {
        self.whole().read(<[T]>::to_vec)
    }

    /// Replaces all items, under the lock.
    ///
    /// # Errors
    /// [`LengthMismatch`](ArrayError::LengthMismatch) unless `src` has the array's length, or the errors of
    /// [`lock`](Array::lock).
    ///
    /// ```
    /// use crossproc::{Array, ArrayError};
    /// let array = Array::<u8>::zeroed(2)?;
    /// array.copy_from_slice(&[1, 2])?;
    /// assert_eq!(array.copy_from_slice(&[1]), Err(ArrayError::LengthMismatch { got: 1, len: 2 }));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn copy_from_slice(&self, src: &[T]) -> Result<(), ArrayError> {
        check_length(src.len(), self.memory.len)?;
        self.lock()?.copy_from_slice(src);
        Ok(())
    }

    /// Sets every item to `value`, under the lock.
    ///
    /// # Errors
    /// The errors of [`lock`](Array::lock).
    ///
    /// ```
    /// let array = crossproc::Array::<u8>::zeroed(2)?;
    /// array.fill(7)?;
    /// assert_eq!(array.to_vec()?, [7, 7]);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn fill(&self, value: T) -> Result<(), LockError> {
        self.lock()?.fill(value);
        Ok(())
    }

    /// Returns the id of the process that holds the array's own lock at this moment.
    ///
    /// ```
    /// let array = crossproc::Array::<u8>::zeroed(1)?;
    /// let guard = array.lock()?;
    /// assert_eq!(array.holder(), Some(std::process::id()));
    /// # drop(guard);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn holder(&self) -> Option<u32> {
        self.memory.header().lock.holder()
    }

    #[inline]
    fn whole(&self) -> RangeLock<'_, T> {
        RangeLock::of_array(&self.memory, 0..self.memory.len)
    }
}
