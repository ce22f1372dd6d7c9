//! The errors of semaphores, recursive locks and barriers.

use serde::{Deserialize, Serialize};
use thiserror::Error as ThisError;

/// An error returned from the `acquire` methods of semaphores: no permit was acquired.
///
/// ```
/// assert_eq!(crossproc::AcquireError::Corrupt.to_string(), "the semaphore is corrupt");
/// ```
#[derive(ThisError, Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum AcquireError {
    /// As many permits of this semaphore as possible (1,024) are held through guards; or this thread holds about 2,000
    /// locks and permits.
    #[error("too many permits of the semaphore, or locks of this thread, are held at once")]
    TooMany,
    /// The semaphore was overwritten with bytes that this library does not write.
    #[error("the semaphore is corrupt")]
    Corrupt,
}

/// An error returned from the `try_acquire` methods of semaphores: no permit was acquired.
///
/// ```
/// let semaphore = crossproc::Semaphore::new(0)?;
/// assert_eq!(semaphore.try_acquire().unwrap_err(), crossproc::TryAcquireError::WouldBlock);
/// # Ok::<(), crossproc::Error>(())
/// ```
#[derive(ThisError, Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum TryAcquireError {
    /// No permit is available.
    #[error("no permit is available")]
    WouldBlock,
    /// Waiting for a permit would fail, too.
    #[error(transparent)]
    Acquire(#[from] AcquireError),
}

/// An error returned from the `acquire_timeout` methods of semaphores: no permit was acquired.
///
/// ```
/// let semaphore = crossproc::Semaphore::new(0)?;
/// assert!(semaphore.acquire_timeout(std::time::Duration::ZERO).unwrap_err().is_timeout());
/// # Ok::<(), crossproc::Error>(())
/// ```
#[derive(ThisError, Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum AcquireTimeoutError {
    /// The time ran out.
    #[error("timed out waiting for a permit")]
    Timeout,
    /// Waiting longer would fail, too.
    #[error(transparent)]
    Acquire(#[from] AcquireError),
}

impl AcquireTimeoutError {
    /// Returns whether the time ran out.
    ///
    /// ```
    /// assert!(crossproc::AcquireTimeoutError::Timeout.is_timeout());
    /// ```
    pub fn is_timeout(&self) -> bool {
        matches!(self, AcquireTimeoutError::Timeout)
    }
}

/// An error returned from the `release` methods of semaphores and recursive locks: nothing was released.
///
/// ```
/// use crossproc::{BoundedSemaphore, ReleaseError};
/// assert_eq!(BoundedSemaphore::new(2)?.release(), Err(ReleaseError::OverRelease));
/// # Ok::<(), crossproc::Error>(())
/// ```
#[derive(ThisError, Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ReleaseError {
    /// The semaphore would have more permits than its bound, or than its counter holds.
    #[error("the semaphore was released more often than it was acquired")]
    OverRelease,
    /// This thread does not hold the recursive lock.
    #[error("this thread does not hold the lock")]
    NotOwner,
    /// The semaphore was overwritten with bytes that this library does not write.
    #[error("the semaphore is corrupt")]
    Corrupt,
}

/// An error returned from the methods of a [`Barrier`](crate::Barrier).
///
/// ```
/// use crossproc::{Barrier, BarrierError};
/// let barrier = Barrier::with_action(1, || Err::<(), _>("out of paper".to_string()), ())?;
/// assert_eq!(barrier.wait(), Err(BarrierError::Action("out of paper".into())));
/// # Ok::<(), crossproc::Error>(())
/// ```
#[derive(ThisError, Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum BarrierError {
    /// Another party's time ran out, a party died, the barrier was aborted or reset, or the action failed.
    #[error("the barrier is broken: a party timed out or died, or the barrier was aborted or reset")]
    Broken,
    /// The time of this party ran out.
    #[error("timed out waiting for the other parties of the barrier")]
    Timeout,
    /// This party ran the barrier's action, and it failed with this text.
    #[error("the action of the barrier failed: {0}")]
    Action(String),
    /// This thread holds about 2,000 locks.
    #[error("too many locks are held by this thread")]
    TooMany,
    /// The barrier was overwritten with bytes that this library does not write.
    #[error("the barrier is corrupt")]
    Corrupt,
}

impl BarrierError {
    /// Returns whether the time of this party ran out.
    ///
    /// ```
    /// assert!(crossproc::BarrierError::Timeout.is_timeout());
    /// ```
    pub fn is_timeout(&self) -> bool {
        matches!(self, BarrierError::Timeout)
    }
}
