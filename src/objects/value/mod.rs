//! `Value<T>`: one value in shared memory, changed as a whole. The protocol is [`DoubleBuffer`]'s.
#![allow(unsafe_code)] // copies between the twin's slots and private memory

mod guard;

pub(crate) use guard::Parked;
pub use guard::ValueGuard;

use crate::segment::{self, Handle, Kind, Named, Object, ObjectLayout, Spec, handle_type};
use crate::sync::{DoubleBuffer, LockFailure, Timeout};
use crate::{Element, LockError, LockTimeoutError, SegmentError, TryLockError};
use bytemuck::Pod;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::time::Duration;

/// A value in shared memory, behind a lock that survives the death of its holder.
///
/// A guard works on a private copy: dropping it commits the copy with a single store. A holder that is killed, or that
/// panics, leaves the value exactly as it was before. Readers never wait for a holder.
///
/// ```
/// use crossproc::Value;
/// let counter = Value::new(0_i64)?;
/// *counter.lock()? += 1;
/// assert_eq!(counter.get(), 1);
/// # Ok::<(), crossproc::Error>(())
/// ```
///
/// # When a process dies
/// With the lock held: the next `lock` gets it at once, with the last committed value, and
/// [`recovered_from`](ValueGuard::recovered_from) names the dead process. With a handle: its memory is given back.
///
/// A guard whose thread ends while it is leaked ([`std::mem::forget`]) counts as one whose holder was killed.
pub struct Value<T> {
    handle: Handle,
    of: PhantomData<fn() -> T>,
}

handle_type!(Value<T>);

impl<T> Object for Value<T> {
    const IN_PLACE: bool = false;

    fn spec(_: usize) -> Result<Spec, SegmentError> {
        Spec::of::<T>(Kind::Value, 1)
    }

    fn layout(_: usize) -> Option<ObjectLayout> {
        Some(ObjectLayout { locks: 0, bytes: DoubleBuffer::bytes(size_of::<T>())? })
    }

    fn of(handle: Handle, _: usize) -> Self {
        Value { handle, of: PhantomData }
    }

    fn handle(&self) -> &Handle {
        &self.handle
    }

    fn count(&self) -> usize {
        1
    }
}

