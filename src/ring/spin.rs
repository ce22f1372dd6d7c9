//! How long a handle spins before it sleeps.

use crate::sync::spin;
use crate::sys::process_id;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

/// Private to a handle: its spin budget, and whether items come as a stream.
///
/// Each look at a ring takes a cache line from the thread that is about to write it. In a stream, where each wait ends
/// at the first looks, these looks are what slows the writer down. So there is a break before the first look, during
/// which several items can come.
#[derive(Debug)]
pub(super) struct AdaptiveSpin {
    /// See [`spin::until`].
    budget: AtomicU32,
    waits: AtomicU32,
    /// How many waits in a row ended within the first looks.
    quick_waits: AtomicU32,
    /// How many quick waits in a row are a stream.
    stream: AtomicU32,
}

impl AdaptiveSpin {
    /// This many quick waits in a row are a stream at first. Each break that did not pay, because each item answers the
    /// one before, doubles the number, up to a limit.
    const STREAM: u32 = 8;
    const LONGEST_STREAM: u32 = 1 << 13;
    /// A break, in spin hints: the time of dozens of items.
    const BREAK: u32 = 40;
    /// A wait with fewer looks is quick.
    const QUICK: u32 = 3;

    pub(super) const fn new() -> Self {
        AdaptiveSpin {
            budget: AtomicU32::new(0),
            waits: AtomicU32::new(0),
            quick_waits: AtomicU32::new(0),
            stream: AtomicU32::new(Self::STREAM),
        }
    }

    /// Spins until `is_ready`. Returns false when it is time to sleep. A break has paid if `several` items have come.
    pub(super) fn until(&self, is_ready: impl Fn() -> bool, several: impl Fn() -> bool) -> bool {
        if process_id::cores() < 2 {
            return is_ready();
        }
        let stream = self.stream.load(Relaxed);
        if self.quick_waits.load(Relaxed) >= stream {
            (0..Self::BREAK).for_each(|_| std::hint::spin_loop());
            if is_ready() && several() {
                self.stream.store(Self::STREAM, Relaxed);
                return true;
            }
            self.stream.store((stream * 2).min(Self::LONGEST_STREAM), Relaxed);
            self.quick_waits.store(0, Relaxed);
        }
        let wait = self.waits.load(Relaxed).wrapping_add(1);
        self.waits.store(wait, Relaxed);
        let found = spin::spin_until(&self.budget, wait, is_ready);
        if let Some(look) = found {
            let quick = if look < Self::QUICK { self.quick_waits.load(Relaxed) + 1 } else { 0 };
            self.quick_waits.store(quick, Relaxed);
        }
        found.is_some()
    }
}
