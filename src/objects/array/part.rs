//! A part of an array: a range of its items, with a lock of its own.

use super::array::Array;
use super::guard::{ArrayGuard, RangeLock};
use super::layout::part_range;
use super::memory::{check_index, check_length};
use crate::segment;
use crate::sync::Timeout;
use crate::{ArrayError, LockError, LockTimeoutError, SegmentError, TryLockError};
use bytemuck::Pod;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::ops::Range;
use std::time::Duration;

/// A range of the items of an [`Array`], with a lock of its own. [`Array::parts`] makes the parts of an array.
///
/// A worker can lock its part once for a whole job while other workers change other parts. A part that is sent to two
/// workers still has one lock, so only one of them changes it at a time.
///
/// ```
/// let array = crossproc::Array::<u8>::zeroed(6)?;
/// let part = &array.parts(2)?[1];
/// part.lock()?[0] = 9;
/// assert_eq!((part.range(), part.len(), part.get(0)?), (3..6, 3, 9));
/// # Ok::<(), crossproc::Error>(())
/// ```
///
/// # When a process dies
/// If a process dies while it holds the lock of a part, locking that part or the whole array returns
/// [`OwnerDied`](LockError::OwnerDied), until the part or the array is locked with `lock_or_repair`. The handles of a
/// dead process no longer prevent another division of the array.
pub struct Part<T> {
    array: Array<T>,
    index: usize,
    /// The number of parts of the division.
    parts: usize,
}

impl<T> Part<T> {
    pub(super) fn new(array: Array<T>, index: usize, parts: usize) -> Result<Self, SegmentError> {
        array.handle.add_part()?;
        Ok(Part { array, index, parts })
    }
}

impl<T> Drop for Part<T> {
    fn drop(&mut self) {
        self.array.handle.drop_part();
    }
}

impl<T> Clone for Part<T> {
    /// Returns another handle of the same part.
    fn clone(&self) -> Self {
        // Only a process's first handle of a part can fail to be counted, and this one is not the first.
        let _ = self.array.handle.add_part();
        Part { array: self.array.clone(), index: self.index, parts: self.parts }
    }
}

impl<T> std::fmt::Debug for Part<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Part").field("index", &self.index).field("of", &self.parts).finish_non_exhaustive()
    }
}

/// The array of a part that is encoded: its handle travels with the count of one part.
struct ArrayOfPart<'a, T>(&'a Array<T>);

impl<T> Serialize for ArrayOfPart<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        segment::serialize(self.0, true, serializer)
    }
}

/// The array of a part that was decoded. This process has one more part of it.
struct DecodedArray<T>(Array<T>);

impl<'de, T> Deserialize<'de> for DecodedArray<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        segment::deserialize(true, deserializer).map(DecodedArray)
    }
}

impl<T> Serialize for Part<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.index, self.parts, ArrayOfPart(&self.array)).serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Part<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (index, parts, DecodedArray(array)) = <(usize, usize, DecodedArray<T>)>::deserialize(deserializer)?;
        let part = Part { array, index, parts }; // dropping it gives the count of one part back
        if index < parts && parts.min(part.array.memory.len) <= part.array.memory.locks {
            Ok(part)
        } else {
            Err(serde::de::Error::custom("the array has no such part"))
        }
    }
}

