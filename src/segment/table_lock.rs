//! Lock of a table in a segment.

use crate::SegmentError;
use crate::sync::{Held, LockFailure, RawLock, Timeout};

/// Lock of a table. It is released on drop.
pub(crate) struct TableGuard<'a> {
    lock: &'a RawLock,
    held: Held,
}

impl<'a> TableGuard<'a> {
    pub(crate) fn acquire(lock: &'a RawLock, timeout: Timeout) -> Result<Self, SegmentError> {
        let held = lock.acquire(timeout, false).map_err(refused)?;
        lock.record(&held, 0);
        Ok(TableGuard { lock, held })
    }
}

impl Drop for TableGuard<'_> {
    fn drop(&mut self) {
        self.lock.release(&self.held);
    }
}

/// Maps a lock failure: the segment is damaged, or this thread holds too many guards.
fn refused(refusal: LockFailure) -> SegmentError {
    match refusal {
        LockFailure::TooMany => SegmentError::Invalid("this thread holds too many guards".into()),
        _ => SegmentError::NotASegment,
    }
}
