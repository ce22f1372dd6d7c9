//! A ring as one of many that somebody waits for at once.

use super::Ring;

/// Where to sleep for a ring, and how to tell that it is ready.
#[doc(hidden)]
#[allow(missing_debug_implementations, reason = "nobody but this crate sees it")]
pub struct RingSource<'a> {
    pub(crate) ring: &'a Ring,
    pub(crate) size: usize,
    /// Whether there is something to get, or never will be.
    pub(crate) ready: Box<dyn Fn() -> bool + 'a>,
}

impl<'a> RingSource<'a> {
    pub(crate) fn new(ring: &'a Ring, size: usize, ready: impl Fn() -> bool + 'a) -> Self {
        RingSource { ring, size, ready: Box::new(ready) }
    }
}