impl<T: Pod> Part<T> {
    /// Returns the range of the array's items that this part has.
    ///
    /// ```
    /// let array = crossproc::Array::<u32>::zeroed(4)?;
    /// let part = &array.parts(2)?[1];
    /// assert_eq!(part.range(), 2..4);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn range(&self) -> Range<usize> {
        part_range(self.index, self.parts, self.array.memory.len)
    }

    /// Returns the number of items.
    ///
    /// ```
    /// let array = crossproc::Array::<u32>::zeroed(4)?;
    /// let part = &array.parts(2)?[1];
    /// assert_eq!(part.len(), 2);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn len(&self) -> usize {
        self.range().len()
    }

    /// Returns whether the part has no items, as some parts if there are more parts than items.
    ///
    /// ```
    /// let array = crossproc::Array::<u32>::zeroed(1)?;
    /// assert!(array.parts(2)?[1].is_empty());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Locks the part, and waits until its lock is free.
    ///
    /// # Errors
    /// The errors of [`Array::lock`].
    ///
    /// ```
    /// let array = crossproc::Array::<u32>::zeroed(4)?;
    /// let part = &array.parts(2)?[1];
    /// part.lock()?.fill(5);
    /// assert_eq!(array.to_vec()?, [0, 0, 5, 5]);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn lock(&self) -> Result<ArrayGuard<'_, T>, LockError> {
        Ok(self.unlocked().lock(Timeout::Never)?)
    }

    /// Locks the part if no other thread or process holds its lock.
    ///
    /// # Errors
    /// The errors of [`Array::try_lock`].
    ///
    /// ```
    /// let array = crossproc::Array::<u32>::zeroed(4)?;
    /// let part = &array.parts(2)?[1];
    /// assert!(part.try_lock().is_ok());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn try_lock(&self) -> Result<ArrayGuard<'_, T>, TryLockError> {
        Ok(self.unlocked().lock(Timeout::Now)?)
    }

    /// Locks the part, and waits for its lock for at most `duration`, by the monotonic clock. If that is zero, it tries
    /// once.
    ///
    /// # Errors
    /// The errors of [`Array::lock_timeout`].
    ///
    /// ```
    /// let array = crossproc::Array::<u32>::zeroed(4)?;
    /// let part = &array.parts(2)?[1];
    /// assert!(part.lock_timeout(std::time::Duration::from_secs(1)).is_ok());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn lock_timeout(&self, duration: Duration) -> Result<ArrayGuard<'_, T>, LockTimeoutError> {
        Ok(self.unlocked().lock(Timeout::at_most(duration))?)
    }

    /// Locks the part, like [`lock`](Part::lock). If a holder was killed, runs `repair` on the part's items first.
    ///
    /// # Errors
    /// The errors of [`Array::lock_or_repair`].
    ///
    /// ```
    /// let array = crossproc::Array::<u32>::zeroed(4)?;
    /// let part = &array.parts(2)?[1];
    /// let guard = part.lock_or_repair(|items| items.fill(0))?;
    /// assert_eq!(guard.len(), 2);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn lock_or_repair(&self, repair: impl FnOnce(&mut [T])) -> Result<ArrayGuard<'_, T>, LockError> {
        self.unlocked().lock_or_repair(repair)
    }

    /// Returns a copy of item `i` of the part, counted from the part's first item.
    ///
    /// # Errors
    /// The errors of [`Array::get`].
    ///
    /// ```
    /// let array = crossproc::Array::<u32>::zeroed(4)?;
    /// let part = &array.parts(2)?[1];
    /// assert_eq!(part.get(0)?, 0);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn get(&self, i: usize) -> Result<T, ArrayError> {
        check_index(i, self.len())?;
        Ok(self.unlocked().read(|items| items[i])?)
    }

    /// Replaces item `i` of the part.
    ///
    /// # Errors
    /// The errors of [`Array::get`].
    ///
    /// ```
    /// let array = crossproc::Array::<u32>::zeroed(4)?;
    /// let part = &array.parts(2)?[1];
    /// part.set(0, 8)?;
    /// assert_eq!(array.get(2)?, 8);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn set(&self, i: usize, value: T) -> Result<(), ArrayError> {
        check_index(i, self.len())?;
        self.lock()?[i] = value;
        Ok(())
    }

    /// Returns a copy of the part's items, made under its lock.
    ///
    /// # Errors
    /// The errors of [`Array::lock`].
    ///
    /// ```
    /// let array = crossproc::Array::<u32>::zeroed(4)?;
    /// let part = &array.parts(2)?[1];
    /// assert_eq!(part.to_vec()?, [0, 0]);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn to_vec(&self) -> Result<Vec<T>, LockError> {
        self.unlocked().read(<[T]>::to_vec)
    }

    /// Replaces the part's items, under its lock.
    ///
    /// # Errors
    /// The errors of [`Array::copy_from_slice`].
    ///
    /// ```
    /// let array = crossproc::Array::<u32>::zeroed(4)?;
    /// let part = &array.parts(2)?[1];
    /// part.copy_from_slice(&[1, 2])?;
    /// assert_eq!(array.to_vec()?, [0, 0, 1, 2]);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn copy_from_slice(&self, src: &[T]) -> Result<(), ArrayError> {
        check_length(src.len(), self.len())?;
        self.lock()?.copy_from_slice(src);
        Ok(())
    }

    /// Sets every item of the part to `value`, under its lock.
    ///
    /// # Errors
    /// The errors of [`Array::lock`].
    ///
    /// ```
    /// let array = crossproc::Array::<u32>::zeroed(4)?;
    /// let part = &array.parts(2)?[1];
    /// part.fill(3)?;
    /// assert_eq!(array.to_vec()?, [0, 0, 3, 3]);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn fill(&self, value: T) -> Result<(), LockError> {
        self.lock()?.fill(value);
        Ok(())
    }

    /// Returns the id of the process that holds the part's lock at this moment.
    ///
    /// ```
    /// let array = crossproc::Array::<u32>::zeroed(4)?;
    /// let part = &array.parts(2)?[1];
    /// let guard = part.lock()?;
    /// assert_eq!(part.holder(), Some(std::process::id()));
    /// # drop(guard);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn holder(&self) -> Option<u32> {
        if self.is_empty() { None } else { self.array.memory.part_lock(self.index).holder() }
    }

    fn unlocked(&self) -> RangeLock<'_, T> {
        RangeLock::of_part(&self.array.memory, self.range(), self.index)
    }
}
