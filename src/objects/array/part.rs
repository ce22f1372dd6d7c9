//! A part of an array: a range of its items, with a lock of its own.

use super::guard::{ArrayGuard, Cover, Locks};
use super::{Array, check_index, check_length, part_range};
use crate::segment;
use crate::sync::{LockFailure, Timeout};
use crate::{ArrayError, LockError, LockTimeoutError, SegmentError, TryLockError};
use bytemuck::Pod;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::ops::Range;
use std::time::Duration;

/// One of the parts of an [`Array`], with a lock of its own: taken once for a whole job, sent twice it still has one
/// writer. See [`Array::parts`].
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
/// With the lock held: [`OwnerDied`](LockError::OwnerDied) for this part and for the whole array, until a repair of the
/// part or of the array. With a handle: it no longer counts as a part that lives.
pub struct Part<T> {
    array: Array<T>,
    index: usize,
    n: usize,
}

impl<T> Part<T> {
    pub(super) fn new(array: Array<T>, index: usize, n: usize) -> Result<Self, SegmentError> {
        array.handle.add_part()?;
        Ok(Part { array, index, n })
    }
}

impl<T> Drop for Part<T> {
    fn drop(&mut self) {
        self.array.handle.drop_part();
    }
}

impl<T> Clone for Part<T> {
    /// One more handle on the same part.
    fn clone(&self) -> Self {
        // This process has parts already, so that one more is only counted.
        let _ = self.array.handle.add_part();
        Part { array: self.array.clone(), index: self.index, n: self.n }
    }
}

impl<T> std::fmt::Debug for Part<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Part").field("index", &self.index).field("of", &self.n).finish_non_exhaustive()
    }
}

/// The array of a part, on its way.
struct PartOf<T>(Array<T>);

impl<T> Serialize for Part<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Whole<'a, T>(&'a Array<T>);
        impl<T> Serialize for Whole<'_, T> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                segment::serialize(self.0, true, serializer)
            }
        }
        (self.index, self.n, Whole(&self.array)).serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for PartOf<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        segment::deserialize(true, deserializer).map(PartOf)
    }
}

impl<'de, T> Deserialize<'de> for Part<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (index, n, PartOf(array)) = <(usize, usize, PartOf<T>)>::deserialize(deserializer)?;
        let part = Part { array, index, n }; // the array came with the count of one part
        if index < n && n.min(part.array.len) <= part.array.locks {
            Ok(part)
        } else {
            Err(serde::de::Error::custom("no such part"))
        }
    }
}

impl<T: Pod> Part<T> {
    /// The items of the array that this part has.
    ///
    /// ```
    /// let array = crossproc::Array::<u32>::zeroed(4)?;
    /// let part = &array.parts(2)?[1];
    /// assert_eq!(part.range(), 2..4);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn range(&self) -> Range<usize> {
        part_range(self.index, self.n, self.array.len)
    }

    /// The number of items.
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

    /// Whether the part has no items: there are more parts than items.
    ///
    /// ```
    /// let array = crossproc::Array::<u32>::zeroed(1)?;
    /// assert!(array.parts(2)?[1].is_empty());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits for the lock of this part.
    ///
    /// # Errors
    /// As [`Array::lock`].
    ///
    /// ```
    /// let array = crossproc::Array::<u32>::zeroed(4)?;
    /// let part = &array.parts(2)?[1];
    /// part.lock()?.fill(5);
    /// assert_eq!(array.to_vec()?, [0, 0, 5, 5]);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn lock(&self) -> Result<ArrayGuard<'_, T>, LockError> {
        Ok(self.clean(Timeout::Never)?)
    }

    /// Takes the lock of this part if nobody has it.
    ///
    /// # Errors
    /// As [`Array::try_lock`].
    ///
    /// ```
    /// let array = crossproc::Array::<u32>::zeroed(4)?;
    /// let part = &array.parts(2)?[1];
    /// assert!(part.try_lock().is_ok());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn try_lock(&self) -> Result<ArrayGuard<'_, T>, TryLockError> {
        Ok(self.clean(Timeout::Now)?)
    }

    /// Waits for the lock of this part for that long; zero means try.
    ///
    /// # Errors
    /// As [`Array::lock_timeout`].
    ///
    /// ```
    /// let array = crossproc::Array::<u32>::zeroed(4)?;
    /// let part = &array.parts(2)?[1];
    /// assert!(part.lock_timeout(std::time::Duration::from_secs(1)).is_ok());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn lock_timeout(&self, duration: Duration) -> Result<ArrayGuard<'_, T>, LockTimeoutError> {
        Ok(self.clean(Timeout::at_most(duration))?)
    }

    /// Waits for the lock of this part; if a holder was killed, runs `repair` on its items first.
    ///
    /// # Errors
    /// As [`Array::lock_or_repair`].
    ///
    /// ```
    /// let array = crossproc::Array::<u32>::zeroed(4)?;
    /// let part = &array.parts(2)?[1];
    /// let guard = part.lock_or_repair(|items| items.fill(0))?;
    /// assert_eq!(guard.len(), 2);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn lock_or_repair(&self, repair: impl FnOnce(&mut [T])) -> Result<ArrayGuard<'_, T>, LockError> {
        self.cover().lock_or_repair(repair)
    }

    /// A copy of the part's item `i`.
    ///
    /// # Errors
    /// As [`Array::get`].
    ///
    /// ```
    /// let array = crossproc::Array::<u32>::zeroed(4)?;
    /// let part = &array.parts(2)?[1];
    /// assert_eq!(part.get(0)?, 0);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn get(&self, i: usize) -> Result<T, ArrayError> {
        check_index(i, self.len())?;
        Ok(self.read(|items| items[i])?)
    }

    /// Replaces the part's item `i`.
    ///
    /// # Errors
    /// As [`Array::get`].
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

    /// A copy of the part's items.
    ///
    /// # Errors
    /// As [`Array::lock`].
    ///
    /// ```
    /// let array = crossproc::Array::<u32>::zeroed(4)?;
    /// let part = &array.parts(2)?[1];
    /// assert_eq!(part.to_vec()?, [0, 0]);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn to_vec(&self) -> Result<Vec<T>, LockError> {
        self.read(<[T]>::to_vec)
    }

    /// Replaces the part's items.
    ///
    /// # Errors
    /// As [`Array::copy_from_slice`].
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

    /// Sets every item of the part to `value`.
    ///
    /// # Errors
    /// As [`Array::lock`].
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

    /// The process that holds the lock of this part at this moment.
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
        if self.is_empty() { None } else { self.array.part_lock(self.index).holder() }
    }

    fn read<R>(&self, look: impl FnOnce(&[T]) -> R) -> Result<R, LockError> {
        self.cover().look(look)
    }

    fn clean(&self, patience: Timeout) -> Result<ArrayGuard<'_, T>, LockFailure> {
        self.cover().lock(patience)
    }

    fn cover(&self) -> Cover<'_, T> {
        let locks = if self.is_empty() { Locks::None } else { Locks::Part(self.array.part_lock(self.index)) };
        Cover { array: &self.array, range: self.range(), locks }
    }
}
