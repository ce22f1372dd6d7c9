//! The errors of locking.

use serde::{Deserialize, Serialize};
use thiserror::Error as ThisError;

/// An error returned from the `lock` methods: the lock was not taken.
///
/// ```
/// let value = crossproc::Value::new(1)?;
/// let guard = value.lock()?;
/// assert_eq!(value.lock().unwrap_err(), crossproc::LockError::Deadlock);
/// # drop(guard);
/// # Ok::<(), crossproc::Error>(())
/// ```
#[derive(ThisError, Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum LockError {
    /// This thread holds the lock already.
    #[error("deadlock: this thread holds the lock already")]
    Deadlock,
    /// The lock, or the value that it protects, was overwritten with bytes that this library does not write.
    #[error("the lock or the value under it is corrupt")]
    Corrupt,
    /// A limit is reached: this thread holds about 2,000 locks, as many as the kernel would free at its death; or a
    /// limit of the object, which the method's documentation names.
    #[error("too many: this thread holds about 2,000 locks, or the object's limit is reached")]
    TooMany,
    /// Process `pid` died while it held the lock, and what the lock protects may be half-written. `lock_or_repair`
    /// takes the lock and repairs it.
    #[error("process {pid} died holding the lock: repair what it protects with lock_or_repair")]
    OwnerDied {
        /// The process that died.
        pid: u32,
    },
}

/// An error returned from the `try_lock` methods: the lock was not taken.
///
/// ```
/// use crossproc::{LockError, TryLockError};
/// assert_eq!(TryLockError::from(LockError::TooMany).to_string(), LockError::TooMany.to_string());
/// # Ok::<(), crossproc::Error>(())
/// ```
#[derive(ThisError, Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum TryLockError {
    /// Another thread or process holds the lock.
    #[error("another thread or process holds the lock")]
    WouldBlock,
    /// Waiting for the lock would fail, too.
    #[error(transparent)]
    Lock(#[from] LockError),
}

/// An error returned from the `lock_timeout` methods: the lock was not taken.
///
/// ```
/// assert_eq!(crossproc::LockTimeoutError::Timeout.to_string(), "timed out waiting for the lock");
/// # Ok::<(), crossproc::Error>(())
/// ```
#[derive(ThisError, Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum LockTimeoutError {
    /// The time ran out.
    #[error("timed out waiting for the lock")]
    Timeout,
    /// Waiting longer would fail, too.
    #[error(transparent)]
    Lock(#[from] LockError),
}

impl LockTimeoutError {
    /// Returns whether the time ran out.
    ///
    /// ```
    /// assert!(crossproc::LockTimeoutError::Timeout.is_timeout());
    /// ```
    pub fn is_timeout(&self) -> bool {
        matches!(self, LockTimeoutError::Timeout)
    }
}
