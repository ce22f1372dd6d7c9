//! `RawArray<T>`: many items in shared memory without a lock.
//!
//! # Layout
//! A lock that is not used in the first line (64 bytes), as every object begins with one, and then the items.
//!
//! # If a process dies here
//! During a copy: an item of another size than 1, 2, 4 or 8 bytes may consist of parts of the old and of the new item.
#![allow(unsafe_code)] // copies to and from shared memory

use crate::SegmentError;
use crate::segment::{self, Handle, Kind, LINE, Named, Object, ObjectLayout, Spec, handle_type};
use crate::sync::atomic_copy;
use bytemuck::Pod;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

/// A fixed number of items in shared memory without a lock: for each item the last [`set`](RawArray::set) wins.
///
/// Items of 1, 2, 4 or 8 bytes are read and written as a whole, with relaxed ordering. A reader of an item of another
/// size may see parts of two writes. [`Array`](crate::Array) has a lock.
///
/// ```
/// let levels = crossproc::RawArray::<f32>::zeroed(4)?;
/// levels.set(3, 1.5);
/// assert_eq!((levels.get(3), levels.get(4), levels.set(4, 0.0)), (Some(1.5), None, None));
/// # Ok::<(), crossproc::Error>(())
/// ```
///
/// # When a process dies
/// If a process dies during [`set`](RawArray::set), an item of another size than 1, 2, 4 or 8 bytes may be partly old
/// and partly new.
pub struct RawArray<T> {
    handle: Handle,
    len: usize,
    items: NonNull<u8>,
    of: PhantomData<fn() -> T>,
}

handle_type!(RawArray<T>);

// SAFETY: the pointer belongs to no thread: it is valid as long as the handle lives.
unsafe impl<T> Send for RawArray<T> {}
// SAFETY: items are accessed by atomics only, through any number of shared references.
unsafe impl<T> Sync for RawArray<T> {}

/// The offset of the first item.
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
        // SAFETY: by its layout, the object's items begin there.
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
    /// The items as atomics, for other protocols of this crate.
    pub(crate) fn words(&self) -> &[AtomicU64] {
        // SAFETY: by the layout, `len` aligned words begin there. The handle keeps them mapped, and they are accessed
        // by atomics only.
        unsafe { std::slice::from_raw_parts(self.items.as_ptr().cast(), self.len) }
    }
}

impl<T: Pod> RawArray<T> {
    /// Creates an array of `len` zeros in anonymous shared memory.
    ///
    /// # Errors
    /// [`NoSpace`](SegmentError::NoSpace) if not enough memory is left, [`TooLarge`](SegmentError::TooLarge) if no
    /// memory could hold the items.
    ///
    /// ```
    /// assert_eq!(crossproc::RawArray::<i16>::zeroed(2)?.get(1), Some(0));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn zeroed(len: usize) -> Result<Self, SegmentError> {
        segment::create(len, |_| ())
    }

    /// Creates an array with a copy of these items in anonymous shared memory.
    ///
    /// # Errors
    /// The errors of [`zeroed`](RawArray::zeroed).
    ///
    /// ```
    /// assert_eq!(crossproc::RawArray::from_slice(&[1, 2])?.get(1), Some(2));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn from_slice(items: &[T]) -> Result<Self, SegmentError> {
        segment::create(items.len(), |array: &Self| array.store_all(items))
    }

    /// Returns a builder that creates or opens an array by name, so that other programs can use it, too.
    ///
    /// ```
    /// let levels = crossproc::RawArray::named("doc-raw-array").create(&[1u16, 2])?;
    /// assert_eq!(crossproc::RawArray::<u16>::named("doc-raw-array").open()?.get(1), levels.get(1));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn named(name: &str) -> Named<Self> {
        Named::by(name)
    }

    /// Returns a builder that creates or opens an array at an offset of memory that the program owns.
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

    /// Returns the number of items.
    ///
    /// ```
    /// assert_eq!(crossproc::RawArray::<u8>::zeroed(2)?.len(), 2);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns whether the array has no items.
    ///
    /// ```
    /// assert!(!crossproc::RawArray::<u8>::zeroed(2)?.is_empty());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns a copy of item `i`, or `None` if there is no such item.
    ///
    /// ```
    /// assert_eq!(crossproc::RawArray::<u8>::zeroed(2)?.get(2), None);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn get(&self, i: usize) -> Option<T> {
        let mut item = MaybeUninit::<T>::uninit();
        // SAFETY: item `i` is inside the array, aligned, and accessed by atomics only. The copy fills `item`, and any
        // bytes are a T (`Pod`).
        (i < self.len).then(|| unsafe {
            atomic_copy::load_item(
                self.items.cast::<T>().add(i).as_ptr().cast(),
                item.as_mut_ptr().cast(),
                size_of::<T>(),
            );
            item.assume_init()
        })
    }

    /// Replaces item `i`. Returns `None` if there is no such item.
    ///
    /// ```
    /// assert_eq!(crossproc::RawArray::<u8>::zeroed(2)?.set(1, 5), Some(()));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn set(&self, i: usize, value: T) -> Option<()> {
        // SAFETY: item `i` is inside the array, aligned, and accessed by atomics only.
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
    /// Creates the array with these items. See [`Named`] for the errors.
    ///
    /// ```
    /// assert_eq!(crossproc::RawArray::named("doc-raws-create").create(&[4u32])?.len(), 1);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn create(self, items: &[T]) -> Result<RawArray<T>, SegmentError> {
        self.create_items(items)
    }

    /// Creates the array with `len` zeros. See [`Named`] for the errors.
    ///
    /// ```
    /// assert_eq!(crossproc::RawArray::<u8>::named("doc-raws-zeroed").create_zeroed(5)?.len(), 5);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn create_zeroed(self, len: usize) -> Result<RawArray<T>, SegmentError> {
        self.create_object(len, |_| ())
    }

    /// Opens the array, whatever its length, or creates it with these items if it does not exist.
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
            // SAFETY: the object is new and has the layout of this many items. No other thread knows it yet.
            unsafe {
                object.add(items_at::<T>()).cast::<T>().as_ptr().copy_from_nonoverlapping(items.as_ptr(), items.len())
            };
        })
    }
}
