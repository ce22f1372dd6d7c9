//! `Semaphore` and `BoundedSemaphore`. The protocol is that of `sync::semaphore`.
#![allow(unsafe_code)] // the state lies in shared memory

use crate::segment::{self, Handle, Kind, Named, Object, ObjectLayout, Spec, handle_type};
use crate::sync::semaphore::{HeldPermit, PermitTable, ReleaseFailure};
use crate::sync::{LockFailure, Timeout, layout};
use crate::{AcquireError, AcquireTimeoutError, ReleaseError, SegmentError, TryAcquireError};
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::time::Duration;

/// The largest number of permits of one semaphore that are held through guards at the same time.
const MAX_SLOTS: usize = 1024;
/// The smallest number of slots, for a semaphore that begins with few permits and gets more.
const MIN_SLOTS: usize = 64;

/// A permit of a [`Semaphore`] or [`BoundedSemaphore`]. Dropping it makes it available again.
///
/// A permit belongs to its thread. When the thread ends, killed or not, its permits become available, even leaked ones.
///
/// ```
/// let semaphore = crossproc::Semaphore::new(1)?;
/// let permit = semaphore.acquire()?;
/// assert_eq!(semaphore.available(), 0);
/// drop(permit);
/// assert_eq!(semaphore.available(), 1);
/// # Ok::<(), crossproc::Error>(())
/// ```
#[must_use = "a permit that is dropped at once is available again"]
pub struct Permit<'a> {
    table: PermitTable<'a>,
    held: HeldPermit<'a>,
    thread: PhantomData<*const ()>,
}

// SAFETY: a shared permit gives access to nothing. Releasing it, which belongs to its thread, needs the permit itself.
unsafe impl Sync for Permit<'_> {}

impl Permit<'_> {
    /// Drops the guard without releasing the permit. The permit stays in use, even if this process dies, until any
    /// process calls `release`.
    ///
    /// ```
    /// let semaphore = crossproc::Semaphore::new(1)?;
    /// semaphore.acquire()?.forget();
    /// assert_eq!(semaphore.available(), 0);
    /// semaphore.release()?;
    /// assert_eq!(semaphore.available(), 1);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn forget(self) {
        let permit = std::mem::ManuallyDrop::new(self);
        permit.table.forget(&permit.held);
    }
}

impl Drop for Permit<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.table.release(&self.held);
    }
}

impl std::fmt::Debug for Permit<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Permit")
    }
}

impl From<LockFailure> for AcquireError {
    fn from(failure: LockFailure) -> Self {
        match failure {
            LockFailure::TooMany => AcquireError::TooMany,
            _ => AcquireError::Corrupt,
        }
    }
}

impl From<LockFailure> for TryAcquireError {
    fn from(failure: LockFailure) -> Self {
        match failure {
            LockFailure::WouldBlock => TryAcquireError::WouldBlock,
            other => TryAcquireError::Acquire(other.into()),
        }
    }
}

impl From<LockFailure> for AcquireTimeoutError {
    fn from(failure: LockFailure) -> Self {
        match failure {
            LockFailure::Timeout => AcquireTimeoutError::Timeout,
            other => AcquireTimeoutError::Acquire(other.into()),
        }
    }
}

