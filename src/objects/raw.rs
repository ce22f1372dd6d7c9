//! `RawValue<T>` and `RawArray<T>`: shared memory without a lock.
//!
//! # Layout
//! An unused lock line as in every block (48 bytes for a value, 64 for an array), then the items.
//!
//! # If a process dies here
//! In the middle of a copy: an item of more than 8 bytes may be half old, half new.
#![allow(unsafe_code)] // copies to and from shared memory

use crate::SegmentError;
use crate::segment::{self, Handle, Kind, LINE, Named, Object, ObjectLayout, Spec, handle_type};
use crate::sync::atomic_copy;
use bytemuck::Pod;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

const VALUE_AT: usize = 48;

/// A value in shared memory without a lock: the last `set` wins.
///
/// Up to 8 bytes are read and written as a whole (relaxed); of larger ones a reader may see parts of two writes. For
/// anything more use [`Value`](crate::Value) or [`Atomic`](crate::Atomic).
///
/// ```
/// let done = crossproc::RawValue::new(0.5)?;
/// done.set(done.get() * 2.0);
/// assert_eq!(done.get(), 1.0);
/// # Ok::<(), crossproc::Error>(())
/// ```
///
/// # When a process dies
/// In the middle of `set`: a value of more than 8 bytes may be half old, half new.
pub struct RawValue<T> {
    handle: Handle,
    of: PhantomData<fn() -> T>,
}

handle_type!(RawValue<T>);

impl<T> Object for RawValue<T> {
    const IN_PLACE: bool = false;

    fn spec(_: usize) -> Result<Spec, SegmentError> {
        Spec::of::<T>(Kind::RawValue, 1)
    }

    fn layout(_: usize) -> Option<ObjectLayout> {
        Some(ObjectLayout { locks: 0, bytes: size_of::<T>().checked_next_multiple_of(8)?.checked_add(VALUE_AT)? })
    }

    fn of(handle: Handle, _: usize) -> Self {
        RawValue { handle, of: PhantomData }
    }

    fn handle(&self) -> &Handle {
        &self.handle
    }

    fn count(&self) -> usize {
        1
    }
}

fn store_value<T: Pod>(object: NonNull<u8>, value: &T) {
    // SAFETY: the object has the bytes of `shape`, whole words from VALUE_AT on.
    unsafe {
        atomic_copy::store(object.add(VALUE_AT).as_ptr().cast(), std::ptr::from_ref(value).cast(), size_of::<T>())
    };
}

impl<T: Pod> RawValue<T> {
    /// A new value in anonymous shared memory.
    ///
    /// # Errors
    /// [`NoSpace`](SegmentError::NoSpace), [`TooLarge`](SegmentError::TooLarge).
    ///
    /// ```
    /// assert_eq!(crossproc::RawValue::new([1u8; 3])?.get(), [1; 3]);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn new(value: T) -> Result<Self, SegmentError> {
        segment::create(1, |object: &Self| object.set(value))
    }

    /// A value that other programs find by name.
    ///
    /// ```
    /// let level = crossproc::RawValue::named("doc-raw-value").open_or_create(3u8)?;
    /// assert_eq!(crossproc::RawValue::<u8>::named("doc-raw-value").open()?.get(), level.get());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn named(name: &str) -> Named<Self> {
        Named::by(name)
    }

    /// A value at an offset of memory that the program owns.
    ///
    /// ```
    /// let memory = crossproc::Within::new(shared_memory::ShmemConf::new().size(65536).create().unwrap());
    /// let made = crossproc::RawValue::within(&memory, 0).create(3u8)?;
    /// assert_eq!(made.get(), 3);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    #[cfg(feature = "shared_memory")]
    pub fn within(memory: &crate::Within, offset: usize) -> Named<Self> {
        memory.at(offset)
    }

    /// A copy of the value.
    ///
    /// ```
    /// assert_eq!(crossproc::RawValue::new(0.25)?.get(), 0.25);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn get(&self) -> T {
        let mut value = MaybeUninit::<T>::uninit();
        // SAFETY: as in `store_value`; any bytes are a T.
        unsafe {
            let from = self.handle.object().add(VALUE_AT).as_ptr().cast();
            atomic_copy::load(from, value.as_mut_ptr().cast(), size_of::<T>());
            value.assume_init()
        }
    }

    /// Replaces the value.
    ///
    /// ```
    /// let raw = crossproc::RawValue::new(1)?;
    /// raw.set(2);
    /// assert_eq!(raw.get(), 2);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn set(&self, value: T) {
        store_value(self.handle.object(), &value);
    }
}

