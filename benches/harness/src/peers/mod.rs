//! The same small job under every lock: add one to a number.

mod ours;
mod pthread;
mod raw_sync;
mod threads;
mod words;

pub use ours::{LockAndCell, ValueGuard};
pub use pthread::Pthread;
pub use raw_sync::RawSync;
pub use threads::{ParkingLot, Std};
pub use words::{FetchAdd, FutexWord, SpinWord};

/// A number behind a lock. Where the lock works between processes, forked children share it.
pub trait Counter {
    /// Lock, add one, unlock.
    fn bump(&self);
    /// The number, when nobody is at it.
    fn count(&self) -> u64;
}

/// A number that the lock beside it protects.
#[derive(Default)]
pub struct Guarded(std::cell::UnsafeCell<u64>);

// SAFETY: `bump` is called under the lock, `get` when nobody is at it.
unsafe impl Sync for Guarded {}

impl Guarded {
    /// # Safety
    /// The caller holds the lock.
    #[inline(always)]
    pub unsafe fn bump(&self) {
        // SAFETY: exclusive by the caller's promise. Volatile: in memory each time, as with the locks of others.
        unsafe { self.0.get().write_volatile(self.0.get().read_volatile() + 1) };
    }

    pub fn get(&self) -> u64 {
        // SAFETY: a read of an initialised word; volatile, for another process may have written it.
        unsafe { self.0.get().read_volatile() }
    }
}
