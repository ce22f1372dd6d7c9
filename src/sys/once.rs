//! Values that are computed once, without a lock.
#![allow(unsafe_code)] // pointers to what is never freed

/// A value that is computed once and kept: `OnceLock` without a lock. If a thread were computing during a fork, the
/// child's copy of a lock would stay locked forever. Here the child computes again, and so may two threads at the same
/// time.
pub(crate) struct RaceOnce<T>(std::sync::atomic::AtomicPtr<T>);

impl<T: Send + Sync + 'static> RaceOnce<T> {
    pub(crate) const fn new() -> Self {
        RaceOnce(std::sync::atomic::AtomicPtr::new(std::ptr::null_mut()))
    }

    pub(crate) fn get(&self) -> Option<&'static T> {
        // SAFETY: null, or from `keep`, which leaks what it stores.
        unsafe { self.0.load(std::sync::atomic::Ordering::Acquire).as_ref() }
    }

    /// Keeps the value, unless another thread was faster. Returns the one that is kept.
    pub(crate) fn keep(&self, value: T) -> &'static T {
        use std::sync::atomic::Ordering::{AcqRel, Acquire};
        let new = Box::into_raw(Box::new(value));
        match self.0.compare_exchange(std::ptr::null_mut(), new, AcqRel, Acquire) {
            // SAFETY: just leaked, and never freed.
            Ok(_) => unsafe { &*new },
            Err(kept) => {
                // SAFETY: `new` is this thread's alone; what is kept is never freed.
                unsafe {
                    drop(Box::from_raw(new));
                    &*kept
                }
            }
        }
    }

    /// Replaces the value. The old one stays in memory, since other threads may use it.
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

/// A guard on its way through a fork: stored by the hook before it, taken by the hooks after it.
pub(crate) struct ForkHandoff<T>(std::cell::UnsafeCell<Option<T>>);

// SAFETY: the only user is the thread that forks, while it holds the lock of the guard.
unsafe impl<T> Sync for ForkHandoff<T> {}

impl<T> ForkHandoff<T> {
    pub(crate) const fn new() -> Self {
        ForkHandoff(std::cell::UnsafeCell::new(None))
    }

    /// Before the fork.
    ///
    /// # Safety
    /// The caller holds the lock that `guard` stands for, and so does every user of this handoff.
    pub(crate) unsafe fn put(&self, guard: T) {
        // SAFETY: the caller holds the lock, so no other thread is here.
        unsafe { *self.0.get() = Some(guard) };
    }

    /// After the fork, in parent or child.
    ///
    /// # Safety
    /// The lock is the one of the guard in here, held since the fork.
    pub(crate) unsafe fn take(&self) -> Option<T> {
        // SAFETY: the caller holds the lock, so no other thread is here.
        unsafe { (*self.0.get()).take() }
    }
}