impl<T: Pod> Named<RawValue<T>> {
    /// Makes the value; see [`Named`] for the errors.
    ///
    /// ```
    /// assert_eq!(crossproc::RawValue::named("doc-raw-create").create(4u32)?.get(), 4);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn create(self, value: T) -> Result<RawValue<T>, SegmentError> {
        self.create_object(1, |object| store_value(object, &value))
    }

    /// Opens the value, or makes it where there is none.
    ///
    /// ```
    /// assert_eq!(crossproc::RawValue::named("doc-raw-either").open_or_create(4u32)?.get(), 4);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn open_or_create(self, value: T) -> Result<RawValue<T>, SegmentError> {
        self.open_or_create_object(|named| named.create_object(1, |object| store_value(object, &value)))
    }
}

/// Many items in shared memory without a lock: for each item the last `set` wins.
///
/// Items of 1, 2, 4 or 8 bytes are read and written as a whole (relaxed); of others a reader may see parts of two writes.
/// Its length is up to the memory.
///
/// ```
/// let levels = crossproc::RawArray::<f32>::zeroed(4)?;
/// levels.set(3, 1.5);
/// assert_eq!((levels.get(3), levels.get(4), levels.set(4, 0.0)), (Some(1.5), None, None));
/// # Ok::<(), crossproc::Error>(())
/// ```
///
/// # When a process dies
/// In the middle of `set`: an item of another size may be half old, half new.
pub struct RawArray<T> {
    handle: Handle,
    len: usize,
    items: NonNull<u8>,
    of: PhantomData<fn() -> T>,
}

handle_type!(RawArray<T>);

// SAFETY: items are touched by atomics; the pointer stays valid with the handle.
unsafe impl<T> Send for RawArray<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for RawArray<T> {}

/// Where the items begin.
fn items_at<T>() -> usize {
    LINE.next_multiple_of(align_of::<T>())
}

impl<T> Object for RawArray<T> {
    const IN_PLACE: bool = false;

    fn spec(count: usize) -> Result<Spec, SegmentError> {
        Spec::of::<T>(Kind::RawArray, count)
    }

    fn layout(count: usize) -> Option<ObjectLayout> {
        let bytes = count.checked_mul(size_of::<T>()).filter(|bytes| isize::try_from(*bytes).is_ok())?;
        Some(ObjectLayout { locks: 0, bytes: bytes.checked_add(items_at::<T>())? })
    }

    fn of(handle: Handle, len: usize) -> Self {
        // SAFETY: the object has the bytes of `shape`.
        let items = unsafe { handle.object().add(items_at::<T>()) };
        RawArray { handle, len, items, of: PhantomData }
    }

    fn handle(&self) -> &Handle {
        &self.handle
    }

    fn count(&self) -> usize {
        self.len
    }
}

impl RawArray<u64> {
    /// Its words, for a protocol of their own.
    pub(crate) fn words(&self) -> &[AtomicU64] {
        // SAFETY: so many aligned words by `shape`, which live as long as the handle and are only ever touched by atomics.
        unsafe { std::slice::from_raw_parts(self.items.as_ptr().cast(), self.len) }
    }
}