impl<T: Element> Value<T> {
    /// A new value in anonymous shared memory.
    ///
    /// # Errors
    /// [`NoSpace`](SegmentError::NoSpace), [`TooLarge`](SegmentError::TooLarge).
    ///
    /// ```
    /// assert_eq!(crossproc::Value::new(true)?.get(), true);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn new(value: T) -> Result<Self, SegmentError> {
        segment::create(1, |object: &Self| init(object.handle.object(), &value))
    }

    /// A value that other programs find by name. `T` is [`Pod`]: whatever they write is a value.
    ///
    /// ```
    /// let hits = crossproc::Value::<u64>::named("doc-value").open_or_create(0)?;
    /// assert_eq!(hits.get(), 0);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn named(name: &str) -> Named<Self>
    where
        T: Pod,
    {
        Named::by(name)
    }

    /// A value at an offset of memory that the program owns.
    ///
    /// ```
    /// let memory = crossproc::Within::new(shared_memory::ShmemConf::new().size(65536).create().unwrap());
    /// let made = crossproc::Value::within(&memory, 64).create(3u8)?;
    /// assert_eq!(made.get(), 3);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    #[cfg(feature = "shared_memory")]
    pub fn within(memory: &crate::Within, offset: usize) -> Named<Self>
    where
        T: Pod,
    {
        memory.at(offset)
    }

    #[inline(always)]
    fn twin(&self) -> &DoubleBuffer {
        // SAFETY: the object of a Value is a twin of slots for T (`shape`), mapped as long as the handle lives.
        unsafe { self.handle.object().cast().as_ref() }
    }

    /// Waits for the lock.
    ///
    /// # Errors
    /// [`Deadlock`](LockError::Deadlock) when this thread holds it, [`TooMany`](LockError::TooMany) guards,
    /// [`Corrupt`](LockError::Corrupt) when the lock word or the value is none that this library writes.
    ///
    /// ```
    /// use crossproc::{LockError, Value};
    /// let value = Value::new([1.0, 2.0])?;
    /// let mut guard = value.lock()?;
    /// guard[1] = 3.0;
    /// assert_eq!(value.get(), [1.0, 2.0], "not committed yet");
    /// assert_eq!(value.lock().unwrap_err(), LockError::Deadlock);
    /// drop(guard);
    /// assert_eq!(value.get(), [1.0, 3.0]);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    #[inline(always)]
    pub fn lock(&self) -> Result<ValueGuard<'_, T>, LockError> {
        self.begin(Timeout::Never).map_err(LockError::from)
    }

    /// Takes the lock if nobody has it.
    ///
    /// # Errors
    /// [`WouldBlock`](TryLockError::WouldBlock), or as [`lock`](Value::lock).
    ///
    /// ```
    /// let value = crossproc::Value::new(1u8)?;
    /// assert!(value.try_lock().is_ok());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    #[inline(always)]
    pub fn try_lock(&self) -> Result<ValueGuard<'_, T>, TryLockError> {
        self.begin(Timeout::Now).map_err(TryLockError::from)
    }

    /// Waits for the lock for that long, by the monotonic clock; zero means try.
    ///
    /// # Errors
    /// [`Timeout`](LockTimeoutError::Timeout), or as [`lock`](Value::lock).
    ///
    /// ```
    /// use std::time::Duration;
    /// let value = crossproc::Value::new(1u8)?;
    /// let guard = value.lock()?;
    /// std::thread::scope(|scope| {
    ///     let other = scope.spawn(|| value.lock_timeout(Duration::from_millis(5)).unwrap_err().is_timeout());
    ///     assert!(other.join().unwrap());
    /// });
    /// # drop(guard);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn lock_timeout(&self, duration: Duration) -> Result<ValueGuard<'_, T>, LockTimeoutError> {
        self.begin(Timeout::at_most(duration)).map_err(LockTimeoutError::from)
    }

    #[inline(always)]
    fn begin(&self, patience: Timeout) -> Result<ValueGuard<'_, T>, LockFailure> {
        // SAFETY: as in `twin`.
        unsafe { ValueGuard::begin(self.twin(), patience) }
    }

    /// A copy of the last committed value: consistent, and never blocked by a holder.
    ///
    /// # Panics
    /// When the memory holds no `T`, which only a program that writes over this family's own memory can bring about. Named
    /// values are [`Pod`], for which any bytes are a value.
    ///
    /// ```
    /// let value = crossproc::Value::new(7)?;
    /// let guard = value.lock()?;
    /// assert_eq!(value.get(), 7);
    /// # drop(guard);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    #[inline]
    pub fn get(&self) -> T {
        let mut copy = MaybeUninit::<T>::uninit();
        // SAFETY: as in `twin`.
        if !unsafe { self.twin().snapshot(copy.as_mut_ptr().cast(), size_of::<T>()) } {
            return self.get_among_writers();
        }
        if !is_valid(&copy) {
            overwritten();
        }
        // SAFETY: filled, and valid.
        unsafe { copy.assume_init() }
    }

    /// Apart, with a buffer of its own, so that the quick way keeps its copy in registers.
    #[cold]
    #[inline(never)]
    fn get_among_writers(&self) -> T {
        let mut copy = MaybeUninit::<T>::uninit();
        // SAFETY: as in `twin`.
        unsafe { self.twin().snapshot_among_writers(copy.as_mut_ptr().cast(), size_of::<T>()) };
        if !is_valid(&copy) {
            overwritten();
        }
        // SAFETY: filled, and valid.
        unsafe { copy.assume_init() }
    }

    /// Replaces the value.
    ///
    /// # Errors
    /// As [`lock`](Value::lock).
    ///
    /// ```
    /// let value = crossproc::Value::new('a')?;
    /// value.set('b')?;
    /// assert_eq!(value.get(), 'b');
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    #[inline]
    pub fn set(&self, value: T) -> Result<(), LockError> {
        let twin = self.twin();
        let turn = twin.begin(Timeout::Never)?;
        // SAFETY: as in `twin`; T has no uninitialised bytes.
        unsafe { twin.commit(&turn, (&raw const value).cast(), size_of::<T>()) };
        Ok(())
    }

    /// Changes the value under the lock, and gives what `f` gives. A panic in `f` rolls back.
    ///
    /// # Errors
    /// As [`lock`](Value::lock).
    ///
    /// ```
    /// let value = crossproc::Value::new(20)?;
    /// assert_eq!(value.update(|v| { *v += 1; *v * 2 })?, 42);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    #[inline]
    pub fn update<R>(&self, f: impl FnOnce(&mut T) -> R) -> Result<R, LockError> {
        Ok(f(&mut *self.lock()?))
    }

    /// Changes the value under the lock; an `Err` of `f` rolls back.
    ///
    /// # Errors
    /// What `f` gives, or as [`lock`](Value::lock).
    ///
    /// ```
    /// use crossproc::{Error, Value};
    /// let purse = Value::new(5)?;
    /// let pay = |price| purse.try_update(|p| { *p -= price; if *p < 0 { Err(Error::from("no money")) } else { Ok(()) } });
    /// assert!(pay(3).is_ok() && pay(3).is_err());
    /// assert_eq!(purse.get(), 2);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    #[inline]
    pub fn try_update<R, E: From<LockError>>(&self, f: impl FnOnce(&mut T) -> Result<R, E>) -> Result<R, E> {
        let mut guard = self.lock()?;
        match f(&mut guard) {
            Ok(result) => Ok(result),
            Err(error) => {
                guard.rollback();
                Err(error)
            }
        }
    }

    /// The process that holds the lock at this moment.
    ///
    /// ```
    /// let value = crossproc::Value::new(1)?;
    /// let guard = value.lock()?;
    /// assert_eq!(value.holder(), Some(std::process::id()));
    /// drop(guard);
    /// assert_eq!(value.holder(), None);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn holder(&self) -> Option<u32> {
        self.twin().lock().holder()
    }
}

