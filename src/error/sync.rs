//! Errors of semaphores, recursive locks and barriers.

use serde::{Deserialize, Serialize};
use thiserror::Error as ThisError;

/// Why no permit was acquired.
///
/// ```
/// assert_eq!(crossproc::AcquireError::Corrupt.to_string(), "the semaphore is corrupt");
/// ```
#[derive(ThisError, Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum AcquireError {
    /// 1,024 permits of this semaphore are held through guards, and there are more; or this thread holds about 2,000 locks and
    /// permits.
    #[error("too many permits are held at once")]
    TooMany,
    /// What is in the memory is nothing that this library writes.
    #[error("the semaphore is corrupt")]
    Corrupt,
}

/// Why `try_acquire` got no permit.
///
/// ```
/// let semaphore = crossproc::Semaphore::new(0)?;
/// assert_eq!(semaphore.try_acquire().unwrap_err(), crossproc::TryAcquireError::WouldBlock);
/// # Ok::<(), crossproc::Error>(())
/// ```
#[derive(ThisError, Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum TryAcquireError {
    /// None is available.
    #[error("no permit is available")]
    WouldBlock,
    /// What any way of acquiring may say.
    #[error(transparent)]
    Acquire(#[from] AcquireError),
}

/// Why `acquire_timeout` got no permit.
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
    #[error("timed out")]
    Timeout,
    /// What any way of acquiring may say.
    #[error(transparent)]
    Acquire(#[from] AcquireError),
}

impl AcquireTimeoutError {
    /// Whether the time ran out.
    ///
    /// ```
    /// assert!(crossproc::AcquireTimeoutError::Timeout.is_timeout());
    /// ```
    pub fn is_timeout(&self) -> bool {
        matches!(self, AcquireTimeoutError::Timeout)
    }
}

/// Why `release` changed nothing.
///
/// ```
/// use crossproc::{BoundedSemaphore, ReleaseError};
/// assert_eq!(BoundedSemaphore::new(2)?.release(), Err(ReleaseError::OverRelease));
/// # Ok::<(), crossproc::Error>(())
/// ```
#[derive(ThisError, Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ReleaseError {
    /// There would be more permits than the bound; or than a counter holds.
    #[error("released too many times")]
    OverRelease,
    /// The recursive lock is not held by this thread.
    #[error("not held by this thread")]
    NotOwner,
    /// What is in the memory is nothing that this library writes.
    #[error("corrupt")]
    Corrupt,
}

/// Why one did not pass a [`Barrier`](crate::Barrier).
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
    /// Somebody's time ran out, somebody died, aborted or reset the barrier, or the action failed.
    #[error("the barrier is broken")]
    Broken,
    /// The time of this party ran out.
    #[error("timed out")]
    Timeout,
    /// This party did what is done in each round, and it failed: what it said.
    #[error("the action failed: {0}")]
    Action(String),
    /// This thread holds about 2,000 locks.
    #[error("too many locks are held by this thread")]
    TooMany,
    /// What is in the memory is nothing that this library writes.
    #[error("the barrier is corrupt")]
    Corrupt,
}

impl BarrierError {
    /// Whether the time of this party ran out.
    ///
    /// ```
    /// assert!(crossproc::BarrierError::Timeout.is_timeout());
    /// ```
    pub fn is_timeout(&self) -> bool {
        matches!(self, BarrierError::Timeout)
    }
}
