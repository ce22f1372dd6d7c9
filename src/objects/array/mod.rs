//! `Array<T>`: many items in shared memory, changed in place, as a whole or in parts.
//!
//! # Layout
//! ```text
//! offset 0    lock           RawLock of the whole
//!        40   parts          into how many parts the array is divided, 0 = none
//!        44   part flights   parts in messages (`segment`)
//!        64   locks          one line for each part's lock
//!        ...  items          aligned to a line, or to their own alignment
//! ```
//!
//! # Protocol
//! 1. whole: its own lock, then the lock of every part, in order. A part: its lock alone.
//! 2. the number of parts changes under the lock of the whole, when nobody has parts and no part's lock is held or
//!    marked; the store of the number is the commit point.
//!
//! # Invariants
//! * V1: items are only touched by who holds the locks that cover them: all of them, or the one of their part.
//! * V2: parts of two numbers never live at the same time.
//! * V3: the owner record of each lock names its holder as long as its guard lives, so a holder that is killed leaves a
//!   mark on each of its locks (L4 of `sync::raw_lock`). Who only reads, or divides, records nothing.
//!
//! # If a process dies here
//! With a lock held: the mark stays on each lock that it held, and `lock` says so, until a repair has run to its end. While
//! a repair runs, the marks still name the first victim, so that another repair follows one that was killed.
//! Between two parts' locks of one whole: those that it held free themselves, without a mark.
#![allow(unsafe_code)] // references into shared memory, under locks

mod guard;
mod named;
mod part;

pub use guard::ArrayGuard;
pub(crate) use guard::Cover;
use guard::Locks;
pub use part::Part;

use crate::segment::{self, Handle, IN_FLIGHT_AT, Kind, LINE, Named, Object, ObjectLayout, Spec, handle_type};
use crate::sync::{LockFailure, RawLock, Timeout};
use crate::{ArrayError, LockError, LockTimeoutError, SegmentError, TryLockError};
use bytemuck::Pod;
use guard::Taken;
use std::marker::PhantomData;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

/// The first line of the object.
#[repr(C)]
struct Head {
    lock: RawLock,
    parts: AtomicU32,
    part_flights: AtomicU32,
}

const _: () = assert!(size_of::<Head>() <= LINE && std::mem::offset_of!(Head, part_flights) == IN_FLIGHT_AT);

/// Many items in shared memory, behind a lock that survives the death of its holder.
///
/// Guards give `&mut [T]` into shared memory: nothing is copied. So a holder that is killed may leave half of its work,
/// and the next `lock` says so: [`OwnerDied`](LockError::OwnerDied), until
/// [`lock_or_repair`](Array::lock_or_repair) has made it good. `T` is [`Pod`]: whatever a killed writer left is a `T`.
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
/// With the lock held: see above; a panic in the guard's scope just unlocks. A leaked guard keeps the lock and the memory
/// until its process ends, also when its thread ends before.
pub struct Array<T> {
    handle: Handle,
    len: usize,
    locks: usize,
    items: NonNull<u8>,
    of: PhantomData<fn() -> T>,
}

handle_type!(Array<T>);

// SAFETY: items are reached through guards only, under locks; the pointer stays valid with the handle.
unsafe impl<T> Send for Array<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Array<T> {}

/// How many parts with items of their own an array can have: enough for many processes, a small share of the memory.
fn lock_count(len: usize, bytes: usize) -> usize {
    (bytes / 1024).clamp(64, 1024).min(len)
}

/// The object's locks, where its items begin, and its bytes.
fn plan<T>(len: usize) -> Option<(usize, usize, usize)> {
    let bytes = len.checked_mul(size_of::<T>()).filter(|bytes| isize::try_from(*bytes).is_ok())?;
    let locks = lock_count(len, bytes);
    let items_at = (LINE * (1 + locks)).next_multiple_of(align_of::<T>());
    Some((locks, items_at, items_at.checked_add(bytes)?))
}

impl<T> Object for Array<T> {
    const IN_PLACE: bool = true;

    fn spec(count: usize) -> Result<Spec, SegmentError> {
        Spec::of::<T>(Kind::Array, count)
    }

    fn layout(count: usize) -> Option<ObjectLayout> {
        plan::<T>(count).map(|(locks, _, bytes)| ObjectLayout { locks, bytes })
    }

    fn of(handle: Handle, len: usize) -> Self {
        let (locks, items_at, _) = plan::<T>(len).unwrap_or((0, LINE, LINE));
        // SAFETY: the object has the bytes of the plan (`shape`).
        let items = unsafe { handle.object().add(items_at) };
        Array { handle, len, locks, items, of: PhantomData }
    }

