//! The public handle of a value.

use super::copy::is_valid;
use super::guard::ValueGuard;
use crate::segment::{self, Handle, Kind, Named, Object, ObjectLayout, Spec, handle_type};
use crate::sync::{DoubleBuffer, LockFailure, Timeout};
use crate::{Element, LockError, LockTimeoutError, SegmentError, TryLockError};
use bytemuck::Pod;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::time::Duration;

/// A value in shared memory, protected by a lock that survives the death of its holder.
///
/// A guard works on a private copy, and dropping it commits the copy with a single store. If a holder is killed or
/// panics, the value stays exactly as it was before. Readers never wait for a holder of the lock.
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
/// If a process dies while it holds the lock, the next [`lock`](Value::lock) takes it at once, with the last committed
/// value, and [`recovered_from`](ValueGuard::recovered_from) returns the id of the dead process. The handles of a dead
/// process no longer count: the memory is freed with the last handle of the others.
///
/// If a thread leaks a guard ([`std::mem::forget`]) and ends, that counts as the death of a holder.
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
    /// Creates a value in anonymous shared memory.
    ///
    /// # Errors
    /// [`NoSpace`](SegmentError::NoSpace) if not enough memory is left, [`TooLarge`](SegmentError::TooLarge) if no
    /// memory could hold the value.
    ///
    /// ```
    /// assert_eq!(crossproc::Value::new(true)?.get(), true);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn new(value: T) -> Result<Self, SegmentError> {
        segment::create(1, |object: &Self| init(object.handle.object(), &value))
    }

    /// Returns a builder that creates or opens a value by name, so that other programs can use it, too. `T` is [`Pod`],
    /// since another program may write any bytes.
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

    /// Returns a builder that creates or opens a value at an offset of memory that the program owns.
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
    fn buffer(&self) -> &DoubleBuffer {
        // SAFETY: the object of a `Value<T>` is a double buffer with slots of the size of a T. The handle keeps it
        // mapped.
        unsafe { self.handle.object().cast().as_ref() }
    }

    /// Locks the value, and waits until the lock is free.
    ///
    /// # Errors
    /// - [`Deadlock`](LockError::Deadlock) if this thread holds the lock.
    /// - [`TooMany`](LockError::TooMany) if this thread holds about 2,000 locks.
    /// - [`Corrupt`](LockError::Corrupt) if the lock or the value was overwritten with bytes that this library does not
    ///   write.
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

    /// Locks the value if the lock is free.
    ///
    /// # Errors
    /// [`WouldBlock`](TryLockError::WouldBlock), or the errors of [`lock`](Value::lock).
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

    /// Locks the value, and waits for the lock for at most `duration`, by the monotonic clock. If that is zero, it
    /// tries once.
    ///
    /// # Errors
    /// [`Timeout`](LockTimeoutError::Timeout), or the errors of [`lock`](Value::lock).
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
    fn begin(&self, timeout: Timeout) -> Result<ValueGuard<'_, T>, LockFailure> {
        // SAFETY: the slots of this value's buffer have the size of a T.
        unsafe { ValueGuard::begin(self.buffer(), timeout) }
    }

    /// Returns a copy of the last committed value. It is consistent, and no holder of the lock delays it.
    ///
    /// # Panics
    /// If the memory does not hold a valid `T`. Only a process of this program that overwrites memory that it does not
    /// own can cause that. Named values are [`Pod`], so any bytes that another program writes are valid.
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
        // SAFETY: `copy` and the slots of this value's buffer have the size of a T.
        if !unsafe { self.buffer().snapshot(copy.as_mut_ptr().cast(), size_of::<T>()) } {
            return self.get_among_writers();
        }
        if !is_valid(&copy) {
            overwritten();
        }
        // SAFETY: the snapshot filled the copy, and it is a valid T.
        unsafe { copy.assume_init() }
    }

    /// The slow path of `get`. It has a copy of its own, so that the fast path keeps its copy in registers.
    #[cold]
    #[inline(never)]
    fn get_among_writers(&self) -> T {
        let mut copy = MaybeUninit::<T>::uninit();
        // SAFETY: `copy` and the slots of this value's buffer have the size of a T.
        unsafe { self.buffer().snapshot_among_writers(copy.as_mut_ptr().cast(), size_of::<T>()) };
        if !is_valid(&copy) {
            overwritten();
        }
        // SAFETY: the snapshot filled the copy, and it is a valid T.
        unsafe { copy.assume_init() }
    }

    /// Replaces the value, under the lock.
    ///
    /// # Errors
    /// The errors of [`lock`](Value::lock).
    ///
    /// ```
    /// let value = crossproc::Value::new('a')?;
    /// value.set('b')?;
    /// assert_eq!(value.get(), 'b');
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    #[inline]
    pub fn set(&self, value: T) -> Result<(), LockError> {
        let buffer = self.buffer();
        let transaction = buffer.begin(Timeout::Never)?;
        // SAFETY: the slots have the size of a T, and every byte of a T is initialised (`NoUninit`).
        unsafe { buffer.commit(&transaction, (&raw const value).cast(), size_of::<T>()) };
        Ok(())
    }

    /// Calls `f` with the value under the lock, commits, and returns the result of `f`. A panic in `f` rolls the
    /// changes back.
    ///
    /// # Errors
    /// The errors of [`lock`](Value::lock).
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

    /// Calls `f` with the value under the lock, and commits if `f` returns `Ok`. An `Err` or a panic rolls the changes
    /// back.
    ///
    /// # Errors
    /// The error of `f`, or the errors of [`lock`](Value::lock).
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

    /// Returns the id of the process that holds the lock at this moment.
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
        self.buffer().lock().holder()
    }
}

impl<T: Element + Pod> Named<Value<T>> {
    /// Creates the value. See [`Named`] for the errors.
    ///
    /// ```
    /// assert_eq!(crossproc::Value::named("doc-value-create").create(4u32)?.get(), 4);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn create(self, value: T) -> Result<Value<T>, SegmentError> {
        self.create_object(1, |object| init(object, &value))
    }

    /// Opens the value, or creates it if it does not exist.
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
    // SAFETY: the object is new and is a double buffer with slots of the size of a T. Every byte of a T is initialised.
    unsafe { object.cast::<DoubleBuffer>().as_ref().init(std::ptr::from_ref(value).cast(), size_of::<T>()) };
}

#[cold]
fn overwritten() -> ! {
    panic!("the shared memory of a crossproc::Value was overwritten: its bytes are not a value of its type")
}
