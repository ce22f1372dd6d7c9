//! `Semaphore`, `BoundedSemaphore`: so many at once. The protocol is `sync::permits`'.
#![allow(unsafe_code)] // the state lies in shared memory

use crate::segment::{self, Handle, Kind, Named, Object, ObjectLayout, Spec, handle_type};
use crate::sync::semaphore::{HeldPermit, PermitTable, ReleaseFailure};
use crate::sync::{LockFailure, Timeout, layout};
use crate::{AcquireError, AcquireTimeoutError, ReleaseError, SegmentError, TryAcquireError};
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::time::Duration;

/// More permits than this are not held through guards at once.
const MOST_TOKENS: usize = 1024;
/// For a semaphore that begins with few permits, or none, and gets more.
const LEAST_TOKENS: usize = 64;

/// A permit of a [`Semaphore`] or [`BoundedSemaphore`]; dropped, it is available again.
///
/// It belongs to its thread: when that ends, killed or not, its permits come back, also those of leaked guards.
///
/// ```
/// let semaphore = crossproc::Semaphore::new(1)?;
/// let permit = semaphore.acquire()?;
/// assert_eq!(semaphore.available(), 0);
/// drop(permit);
/// assert_eq!(semaphore.available(), 1);
/// # Ok::<(), crossproc::Error>(())
/// ```
#[must_use = "dropped at once, the permit is available again"]
pub struct Permit<'a> {
    table: PermitTable<'a>,
    holding: HeldPermit<'a>,
    thread: PhantomData<*const ()>,
}

// SAFETY: a shared permit gives nothing at all.
unsafe impl Sync for Permit<'_> {}

impl Permit<'_> {
    /// Takes the permit from this thread: it stays in use, whoever dies, until somebody calls `release`.
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
        permit.table.forget(&permit.holding);
    }
}

impl Drop for Permit<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.table.release(&self.holding);
    }
}

impl std::fmt::Debug for Permit<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Permit")
    }
}

impl From<LockFailure> for AcquireError {
    fn from(refusal: LockFailure) -> Self {
        match refusal {
            LockFailure::TooMany => AcquireError::TooMany,
            _ => AcquireError::Corrupt,
        }
    }
}

impl From<LockFailure> for TryAcquireError {
    fn from(refusal: LockFailure) -> Self {
        match refusal {
            LockFailure::WouldBlock => TryAcquireError::WouldBlock,
            other => TryAcquireError::Acquire(other.into()),
        }
    }
}

impl From<LockFailure> for AcquireTimeoutError {
    fn from(refusal: LockFailure) -> Self {
        match refusal {
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
            tokens: usize,
        }

        handle_type!($name);

        impl Object for $name {
            const IN_PLACE: bool = false;

            fn spec(tokens: usize) -> Result<Spec, SegmentError> {
                Spec::of::<()>(Kind::$name, tokens)
            }

            fn layout(tokens: usize) -> Option<ObjectLayout> {
                (tokens <= MOST_TOKENS).then_some(ObjectLayout { locks: tokens, bytes: layout::bytes_with_permits(tokens) })
            }

            fn of(handle: Handle, tokens: usize) -> Self {
                $name { handle, tokens }
            }

            fn handle(&self) -> &Handle {
                &self.handle
            }

            fn count(&self) -> usize {
                self.tokens
            }
        }

        impl $name {
            /// With so many permits.
            ///
            /// # Errors
            /// [`NoSpace`](SegmentError::NoSpace).
            ///
            /// ```
            #[doc = concat!("assert_eq!(crossproc::", stringify!($name), "::new(3)?.available(), 3);")]
            /// # Ok::<(), crossproc::Error>(())
            /// ```
            pub fn new(permits: usize) -> Result<Self, SegmentError> {
                let bound = $bound(permits) as u64;
                segment::create(tokens_for(permits), |made: &Self| made.table().init(permits as u64, bound))
            }

            /// One that other programs find by name.
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

            /// One at an offset of memory that the program owns.
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
                // SAFETY: by `shape` the object has room for that many tokens, and lives as long as the handle.
                let (permits, tokens) = unsafe { layout::permits(self.handle.object(), self.tokens) };
                PermitTable { permits, slots: tokens }
            }

            #[inline(always)]
            fn permit(&self, patience: Timeout) -> Result<Permit<'_>, LockFailure> {
                let table = self.table();
                let holding = table.acquire(patience)?;
                Ok(Permit { table, holding, thread: PhantomData })
            }

            /// Waits for a permit.
            ///
            /// # Errors
            /// [`TooMany`](AcquireError::TooMany), [`Corrupt`](AcquireError::Corrupt).
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