    fn handle(&self) -> &Handle {
        &self.handle
    }

    fn count(&self) -> usize {
        self.len
    }
}

impl<T: Pod> Array<T> {
    /// A new array of zeros in anonymous shared memory. Length 0 is fine.
    ///
    /// # Errors
    /// [`TooLarge`](SegmentError::TooLarge) when no memory could hold it, [`NoSpace`](SegmentError::NoSpace) when the
    /// memory that is left cannot.
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

    /// A new array with these items.
    ///
    /// # Errors
    /// As [`zeroed`](Array::zeroed).
    ///
    /// ```
    /// assert_eq!(crossproc::Array::from_slice(&[1.5, 2.5])?.len(), 2);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn from_slice(items: &[T]) -> Result<Self, SegmentError> {
        segment::create(items.len(), |array: &Self| fill_new(array.items, items))
    }

    /// A new array with what the iterator gives. (An inherent function, since it can fail.)
    ///
    /// # Errors
    /// As [`zeroed`](Array::zeroed).
    ///
    /// ```
    /// assert_eq!(crossproc::Array::from_iter("abc".bytes())?.to_vec()?, *b"abc");
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    #[expect(clippy::should_implement_trait, reason = "it can fail")]
    pub fn from_iter(items: impl IntoIterator<Item = T>) -> Result<Self, SegmentError> {
        Self::from_slice(&items.into_iter().collect::<Vec<_>>())
    }

    /// An array that other programs find by name. A file that other users may write is refused.
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

    /// An array at an offset of memory that the program owns.
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

    #[inline]
    fn head(&self) -> &Head {
        // SAFETY: the first line of the object, of atomics; mapped as long as the handle lives.
        unsafe { self.handle.object().cast().as_ref() }
    }

    /// The lock of a part, below `self.locks`.
    fn part_lock(&self, index: usize) -> &RawLock {
        debug_assert!(index < self.locks);
        // SAFETY: by the layout there are `locks` lines behind the first, each begins with a lock.
        unsafe { self.handle.object().add(LINE * (1 + index)).cast().as_ref() }
    }

    /// Into how many parts the array is divided now, of those that have locks.
    fn divided(&self) -> usize {
        (self.head().parts.load(SeqCst) as usize).min(self.locks)
    }

    /// The number of items.
    ///
    /// ```
    /// assert_eq!(crossproc::Array::<u8>::zeroed(7)?.len(), 7);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no items.
    ///
    /// ```
    /// assert!(crossproc::Array::<u8>::zeroed(0)?.is_empty());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Waits for the lock of the whole array, that is for its own and for those of all parts.
    ///
    /// # Errors
    /// [`OwnerDied`](LockError::OwnerDied) at once, without holding the lock, when a holder was killed and nobody repaired
    /// what it left; [`Deadlock`](LockError::Deadlock) when this thread holds it or a part;
    /// [`TooMany`](LockError::TooMany); [`Corrupt`](LockError::Corrupt).
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
        Ok(self.clean(Timeout::Never, 0..self.len)?)
    }

    /// Takes the lock of the whole array if nobody has any of it.
    ///
    /// # Errors
    /// [`WouldBlock`](TryLockError::WouldBlock), or as [`lock`](Array::lock).
    ///
    /// ```
    /// assert!(crossproc::Array::<u8>::zeroed(1)?.try_lock().is_ok());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn try_lock(&self) -> Result<ArrayGuard<'_, T>, TryLockError> {
        Ok(self.clean(Timeout::Now, 0..self.len)?)
    }

    /// Waits for the lock for that long, by the monotonic clock; zero means try.
    ///
    /// # Errors
    /// [`Timeout`](LockTimeoutError::Timeout), or as [`lock`](Array::lock).
    ///
    /// ```
    /// let array = crossproc::Array::<u8>::zeroed(1)?;
    /// assert!(array.lock_timeout(std::time::Duration::from_secs(1)).is_ok());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn lock_timeout(&self, duration: Duration) -> Result<ArrayGuard<'_, T>, LockTimeoutError> {
        Ok(self.clean(Timeout::at_most(duration), 0..self.len)?)
    }

    /// Waits for the lock of the whole array; if a holder was killed, runs `repair` on the items first.
    ///
    /// The repair runs once, by whoever comes first. If that one is killed, or panics, in it, the next one repairs.
    ///
    /// # Errors
    /// As [`lock`](Array::lock), but `OwnerDied`.
    ///
    /// ```
    /// let array = crossproc::Array::from_slice(&[1, 2])?;
    /// let guard = array.lock_or_repair(|items| items.fill(0))?;
    /// assert_eq!(*guard, [1, 2], "nobody died");
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn lock_or_repair(&self, repair: impl FnOnce(&mut [T])) -> Result<ArrayGuard<'_, T>, LockError> {
        self.cover(0..self.len).lock_or_repair(repair)
    }

    /// A copy of item `i`. Waits for the lock of the whole, and of the part that `i` is in.
    ///
    /// # Errors
    /// [`OutOfBounds`](ArrayError::OutOfBounds), or as [`lock`](Array::lock).
    ///
    /// ```
    /// use crossproc::{Array, ArrayError};
    /// let array = Array::from_slice(&[5, 6])?;
    /// assert_eq!((array.get(1), array.get(2)), (Ok(6), Err(ArrayError::OutOfBounds { index: 2, len: 2 })));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn get(&self, i: usize) -> Result<T, ArrayError> {
        check_index(i, self.len)?;
        Ok(self.read(i..i + 1, |items| items[0])?)
    }

    /// Replaces item `i`. Waits as [`get`](Array::get) does.
    ///
    /// # Errors
    /// As [`get`](Array::get).
    ///
    /// ```
    /// let array = crossproc::Array::<u8>::zeroed(2)?;
    /// array.set(1, 9)?;
    /// assert_eq!(array.get(1)?, 9);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn set(&self, i: usize, value: T) -> Result<(), ArrayError> {
        check_index(i, self.len)?;
        self.clean(Timeout::Never, i..i + 1).map_err(LockError::from)?[0] = value;
        Ok(())
    }

    /// A copy of all items, under the lock.
    ///
    /// # Errors
    /// As [`lock`](Array::lock).
    ///
    /// ```
    /// assert_eq!(crossproc::Array::from_slice(&[1, 2])?.to_vec()?, vec![1, 2]);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn to_vec(&self) -> Result<Vec<T>, LockError> {
        self.read(0..self.len, <[T]>::to_vec)
    }

    /// Replaces all items.
    ///
    /// # Errors
    /// [`LengthMismatch`](ArrayError::LengthMismatch), or as [`lock`](Array::lock).
    ///
    /// ```
    /// use crossproc::{Array, ArrayError};
    /// let array = Array::<u8>::zeroed(2)?;
    /// array.copy_from_slice(&[1, 2])?;
    /// assert_eq!(array.copy_from_slice(&[1]), Err(ArrayError::LengthMismatch { got: 1, len: 2 }));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn copy_from_slice(&self, src: &[T]) -> Result<(), ArrayError> {
        check_length(src.len(), self.len)?;
        self.lock()?.copy_from_slice(src);
        Ok(())
    }

    /// Sets every item to `value`.
    ///
    /// # Errors
    /// As [`lock`](Array::lock).
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

    /// The process that holds the lock of the whole at this moment.
    ///
    /// ```
    /// let array = crossproc::Array::<u8>::zeroed(1)?;
    /// let guard = array.lock()?;
    /// assert_eq!(array.holder(), Some(std::process::id()));
    /// # drop(guard);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn holder(&self) -> Option<u32> {
        self.head().lock.holder()
    }

    /// Divides the array into `n` parts that follow each other, of equal length but for one item; each part is a handle
    /// with a lock of its own, for one child to take for its whole job. Asked again for the same number, by any process,
    /// it gives handles on the same parts. The array stays divided when the parts are gone, and a lock of the whole takes
    /// the lock of every part: `parts(1)` makes it cheap again. A part in a message that nobody received counts as alive.
    ///
    /// # Errors
    /// [`Partitioned`](ArrayError::Partitioned) while parts of another number live anywhere;
    /// [`TooMany`](LockError::TooMany) when there would be more parts with items than the array has locks: 64, or one for
    /// each KiB of items up to 1,024; [`OwnerDied`](LockError::OwnerDied) when the number would change and a holder's
    /// half-done work is not repaired; or as [`lock`](Array::lock). More parts than items is fine, the rest is empty.
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
        if n.min(self.len) > self.locks {
            return Err(LockError::TooMany.into());
        }
        if n == 0 {
            return Ok(Vec::new());
        }
        let own = &self.head().lock;
        // No record, for nothing is changed in place: who is killed in here leaves no mark, and finds the one that is there.
        let held = own.acquire(Timeout::Never, false).map_err(LockError::from)?;
        let parts = self.divide(number).and_then(|()| {
            let part = |index| Part::new(self.clone(), index, n).map_err(|_| LockError::TooMany.into());
            (0..n).map(part).collect()
        });
        own.release_poisoned(&held);
        parts
    }

    /// Step 2, under the lock of the whole.
    fn divide(&self, number: u32) -> Result<(), ArrayError> {
        let head = self.head();
        let now = head.parts.load(SeqCst);
        if now == number {
            return Ok(());
        }
        if let Some((pid, _)) = head.lock.recorded() {
            return Err(LockError::OwnerDied { pid }.into());
        }
        for lock in (0..self.divided()).map(|index| self.part_lock(index)) {
            if let Some((pid, _)) = lock.recorded().filter(|_| !lock.is_held()) {
                return Err(LockError::OwnerDied { pid }.into());
            }
            if lock.is_held() {
                return Err(ArrayError::Partitioned);
            }
        }
        if now != 0 && (head.part_flights.load(SeqCst) != 0 || self.has_parts()?) {
            return Err(ArrayError::Partitioned);
        }
        head.parts.store(number, SeqCst); // the commit point
        Ok(())
    }

    fn has_parts(&self) -> Result<bool, ArrayError> {
        self.handle.has_parts().map_err(|_| LockError::Corrupt.into())
    }

    #[inline]
    fn cover(&self, range: Range<usize>) -> Cover<'_, T> {
        Cover { array: self, range, locks: Locks::All }
    }

    #[inline]
    fn clean(&self, patience: Timeout, range: Range<usize>) -> Result<ArrayGuard<'_, T>, LockFailure> {
        self.cover(range).lock(patience)
    }

    fn read<R>(&self, range: Range<usize>, look: impl FnOnce(&[T]) -> R) -> Result<R, LockError> {
        self.cover(range).look(look)
    }

    /// Step 1. For a single item, of the parts' locks only the one that it is in.
    fn take(&self, patience: Timeout, range: Range<usize>) -> Result<Taken<'_>, LockFailure> {
        let own = &self.head().lock;
        let mut taken = Taken::new(own, own.acquire(patience, true)?);
        let n = self.head().parts.load(SeqCst) as usize;
        let whole = range == (0..self.len);
        for index in 0..self.divided() {
            let part = part_range(index, n, self.len);
            if whole || (part.start < range.end && range.start < part.end) {
                let lock = self.part_lock(index);
                taken.push(lock, lock.acquire(patience, true)?);
            }
        }
        Ok(taken)
    }

    /// # Safety
    /// The caller holds the locks that cover the range, which is inside the array, for as long as the slice lives.
    #[expect(clippy::mut_from_ref, reason = "the locks make it exclusive")]
    unsafe fn slice(&self, range: Range<usize>) -> &mut [T] {
        let first = self.items.cast::<T>();
        // SAFETY: `len` items lie there, aligned (`plan`); exclusive by the caller's promise; any bytes are a T (Pod).
        unsafe { std::slice::from_raw_parts_mut(first.add(range.start).as_ptr(), range.len()) }
    }
}