impl<T: Pod> RawArray<T> {
    /// A new array of zeros in anonymous shared memory.
    ///
    /// # Errors
    /// [`NoSpace`](SegmentError::NoSpace), [`TooLarge`](SegmentError::TooLarge).
    ///
    /// ```
    /// assert_eq!(crossproc::RawArray::<i16>::zeroed(2)?.get(1), Some(0));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn zeroed(len: usize) -> Result<Self, SegmentError> {
        segment::create(len, |_| ())
    }

    /// A new array with these items.
    ///
    /// # Errors
    /// As [`zeroed`](RawArray::zeroed).
    ///
    /// ```
    /// assert_eq!(crossproc::RawArray::from_slice(&[1, 2])?.get(1), Some(2));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn from_slice(items: &[T]) -> Result<Self, SegmentError> {
        segment::create(items.len(), |array: &Self| array.store_all(items))
    }

    /// An array that other programs find by name.
    ///
    /// ```
    /// let levels = crossproc::RawArray::named("doc-raw-array").create(&[1u16, 2])?;
    /// assert_eq!(crossproc::RawArray::<u16>::named("doc-raw-array").open()?.get(1), levels.get(1));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn named(name: &str) -> Named<Self> {
        Named::by(name)
    }

    /// An array at an offset of memory that the program owns.
    ///
    /// ```
    /// let memory = crossproc::Within::new(shared_memory::ShmemConf::new().size(65536).create().unwrap());
    /// let made = crossproc::RawArray::within(&memory, 0).create(&[3u8])?;
    /// assert_eq!(made.get(0), Some(3));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    #[cfg(feature = "shared_memory")]
    pub fn within(memory: &crate::Within, offset: usize) -> Named<Self> {
        memory.at(offset)
    }

    /// The number of items.
    ///
    /// ```
    /// assert_eq!(crossproc::RawArray::<u8>::zeroed(2)?.len(), 2);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no items.
    ///
    /// ```
    /// assert!(!crossproc::RawArray::<u8>::zeroed(2)?.is_empty());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A copy of item `i`; none if there is no such item.
    ///
    /// ```
    /// assert_eq!(crossproc::RawArray::<u8>::zeroed(2)?.get(2), None);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn get(&self, i: usize) -> Option<T> {
        let mut item = MaybeUninit::<T>::uninit();
        // SAFETY: inside the items, aligned to T; any bytes are a T.
        (i < self.len).then(|| unsafe {
            atomic_copy::load_item(
                self.items.cast::<T>().add(i).as_ptr().cast(),
                item.as_mut_ptr().cast(),
                size_of::<T>(),
            );
            item.assume_init()
        })
    }

    /// Replaces item `i`; none if there is no such item.
    ///
    /// ```
    /// assert_eq!(crossproc::RawArray::<u8>::zeroed(2)?.set(1, 5), Some(()));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn set(&self, i: usize, value: T) -> Option<()> {
        // SAFETY: as in `get`.
        (i < self.len).then(|| unsafe {
            atomic_copy::store_item(
                self.items.cast::<T>().add(i).as_ptr().cast(),
                (&raw const value).cast(),
                size_of::<T>(),
            );
        })
    }

    fn store_all(&self, items: &[T]) {
        for (i, item) in items.iter().enumerate() {
            self.set(i, *item);
        }
    }
}

impl<T: Pod> Named<RawArray<T>> {
    /// Makes the array with these items; see [`Named`] for the errors.
    ///
    /// ```
    /// assert_eq!(crossproc::RawArray::named("doc-raws-create").create(&[4u32])?.len(), 1);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn create(self, items: &[T]) -> Result<RawArray<T>, SegmentError> {
        self.create_items(items)
    }

    /// Makes the array of zeros; see [`Named`] for the errors.
    ///
    /// ```
    /// assert_eq!(crossproc::RawArray::<u8>::named("doc-raws-zeroed").create_zeroed(5)?.len(), 5);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn create_zeroed(self, len: usize) -> Result<RawArray<T>, SegmentError> {
        self.create_object(len, |_| ())
    }

    /// Opens the array, whatever its length, or makes it with these items where there is none.
    ///
    /// ```
    /// assert_eq!(crossproc::RawArray::named("doc-raws-either").open_or_create(&[4u32])?.get(0), Some(4));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn open_or_create(self, items: &[T]) -> Result<RawArray<T>, SegmentError> {
        self.open_or_create_object(|named| named.create_items(items))
    }

    fn create_items(&self, items: &[T]) -> Result<RawArray<T>, SegmentError> {
        self.create_object(items.len(), |object| {
            // SAFETY: fresh memory of `shape` for this many items.
            unsafe {
                object.add(items_at::<T>()).cast::<T>().as_ptr().copy_from_nonoverlapping(items.as_ptr(), items.len())
            };
        })
    }
}