            /// Takes a permit if one is available.
            ///
            /// # Errors
            /// [`WouldBlock`](TryAcquireError::WouldBlock), or as [`acquire`](Self::acquire).
            ///
            /// ```
            #[doc = concat!("assert!(crossproc::", stringify!($name), "::new(1)?.try_acquire().is_ok());")]
            /// # Ok::<(), crossproc::Error>(())
            /// ```
            #[inline]
            pub fn try_acquire(&self) -> Result<Permit<'_>, TryAcquireError> {
                Ok(self.permit(Timeout::Now)?)
            }

            /// Waits for a permit for that long, by the monotonic clock; zero means try.
            ///
            /// # Errors
            /// [`Timeout`](AcquireTimeoutError::Timeout), or as [`acquire`](Self::acquire).
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

            /// How many could be acquired at this moment: a permit of a killed process is among them, one in a guard or
            /// forgotten is not. While others acquire and release, several permits are not all counted at the same instant.
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
            /// Makes it, with so many permits; see [`Named`] for the errors.
            ///
            /// ```
            #[doc = concat!("let made = crossproc::", stringify!($name), "::named(\"", $doc_name, "-create\").create(1);")]
            /// assert!(made.is_ok());
            /// # Ok::<(), crossproc::Error>(())
            /// ```
            pub fn create(self, permits: usize) -> Result<$name, SegmentError> {
                self.make(permits)
            }

            /// Opens it, or makes it where there is none.
            ///
            /// ```
            #[doc = concat!("let name = \"", $doc_name, "-either\";")]
            #[doc = concat!("let made = crossproc::", stringify!($name), "::named(name).open_or_create(1)?;")]
            #[doc = concat!("assert!(crossproc::", stringify!($name), "::named(name).open().is_ok());")]
            /// # drop(made);
            /// # Ok::<(), crossproc::Error>(())
            /// ```
            pub fn open_or_create(self, permits: usize) -> Result<$name, SegmentError> {
                self.open_or_create_object(|named| named.make(permits))
            }

            fn make(&self, permits: usize) -> Result<$name, SegmentError> {
                let tokens = tokens_for(permits);
                self.create_object(tokens, |object| init(object, tokens, permits, $bound(permits)))
            }
        }
    };
}

fn init(object: NonNull<u8>, tokens: usize, permits: usize, bound: usize) {
    // SAFETY: a new object, with room for those.
    let (state, tokens) = unsafe { layout::permits(object, tokens) };
    PermitTable { permits: state, slots: tokens }.init(permits as u64, bound as u64);
}

fn tokens_for(permits: usize) -> usize {
    permits.clamp(LEAST_TOKENS, MOST_TOKENS)
}

semaphore! {
    Semaphore, |_| usize::MAX, "doc-semaphore",
    /// So many at once, in whatever process: connections, licences, jobs that need much memory.
    ///
    /// ```
    /// use crossproc::{Process, Semaphore};
    /// fn work(doors: Semaphore) -> crossproc::Result<usize> {
    ///     let _permit = doors.acquire()?;
    ///     Ok(doors.available())
    /// }
    /// let doors = Semaphore::new(1)?;
    /// let children = [Process::spawn(work, (doors.clone(),))?, Process::spawn(work, (doors.clone(),))?];
    /// for child in children {
    ///     assert_eq!(child.join()??, 0, "each was alone inside");
    /// }
    /// assert_eq!(doors.available(), 1);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    ///
    /// # When a process dies
    /// The permits that its threads hold through guards come back, also of leaked guards: at once where somebody waits (with
    /// more than 120 permits in use, within half a second). What does not come back: a permit that was
    /// [forgotten](Permit::forget), until somebody calls [`release`](Semaphore::release).
}

impl Semaphore {
    /// Adds a permit: one that was forgotten, or a new one.
    ///
    /// # Errors
    /// [`OverRelease`](ReleaseError::OverRelease) when no counter could hold more; [`Corrupt`](ReleaseError::Corrupt).
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
    /// A [`Semaphore`] that never has more permits than it began with.
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
    /// As with a [`Semaphore`].
}

impl BoundedSemaphore {
    /// Adds a permit that was forgotten. Permits that guards hold need no release: they come back by themselves.
    ///
    /// # Errors
    /// [`OverRelease`](ReleaseError::OverRelease) when none was forgotten: nothing changes.
    /// [`Corrupt`](ReleaseError::Corrupt).
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
    fn from(excess: ReleaseFailure) -> Self {
        match excess {
            ReleaseFailure::OverRelease => ReleaseError::OverRelease,
            ReleaseFailure::Corrupt => ReleaseError::Corrupt,
        }
    }
}
