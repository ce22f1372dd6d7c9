//! `Atomic<T>`: an integer in shared memory, changed by single instructions.
//!
//! # Layout
//! One line (64 bytes): a lock that is not used, as every object begins with one, and the integer at offset 48.
#![allow(unsafe_code)] // the integer lies in shared memory

use crate::SegmentError;
use crate::segment::{self, Handle, Kind, LINE, Named, Object, ObjectLayout, Spec, handle_type};
use bytemuck::Pod;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::atomic::{self, Ordering};

const INTEGER_AT: usize = 48;

/// An integer type that an [`Atomic`] can hold: `i8` to `i64`, `u8` to `u64`, `isize` and `usize`.
///
/// ```
/// fn sum<T: crossproc::Int>(total: &crossproc::Atomic<T>, by: T) -> T {
///     total.fetch_add(by, std::sync::atomic::Ordering::Relaxed)
/// }
/// assert_eq!(sum(&crossproc::Atomic::new(1u8)?, 2), 1);
/// # Ok::<(), crossproc::Error>(())
/// ```
pub trait Int: Pod + sealed::Ops<<Self as Int>::Std> {
    /// The type in `std::sync::atomic` for this integer, such as [`AtomicI64`](std::sync::atomic::AtomicI64).
    type Std: Send + Sync + std::fmt::Debug + 'static;
}

mod sealed {
    use std::sync::atomic::Ordering;
    pub trait Ops<Std>: Sized {
        fn atomic(value: Self) -> Std;
        fn load(std: &Std, order: Ordering) -> Self;
        fn store(std: &Std, value: Self, order: Ordering);
        fn swap(std: &Std, value: Self, order: Ordering) -> Self;
        fn fetch_add(std: &Std, value: Self, order: Ordering) -> Self;
        fn fetch_sub(std: &Std, value: Self, order: Ordering) -> Self;
        fn fetch_max(std: &Std, value: Self, order: Ordering) -> Self;
        fn fetch_min(std: &Std, value: Self, order: Ordering) -> Self;
        fn fetch_and(std: &Std, value: Self, order: Ordering) -> Self;
        fn fetch_or(std: &Std, value: Self, order: Ordering) -> Self;
        fn fetch_xor(std: &Std, value: Self, order: Ordering) -> Self;
        fn compare_exchange(std: &Std, current: Self, new: Self, ok: Ordering, err: Ordering) -> Result<Self, Self>;
    }
}

macro_rules! forward {
    ($std:ident; $($name:ident)*) => { $(
        #[inline]
        fn $name(std: &atomic::$std, value: Self, order: Ordering) -> Self {
            std.$name(value, order)
        }
    )* };
}

macro_rules! int {
    ($($int:ident $std:ident)*) => { $(
        impl Int for $int {
            type Std = atomic::$std;
        }
        impl sealed::Ops<atomic::$std> for $int {
            fn atomic(value: Self) -> atomic::$std {
                atomic::$std::new(value)
            }
            #[inline]
            fn load(std: &atomic::$std, order: Ordering) -> Self {
                std.load(order)
            }
            #[inline]
            fn store(std: &atomic::$std, value: Self, order: Ordering) {
                std.store(value, order);
            }
            forward!($std; swap fetch_add fetch_sub fetch_max fetch_min fetch_and fetch_or fetch_xor);
            #[inline]
            fn compare_exchange(std: &atomic::$std, current: Self, new: Self, ok: Ordering, err: Ordering) -> Result<Self, Self> {
                std.compare_exchange(current, new, ok, err)
            }
        }
    )* };
}
int! {
    i8 AtomicI8 u8 AtomicU8 i16 AtomicI16 u16 AtomicU16 i32 AtomicI32 u32 AtomicU32 i64 AtomicI64 u64 AtomicU64
    isize AtomicIsize usize AtomicUsize
}

/// An integer in shared memory with the operations of `std::sync::atomic`. It has no lock.
///
/// ```
/// use crossproc::Atomic;
/// use std::sync::atomic::Ordering::{Relaxed, SeqCst};
/// let total = Atomic::new(40_i64)?;
/// total.fetch_add(2, Relaxed);
/// assert_eq!(total.compare_exchange(42, 0, SeqCst, Relaxed), Ok(42));
/// assert_eq!(total.load(Relaxed), 0);
/// # Ok::<(), crossproc::Error>(())
/// ```
///
/// # When a process dies
/// Each operation has happened as a whole, or not at all.
pub struct Atomic<T> {
    handle: Handle,
    of: PhantomData<fn() -> T>,
}

handle_type!(Atomic<T>);

impl<T> Object for Atomic<T> {
    const IN_PLACE: bool = false;

    fn spec(_: usize) -> Result<Spec, SegmentError> {
        Spec::of::<T>(Kind::Atomic, 1)
    }

    fn layout(_: usize) -> Option<ObjectLayout> {
        Some(ObjectLayout { locks: 0, bytes: LINE })
    }

    fn of(handle: Handle, _: usize) -> Self {
        Atomic { handle, of: PhantomData }
    }

    fn handle(&self) -> &Handle {
        &self.handle
    }

    fn count(&self) -> usize {
        1
    }
}

fn init<T: Int>(object: NonNull<u8>, value: T) {
    // SAFETY: the object is a new line of memory, in which the integer lies, aligned. No other thread knows it yet.
    unsafe { object.add(INTEGER_AT).cast::<T::Std>().write(T::atomic(value)) };
}

macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident)*) => { $(
        $(#[$doc])*
        #[inline]
        pub fn $name(&self, value: T, order: Ordering) -> T {
            T::$name(self.as_std(), value, order)
        }
    )* };
}

impl<T: Int> Atomic<T> {
    /// Creates an integer in anonymous shared memory.
    ///
    /// # Errors
    /// [`NoSpace`](SegmentError::NoSpace) if not enough memory is left.
    ///
    /// ```
    /// assert_eq!(crossproc::Atomic::new(5u16)?.load(std::sync::atomic::Ordering::SeqCst), 5);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn new(value: T) -> Result<Self, SegmentError> {
        segment::create(1, |object: &Self| init(object.handle.object(), value))
    }

    /// Returns a builder that creates or opens an integer by name, so that other programs can use it, too.
    ///
    /// ```
    /// use std::sync::atomic::Ordering::Relaxed;
    /// let total = crossproc::Atomic::<u64>::named("doc-atomic").open_or_create(5)?;
    /// assert_eq!(crossproc::Atomic::<u64>::named("doc-atomic").open()?.load(Relaxed), total.load(Relaxed));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn named(name: &str) -> Named<Self> {
        Named::by(name)
    }

    /// Returns a builder that creates or opens an integer at an offset of memory that the program owns.
    ///
    /// ```
    /// let memory = crossproc::Within::new(shared_memory::ShmemConf::new().size(65536).create().unwrap());
    /// let made = crossproc::Atomic::<u8>::within(&memory, 128).create(3)?;
    /// assert_eq!(made.load(std::sync::atomic::Ordering::SeqCst), 3);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    #[cfg(feature = "shared_memory")]
    pub fn within(memory: &crate::Within, offset: usize) -> Named<Self> {
        memory.at(offset)
    }

    /// Returns std's atomic integer, for operations that this type does not have.
    ///
    /// ```
    /// use std::sync::atomic::Ordering::SeqCst;
    /// let bits = crossproc::Atomic::new(0b0110_u8)?;
    /// assert_eq!(bits.as_std().fetch_nand(0b0010, SeqCst), 0b0110);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    #[inline]
    pub fn as_std(&self) -> &T::Std {
        // SAFETY: the aligned integer that `init` wrote. The handle keeps it mapped.
        unsafe { self.handle.object().add(INTEGER_AT).cast().as_ref() }
    }

    /// Returns the integer.
    ///
    /// ```
    /// use std::sync::atomic::Ordering::SeqCst;
    /// assert_eq!(crossproc::Atomic::new(-1i8)?.load(SeqCst), -1);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    #[inline]
    pub fn load(&self, order: Ordering) -> T {
        T::load(self.as_std(), order)
    }

    /// Replaces the integer.
    ///
    /// ```
    /// use std::sync::atomic::Ordering::SeqCst;
    /// let total = crossproc::Atomic::new(1)?;
    /// total.store(2, SeqCst);
    /// assert_eq!(total.load(SeqCst), 2);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    #[inline]
    pub fn store(&self, value: T, order: Ordering) {
        T::store(self.as_std(), value, order);
    }

    operations! {
        /// Replaces the integer, and returns the previous one.
        swap
        /// Adds to the integer, wrapping around on overflow, and returns the previous one.
        fetch_add
        /// Subtracts from the integer, wrapping around on overflow, and returns the previous one.
        fetch_sub
        /// Replaces the integer by the larger of it and the argument, and returns the previous one.
        fetch_max
        /// Replaces the integer by the smaller of it and the argument, and returns the previous one.
        fetch_min
        /// Replaces the integer by its bitwise "and" with the argument, and returns the previous one.
        fetch_and
        /// Replaces the integer by its bitwise "or" with the argument, and returns the previous one.
        fetch_or
        /// Replaces the integer by its bitwise "xor" with the argument, and returns the previous one.
        fetch_xor
    }

    /// Replaces the integer by `new` if it is `current`, and returns `Ok(current)` then.
    ///
    /// # Errors
    /// The integer, if it is not `current`. It is not changed then.
    ///
    /// ```
    /// use std::sync::atomic::Ordering::SeqCst;
    /// let total = crossproc::Atomic::new(1)?;
    /// assert_eq!(total.compare_exchange(9, 2, SeqCst, SeqCst), Err(1));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    #[inline]
    pub fn compare_exchange(&self, current: T, new: T, ok: Ordering, err: Ordering) -> Result<T, T> {
        T::compare_exchange(self.as_std(), current, new, ok, err)
    }
}

impl<T: Int> Named<Atomic<T>> {
    /// Creates the integer. See [`Named`] for the errors.
    ///
    /// ```
    /// assert!(crossproc::Atomic::<u8>::named("doc-atomic-create").create(3).is_ok());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn create(self, value: T) -> Result<Atomic<T>, SegmentError> {
        self.create_object(1, |object| init(object, value))
    }

    /// Opens the integer, or creates it if it does not exist.
    ///
    /// ```
    /// assert!(crossproc::Atomic::<u8>::named("doc-atomic-either").open_or_create(3).is_ok());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn open_or_create(self, value: T) -> Result<Atomic<T>, SegmentError> {
        self.open_or_create_object(|named| named.create_object(1, |object| init(object, value)))
    }
}
