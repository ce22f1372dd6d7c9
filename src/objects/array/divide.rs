//! Dividing an array into parts: step 2 of the protocol.

use super::array::Array;
use super::part::Part;
use crate::sync::Timeout;
use crate::{ArrayError, LockError};
use bytemuck::Pod;
use std::sync::atomic::Ordering::SeqCst;

impl<T: Pod> Array<T> {
    /// Divides the array into `n` parts, one after the other, whose lengths differ by at most one item.
    ///
    /// Each part is a handle with a lock of its own, for example for one child that works on it alone. When any process
    /// divides the array into the same number again, it gets handles of the same parts. The array stays divided when
    /// the handles of its parts are gone. Locking the whole array then takes the lock of every part; `parts(1)` makes
    /// that cheap again. A part in a message that was not received yet counts as a handle.
    ///
    /// There may be more parts than items; the rest of the parts is empty.
    ///
    /// # Errors
    /// - [`Partitioned`](ArrayError::Partitioned) while handles of another number of parts exist, in any process.
    /// - [`TooMany`](LockError::TooMany) if more parts would have items than the array has locks: 64, or one for each
    ///   KiB of items up to 1,024.
    /// - [`OwnerDied`](LockError::OwnerDied) if the number would change, a holder of a lock was killed, and no process
    ///   has repaired the items.
    /// - The errors of [`lock`](Array::lock).
    ///
    /// ```
    /// use crossproc::{Array, ArrayError};
    /// let array = Array::<u32>::zeroed(10)?;
    /// let parts = array.parts(3)?;
    /// assert_eq!(parts.iter().map(|part| part.range()).collect::<Vec<_>>(), [0..3, 3..6, 6..10]);
    /// for part in &parts {
    ///     part.lock()?.fill(part.range().start as u32);
    /// }
    /// assert_eq!(array.to_vec()?, [0, 0, 0, 3, 3, 3, 6, 6, 6, 6]);
    /// assert_eq!(array.parts(2).unwrap_err(), ArrayError::Partitioned);
    /// drop(parts);
    /// assert_eq!(array.parts(2)?.len(), 2);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn parts(&self, n: usize) -> Result<Vec<Part<T>>, ArrayError> {
        let number = u32::try_from(n).map_err(|_| LockError::TooMany)?;
        if n.min(self.memory.len) > self.memory.locks {
            return Err(LockError::TooMany.into());
        }
        if n == 0 {
            return Ok(Vec::new());
        }
        let own = &self.memory.header().lock;
        // No owner record is written, since no item changes: a death in here leaves no record, and an old record stays.
        let held = own.acquire(Timeout::Never, false).map_err(LockError::from)?;
        let parts = self.divide(number).and_then(|()| {
            let part = |index| Part::new(self.clone(), index, n).map_err(|_| LockError::TooMany.into());
            (0..n).map(part).collect()
        });
        own.release_poisoned(&held);
        parts
    }

    /// Changes the number of parts, if that is possible (array-V2). The lock of the whole array is held.
    fn divide(&self, number: u32) -> Result<(), ArrayError> {
        let header = self.memory.header();
        let current = header.part_count.load(SeqCst);
        if current == number {
            return Ok(());
        }
        if let Some((pid, _)) = header.lock.recorded() {
            return Err(LockError::OwnerDied { pid }.into());
        }
        for lock in (0..self.memory.locked_parts()).map(|index| self.memory.part_lock(index)) {
            if let Some((pid, _)) = lock.recorded().filter(|_| !lock.is_held()) {
                return Err(LockError::OwnerDied { pid }.into());
            }
            if lock.is_held() {
                return Err(ArrayError::Partitioned);
            }
        }
        if current != 0 && (header.parts_in_flight.load(SeqCst) != 0 || self.has_parts()?) {
            return Err(ArrayError::Partitioned);
        }
        header.part_count.store(number, SeqCst); // the commit point
        Ok(())
    }

    /// Returns whether any process has handles of parts.
    fn has_parts(&self) -> Result<bool, ArrayError> {
        self.handle.has_parts().map_err(|_| LockError::Corrupt.into())
    }
}