macro_rules! semaphore {
    ($name:ident, $bound:expr, $doc_name:literal, $(#[$doc:meta])*) => {
        $(#[$doc])*
        pub struct $name {
            handle: Handle,
            slots: usize,
        }

        handle_type!($name);

        impl Object for $name {
            const IN_PLACE: bool = false;

            fn spec(slots: usize) -> Result<Spec, SegmentError> {
                Spec::of::<()>(Kind::$name, slots)
            }

            fn layout(slots: usize) -> Option<ObjectLayout> {
                (slots <= MAX_SLOTS).then_some(ObjectLayout { locks: slots, bytes: layout::bytes_with_permits(slots) })
            }

            fn of(handle: Handle, slots: usize) -> Self {
                $name { handle, slots }
            }

            fn handle(&self) -> &Handle {
                &self.handle
            }

            fn count(&self) -> usize {
                self.slots
            }
        }

        impl $name {
            /// Creates a semaphore with this number of permits.
            ///
            /// # Errors
            /// [`NoSpace`](SegmentError::NoSpace) if not enough memory is left.
            ///
            /// ```
            #[doc = concat!("assert_eq!(crossproc::", stringify!($name), "::new(3)?.available(), 3);")]
            /// # Ok::<(), crossproc::Error>(())
            /// ```
            pub fn new(permits: usize) -> Result<Self, SegmentError> {
                let bound = $bound(permits) as u64;
                segment::create(slots_for(permits), |made: &Self| made.table().init(permits as u64, bound))
            }

            /// Returns a builder that creates or opens a semaphore by name, so that other programs can use it, too.
            ///
            /// ```
            #[doc = concat!("use crossproc::", stringify!($name), ";")]
            #[doc = concat!("let ours = ", stringify!($name), "::named(\"", $doc_name, "\").create(2)?;")]
            #[doc = concat!("let theirs = ", stringify!($name), "::named(\"", $doc_name, "\").open()?;")]
            /// let permit = theirs.acquire()?;
            /// assert_eq!(ours.available(), 1);
            /// # drop(permit);
            /// # Ok::<(), crossproc::Error>(())
            /// ```
            pub fn named(name: &str) -> Named<Self> {
                Named::by(name)
            }

            /// Returns a builder that creates or opens a semaphore at an offset of memory that the program owns.
            ///
            /// ```
            /// let memory = crossproc::Within::new(shared_memory::ShmemConf::new().size(65536).create().unwrap());
            #[doc = concat!("let semaphore = crossproc::", stringify!($name), "::within(&memory, 64).create(1)?;")]
            /// assert_eq!(semaphore.available(), 1);
            /// # Ok::<(), crossproc::Error>(())
            /// ```
            #[cfg(feature = "shared_memory")]
            pub fn within(memory: &crate::Within, offset: usize) -> Named<Self> {
                memory.at(offset)
            }

            #[inline(always)]
            fn table(&self) -> PermitTable<'_> {
                // SAFETY: the object has the layout of a semaphore with this number of slots. The handle keeps it
                // mapped.
                let (permits, slots) = unsafe { layout::permits(self.handle.object(), self.slots) };
                PermitTable { permits, slots }
            }

            #[inline(always)]
            fn permit(&self, timeout: Timeout) -> Result<Permit<'_>, LockFailure> {
                let table = self.table();
                let held = table.acquire(timeout)?;
                Ok(Permit { table, held, thread: PhantomData })
            }

            /// Acquires a permit, and waits until one is available.
            ///
            /// # Errors
            /// - [`TooMany`](AcquireError::TooMany) if 1,024 permits of this semaphore are held through guards, or this
            ///   thread holds about 2,000 locks and permits.
            /// - [`Corrupt`](AcquireError::Corrupt) if the semaphore was overwritten.
            ///
            /// ```
            #[doc = concat!("let semaphore = crossproc::", stringify!($name), "::new(2)?;")]
            /// let (one, two) = (semaphore.acquire()?, semaphore.acquire()?);
            /// assert!(semaphore.try_acquire().is_err());
            /// # drop((one, two));
            /// # Ok::<(), crossproc::Error>(())
            /// ```
            #[inline(always)]
            pub fn acquire(&self) -> Result<Permit<'_>, AcquireError> {
                Ok(self.permit(Timeout::Never)?)
            }

            /// Acquires a permit if one is available.
            ///
            /// # Errors
            /// [`WouldBlock`](TryAcquireError::WouldBlock), or the errors of [`acquire`](Self::acquire).
            ///
            /// ```
            #[doc = concat!("assert!(crossproc::", stringify!($name), "::new(1)?.try_acquire().is_ok());")]
            /// # Ok::<(), crossproc::Error>(())
            /// ```
            #[inline]
            pub fn try_acquire(&self) -> Result<Permit<'_>, TryAcquireError> {
                Ok(self.permit(Timeout::Now)?)
            }

            /// Acquires a permit, and waits for one for at most `duration`, by the monotonic clock. If that is zero, it
            /// tries once.
            ///
            /// # Errors
            /// [`Timeout`](AcquireTimeoutError::Timeout), or the errors of [`acquire`](Self::acquire).
            ///
            /// ```
            #[doc = concat!("let semaphore = crossproc::", stringify!($name), "::new(0)?;")]
            /// let error = semaphore.acquire_timeout(std::time::Duration::from_millis(5)).unwrap_err();
            /// assert!(error.is_timeout());
            /// # Ok::<(), crossproc::Error>(())
            /// ```
            pub fn acquire_timeout(&self, duration: Duration) -> Result<Permit<'_>, AcquireTimeoutError> {
                Ok(self.permit(Timeout::at_most(duration))?)
            }

            /// Returns the number of permits that could be acquired at this moment.
            ///
            /// Permits of killed processes count as available, those in guards and forgotten ones do not. The permits
            /// are not counted at a single instant, so the number may be inexact while others acquire and release.
            ///
            /// ```
            #[doc = concat!("assert_eq!(crossproc::", stringify!($name), "::new(2)?.available(), 2);")]
            /// # Ok::<(), crossproc::Error>(())
            /// ```
            pub fn available(&self) -> usize {
                usize::try_from(self.table().available()).unwrap_or(usize::MAX)
            }
        }

        impl Named<$name> {
            /// Creates the semaphore with this number of permits. See [`Named`] for the errors.
            ///
            /// ```
            #[doc = concat!("let made = crossproc::", stringify!($name), "::named(\"", $doc_name, "-create\").create(1);")]
            /// assert!(made.is_ok());
            /// # Ok::<(), crossproc::Error>(())
            /// ```
            pub fn create(self, permits: usize) -> Result<$name, SegmentError> {
                self.create_with(permits)
            }

            /// Opens the semaphore, or creates it with this number of permits if it does not exist.
            ///
            /// ```
            #[doc = concat!("let name = \"", $doc_name, "-either\";")]
            #[doc = concat!("let made = crossproc::", stringify!($name), "::named(name).open_or_create(1)?;")]
            #[doc = concat!("assert!(crossproc::", stringify!($name), "::named(name).open().is_ok());")]
            /// # drop(made);
            /// # Ok::<(), crossproc::Error>(())
            /// ```
            pub fn open_or_create(self, permits: usize) -> Result<$name, SegmentError> {
                self.open_or_create_object(|named| named.create_with(permits))
            }

            fn create_with(&self, permits: usize) -> Result<$name, SegmentError> {
                let slots = slots_for(permits);
                self.create_object(slots, |object| init(object, slots, permits, $bound(permits)))
            }
        }
    };
}

