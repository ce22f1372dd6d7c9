//! Why an operation on a ring did nothing.

use crate::sync::LockFailure;

/// Why nothing was pushed or popped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RingError {
    /// The ring is full, or empty.
    NotNow,
    Closed,
    Timeout,
    /// No other holder is left that could change the ring.
    Alone,
    /// There is no memory to grow into.
    NoSpace,
    /// This thread holds the lock already: it reads or writes in place.
    Deadlock,
    /// The next item has this many bytes, and the caller's buffer has fewer.
    TooShort(usize),
    /// Bytes of the next item are missing.
    Truncated,
    Corrupt,
}

impl From<LockFailure> for RingError {
    fn from(failure: LockFailure) -> Self {
        match failure {
            // A call that does not wait for items still waits for the lock, for as long as one is ever held.
            LockFailure::WouldBlock | LockFailure::Timeout => RingError::Timeout,
            LockFailure::Deadlock => RingError::Deadlock,
            _ => RingError::Corrupt,
        }
    }
}

/// The segment has no memory, or an address that it cannot have.
impl From<crate::SegmentError> for RingError {
    fn from(_: crate::SegmentError) -> Self {
        RingError::NoSpace
    }
}
