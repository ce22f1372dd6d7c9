//! Mutexes whose poison is ignored: the state under them is consistent whenever the lock is released.

use std::sync::{Mutex, MutexGuard, PoisonError};

pub(super) fn locked<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
