//! `RawValue<T>`: a value in shared memory without a lock.
//!
//! # Layout
//! A lock that is not used, as every object begins with one, and the value at offset 48.
//!
//! # If a process dies here
//! During a copy: a value of more than 8 bytes may consist of parts of the old and of the new value.
#![allow(unsafe_code)] // copies to and from shared memory

use crate::SegmentError;
use crate::segment::{self, Handle, Kind, Named, Object, ObjectLayout, Spec, handle_type};
use crate::sync::atomic_copy;
use bytemuck::Pod;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr::NonNull;

const VALUE_AT: usize = 48;

/// A value in shared memory without a lock: the last [`set`](RawValue::set) wins.
///
/// A value of up to 8 bytes is read and written as a whole, with relaxed ordering. A reader of a larger value may see
/// parts of two writes. [`Value`](crate::Value) and [`Atomic`](crate::Atomic) guarantee more.
///
/// ```
/// let done = crossproc::RawValue::new(0.5)?;
/// done.set(done.get() * 2.0);
/// assert_eq!(done.get(), 1.0);
/// # Ok::<(), crossproc::Error>(())
/// ```
///
/// # When a process dies
/// If a process dies during [`set`](RawValue::set), a value of more than 8 bytes may be partly old and partly new.
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
    // SAFETY: by its layout, the object has whole words for the value from `VALUE_AT` on. They are accessed by atomics
    // only.
    unsafe {
        atomic_copy::store(object.add(VALUE_AT).as_ptr().cast(), std::ptr::from_ref(value).cast(), size_of::<T>())
    };
}

impl<T: Pod> RawValue<T> {
    /// Creates a value in anonymous shared memory.
    ///
    /// # Errors
    /// [`NoSpace`](SegmentError::NoSpace) if not enough memory is left, [`TooLarge`](SegmentError::TooLarge) if no
    /// memory could hold the value.
    ///
    /// ```
    /// assert_eq!(crossproc::RawValue::new([1u8; 3])?.get(), [1; 3]);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn new(value: T) -> Result<Self, SegmentError> {
        segment::create(1, |object: &Self| object.set(value))
    }

    /// Returns a builder that creates or opens a value by name, so that other programs can use it, too.
    ///
    /// ```
    /// let level = crossproc::RawValue::named("doc-raw-value").open_or_create(3u8)?;
    /// assert_eq!(crossproc::RawValue::<u8>::named("doc-raw-value").open()?.get(), level.get());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn named(name: &str) -> Named<Self> {
        Named::by(name)
    }

    /// Returns a builder that creates or opens a value at an offset of memory that the program owns.
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

    /// Returns a copy of the value.
    ///
    /// ```
    /// assert_eq!(crossproc::RawValue::new(0.25)?.get(), 0.25);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn get(&self) -> T {
        let mut value = MaybeUninit::<T>::uninit();
        // SAFETY: by its layout, the object has whole words for the value from `VALUE_AT` on, accessed by atomics only.
        // The copy fills `value`, and any bytes are a T (`Pod`).
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
    /// Creates the value. See [`Named`] for the errors.
    ///
    /// ```
    /// assert_eq!(crossproc::RawValue::named("doc-raw-create").create(4u32)?.get(), 4);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn create(self, value: T) -> Result<RawValue<T>, SegmentError> {
        self.create_object(1, |object| store_value(object, &value))
    }

    /// Opens the value, or creates it if it does not exist.
    ///
    /// ```
    /// assert_eq!(crossproc::RawValue::named("doc-raw-either").open_or_create(4u32)?.get(), 4);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn open_or_create(self, value: T) -> Result<RawValue<T>, SegmentError> {
        self.open_or_create_object(|named| named.create_object(1, |object| store_value(object, &value)))
    }
}
