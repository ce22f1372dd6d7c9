//! What is found once.
#![allow(unsafe_code)] // pointers to what is never freed

/// A value that is found once and kept: `OnceLock` without a lock. A thread that a fork leaves behind in the middle of the
/// search would lock the child's copy of a lock for ever; here the child searches again, and so may two threads at once.
pub(crate) struct RaceOnce<T>(std::sync::atomic::AtomicPtr<T>);

impl<T: Send + Sync + 'static> RaceOnce<T> {
    pub(crate) const fn new() -> Self {
        RaceOnce(std::sync::atomic::AtomicPtr::new(std::ptr::null_mut()))
    }

    pub(crate) fn get(&self) -> Option<&'static T> {
        // SAFETY: null, or from `keep`, which leaks what it stores.
        unsafe { self.0.load(std::sync::atomic::Ordering::Acquire).as_ref() }
    }

    /// Keeps the value, unless another thread was faster; gives the one that is kept.
    pub(crate) fn keep(&self, value: T) -> &'static T {
        use std::sync::atomic::Ordering::{AcqRel, Acquire};
        let new = Box::into_raw(Box::new(value));
        match self.0.compare_exchange(std::ptr::null_mut(), new, AcqRel, Acquire) {
            // SAFETY: just leaked, and never freed.
            Ok(_) => unsafe { &*new },
            Err(kept) => {
                // SAFETY: ours alone; and what is kept is never freed.
                unsafe {
                    drop(Box::from_raw(new));
                    &*kept
                }
            }
        }
    }

    /// Keeps another value from here on. What was kept stays where it is, for others may look at it.
    pub(crate) fn replace(&self, value: T) -> &'static T {
        let new = Box::into_raw(Box::new(value));
        self.0.store(new, std::sync::atomic::Ordering::Release);
        // SAFETY: just leaked, and never freed.
        unsafe { &*new }
    }

    pub(crate) fn get_or_keep(&self, find: impl FnOnce() -> T) -> &'static T {
        self.get().unwrap_or_else(|| self.keep(find()))
    }
}

/// A guard on its way through a fork: put here by the half before, taken by the halves behind.
pub(crate) struct ForkHandoff<T>(std::cell::UnsafeCell<Option<T>>);

// SAFETY: the only user is the thread that forks, while it holds the lock that the guard stands for.
unsafe impl<T> Sync for ForkHandoff<T> {}

impl<T> ForkHandoff<T> {
    pub(crate) const fn new() -> Self {
        ForkHandoff(std::cell::UnsafeCell::new(None))
    }

    /// Before the fork.
    ///
    /// # Safety
    /// The caller holds the lock that `guard` stands for, and everybody who uses this passage does.
    pub(crate) unsafe fn put(&self, guard: T) {
        // SAFETY: by the caller's promise nobody else is here.
        unsafe { *self.0.get() = Some(guard) };
    }

    /// Behind it, in parent or child.
    ///
    /// # Safety
    /// As for [`put`](Passage::put): the lock is the one that the guard in here holds, since the fork.
    pub(crate) unsafe fn take(&self) -> Option<T> {
        // SAFETY: by the caller's promise nobody else is here.
        unsafe { (*self.0.get()).take() }
    }
}
