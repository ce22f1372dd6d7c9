//! [`ArrayMemory`]: access to the locks and items of an array that is mapped.

use super::layout::{ArrayHeader, ArrayLayout};
use crate::ArrayError;
use crate::segment::LINE;
use crate::sync::RawLock;
use bytemuck::Pod;
use std::marker::PhantomData;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::atomic::Ordering::SeqCst;

/// The mapped memory of an array. It stands beside the handle that keeps the memory mapped.
pub(super) struct ArrayMemory<T> {
    object: NonNull<u8>,
    items: NonNull<u8>,
    pub(super) len: usize,
    /// The number of part locks.
    pub(super) locks: usize,
    of: PhantomData<fn() -> T>,
}

// SAFETY: the header and the locks are atomics, and items are accessed only under locks (array-V1). The memory belongs
// to no thread: it stays mapped as long as the handle beside this lives.
unsafe impl<T> Send for ArrayMemory<T> {}
// SAFETY: a shared reference gives access to atomics, and to items only through `items`, whose caller holds their
// locks.
unsafe impl<T> Sync for ArrayMemory<T> {}

impl<T> ArrayMemory<T> {
    /// # Safety
    /// The object has the layout of an array of `len` items, and stays mapped as long as the result is used.
    pub(super) unsafe fn new(object: NonNull<u8>, len: usize) -> Self {
        let (locks, items_at) = ArrayLayout::of::<T>(len).map_or((0, LINE), |layout| (layout.locks, layout.items_at));
        // SAFETY: the items begin inside the object, by the layout that the caller vouches for.
        let items = unsafe { object.add(items_at) };
        ArrayMemory { object, items, len, locks, of: PhantomData }
    }

    #[inline]
    pub(super) fn header(&self) -> &ArrayHeader {
        // SAFETY: the object begins with its header, which consists of atomics and stays mapped (`new`).
        unsafe { self.object.cast().as_ref() }
    }

    /// The lock of a part. `index` is less than `self.locks`.
    pub(super) fn part_lock(&self, index: usize) -> &RawLock {
        debug_assert!(index < self.locks);
        // SAFETY: by the layout, `locks` lines follow the first one, and each begins with a lock of atomics.
        unsafe { self.object.add(LINE * (1 + index)).cast().as_ref() }
    }

    /// The number of parts that have locks, in the current division.
    pub(super) fn locked_parts(&self) -> usize {
        (self.header().part_count.load(SeqCst) as usize).min(self.locks)
    }
}

impl<T: Pod> ArrayMemory<T> {
    /// # Safety
    /// The range is inside the array. The caller holds the locks that cover it (array-V1) as long as the slice is used,
    /// and no other reference to these items exists meanwhile.
    #[expect(clippy::mut_from_ref, reason = "the locks make it exclusive")]
    pub(super) unsafe fn items(&self, range: Range<usize>) -> &mut [T] {
        let first = self.items.cast::<T>();
        // SAFETY: by the layout, `len` aligned items lie there. Any bytes are a T (`Pod`). The caller vouches for the
        // range, and has exclusive access by its locks.
        unsafe { std::slice::from_raw_parts_mut(first.add(range.start).as_ptr(), range.len()) }
    }

    /// Fills a new array, which no other thread knows yet.
    pub(super) fn fill_new(&self, items: &[T]) {
        debug_assert_eq!(items.len(), self.len);
        // SAFETY: the new memory has room for this many items by its layout, and does not overlap with private memory.
        unsafe { self.items.cast::<T>().as_ptr().copy_from_nonoverlapping(items.as_ptr(), items.len().min(self.len)) };
    }
}

pub(super) fn check_index(index: usize, len: usize) -> Result<(), ArrayError> {
    if index < len { Ok(()) } else { Err(ArrayError::OutOfBounds { index, len }) }
}

pub(super) fn check_length(got: usize, len: usize) -> Result<(), ArrayError> {
    if got == len { Ok(()) } else { Err(ArrayError::LengthMismatch { got, len }) }
}