fn init(object: NonNull<u8>, slots: usize, permits: usize, bound: usize) {
    // SAFETY: the new object has the layout of a semaphore with this number of slots.
    let (state, slots) = unsafe { layout::permits(object, slots) };
    PermitTable { permits: state, slots }.init(permits as u64, bound as u64);
}

fn slots_for(permits: usize) -> usize {
    permits.clamp(MIN_SLOTS, MAX_SLOTS)
}

semaphore! {
    Semaphore, |_| usize::MAX, "doc-semaphore",
    /// A counting semaphore between processes: it limits how many threads use something at the same time, such as
    /// connections, licences, or memory.
    ///
    /// ```
    /// use crossproc::{Process, Semaphore};
    /// fn work(limit: Semaphore) -> crossproc::Result<usize> {
    ///     let _permit = limit.acquire()?;
    ///     Ok(limit.available())
    /// }
    /// let limit = Semaphore::new(1)?;
    /// let children = [Process::spawn(work, (limit.clone(),))?, Process::spawn(work, (limit.clone(),))?];
    /// for child in children {
    ///     assert_eq!(child.join()??, 0, "each was alone inside");
    /// }
    /// assert_eq!(limit.available(), 1);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    ///
    /// # When a process dies
    /// The permits that a dead process held through guards, leaked ones included, become available again. A waiting
    /// thread gets such a permit at once, or within half a second if more than 120 permits are in use. A permit that
    /// was [forgotten](Permit::forget) stays in use until a call of [`release`](Semaphore::release).
}

impl Semaphore {
    /// Adds a permit: a forgotten one, or a new one.
    ///
    /// # Errors
    /// [`OverRelease`](ReleaseError::OverRelease) if the counter cannot hold more permits,
    /// [`Corrupt`](ReleaseError::Corrupt) if the semaphore was overwritten.
    ///
    /// ```
    /// let semaphore = crossproc::Semaphore::new(0)?;
    /// semaphore.release()?;
    /// assert_eq!(semaphore.available(), 1);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn release(&self) -> Result<(), ReleaseError> {
        self.table().add().map_err(Into::into)
    }
}

semaphore! {
    BoundedSemaphore, |permits| permits, "doc-bounded",
    /// A [`Semaphore`] that never has more permits than at its beginning.
    ///
    /// ```
    /// use crossproc::{BoundedSemaphore, ReleaseError};
    /// let pool = BoundedSemaphore::new(2)?;
    /// pool.acquire()?.forget();
    /// pool.release()?;
    /// assert_eq!(pool.release(), Err(ReleaseError::OverRelease));
    /// assert_eq!(pool.available(), 2);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    ///
    /// # When a process dies
    /// The rules of [`Semaphore`] apply.
}

impl BoundedSemaphore {
    /// Releases a forgotten permit. A permit in a guard needs no such call: dropping the guard releases it.
    ///
    /// # Errors
    /// [`OverRelease`](ReleaseError::OverRelease) if no permit is forgotten; nothing changes then.
    /// [`Corrupt`](ReleaseError::Corrupt) if the semaphore was overwritten.
    ///
    /// ```
    /// let semaphore = crossproc::BoundedSemaphore::new(1)?;
    /// semaphore.acquire()?.forget();
    /// assert_eq!(semaphore.release(), Ok(()));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn release(&self) -> Result<(), ReleaseError> {
        self.table().add().map_err(Into::into)
    }
}

impl From<ReleaseFailure> for ReleaseError {
    fn from(failure: ReleaseFailure) -> Self {
        match failure {
            ReleaseFailure::OverRelease => ReleaseError::OverRelease,
            ReleaseFailure::Corrupt => ReleaseError::Corrupt,
        }
    }
}