fn fill_new<T: Pod>(to: NonNull<u8>, items: &[T]) {
    // SAFETY: called with fresh memory of the plan for this many items.
    unsafe { to.cast::<T>().as_ptr().copy_from_nonoverlapping(items.as_ptr(), items.len()) };
}

fn check_index(index: usize, len: usize) -> Result<(), ArrayError> {
    if index < len { Ok(()) } else { Err(ArrayError::OutOfBounds { index, len }) }
}

fn check_length(got: usize, len: usize) -> Result<(), ArrayError> {
    if got == len { Ok(()) } else { Err(ArrayError::LengthMismatch { got, len }) }
}

/// Items `index` of `n` parts; with more parts than items, the first `len` have one each.
fn part_range(index: usize, n: usize, len: usize) -> Range<usize> {
    if n > len {
        return index.min(len)..(index + 1).min(len);
    }
    let at = |index: usize| (index as u128 * len as u128 / n.max(1) as u128) as usize;
    at(index)..at(index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_all_items_once() {
        for (n, len) in [(1, 0), (3, 10), (10, 3), (7, 7), (1000, 1001)] {
            let ranges: Vec<_> = (0..n).map(|index| part_range(index, n, len)).collect();
            assert_eq!(ranges.iter().flat_map(Clone::clone).collect::<Vec<_>>(), (0..len).collect::<Vec<_>>());
            assert!(ranges.iter().skip(len).all(Range::is_empty));
        }
    }
}