impl<T: Element + Pod> Named<Value<T>> {
    /// Makes the value; see [`Named`] for the errors.
    ///
    /// ```
    /// assert_eq!(crossproc::Value::named("doc-value-create").create(4u32)?.get(), 4);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn create(self, value: T) -> Result<Value<T>, SegmentError> {
        self.create_object(1, |object| init(object, &value))
    }

    /// Opens the value, or makes it where there is none.
    ///
    /// ```
    /// assert_eq!(crossproc::Value::named("doc-value-either").open_or_create(4u32)?.get(), 4);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn open_or_create(self, value: T) -> Result<Value<T>, SegmentError> {
        self.open_or_create_object(|named| named.create_object(1, |object| init(object, &value)))
    }
}

fn init<T: Element>(object: std::ptr::NonNull<u8>, value: &T) {
    // SAFETY: called with fresh memory of `Value::<T>::shape`.
    unsafe { object.cast::<DoubleBuffer>().as_ref().init(std::ptr::from_ref(value).cast(), size_of::<T>()) };
}

/// Whether bytes that were filled are a T.
#[inline(always)]
fn is_valid<T: Element>(bytes: &MaybeUninit<T>) -> bool {
    // SAFETY: Bits has the layout of T, and any bytes are valid for it (`CheckedBitPattern`).
    T::is_valid_bit_pattern(unsafe { &*bytes.as_ptr().cast::<T::Bits>() })
}

#[cold]
fn overwritten() -> ! {
    panic!("the shared memory of a crossproc::Value was overwritten: its bytes are not a value of its type")
}
