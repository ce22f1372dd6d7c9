//! The iterator over the items of any queue.

use crate::GetError;
use std::fmt;

/// Items of a queue, each taken out by a call of `next`; see [`Queue::iter`](crate::Queue::iter).
///
/// ```
/// let queue = crossproc::Queue::bounded(5)?;
/// queue.put("a".to_string())?;
/// assert_eq!(queue.iter().next(), Some(Ok("a".to_string())));
/// # Ok::<(), crossproc::Error>(())
/// ```
pub struct Iter<'a, T> {
    queue: &'a dyn Get<T>,
    ended: bool,
}

/// A queue of any kind.
pub(super) trait Get<T> {
    fn get_one(&self) -> Result<T, GetError>;
}

impl<'a, T> Iter<'a, T> {
    pub(super) fn new(queue: &'a dyn Get<T>) -> Self {
        Iter { queue, ended: false }
    }
}

impl<T> Iterator for Iter<'_, T> {
    type Item = Result<T, GetError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        match self.queue.get_one() {
            Err(GetError::Closed) => None,
            item => {
                // After these two errors the next call may succeed; any other would only repeat.
                self.ended = !matches!(item, Ok(_) | Err(GetError::Decode(_) | GetError::NoSpace));
                Some(item)
            }
        }
    }
}

impl<T> fmt::Debug for Iter<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iter").finish_non_exhaustive()
    }
}
