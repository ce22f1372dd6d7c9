//! A ring as one of several things that a thread waits for at once.

use super::ring::Ring;

/// A ring to sleep at, and how to find that it is ready.
#[doc(hidden)]
#[allow(missing_debug_implementations, reason = "only this crate sees it")]
pub struct RingSource<'a> {
    pub(crate) ring: &'a Ring,
    /// Whether there is something to get, or never will be.
    pub(crate) ready: Box<dyn Fn() -> bool + 'a>,
}

impl<'a> RingSource<'a> {
    pub(crate) fn new(ring: &'a Ring, ready: impl Fn() -> bool + 'a) -> Self {
        RingSource { ring, ready: Box::new(ready) }
    }
}
