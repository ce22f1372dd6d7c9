//! Whether a ring has other holders, and what a handle caches of the answer.

use super::layout::WaitQueues;
use crate::segment::UNKNOWN;
use crate::sys::watcher::{self, WatchOutcome};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

/// The other holders of the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peers {
    /// No other holder, now and later: what a thread waits for will never come.
    Alone,
    /// A holder whose end wakes the waiters: by the watcher's epoch or by `changes`.
    Watched,
    /// A holder about which nothing is known. The waiter looks again from time to time.
    Unknown,
}

impl Peers {
    /// Watches the process with this tag.
    pub(crate) fn of(tag: u64) -> Self {
        match tag != UNKNOWN && watcher::process(tag) == WatchOutcome::Watched {
            true => Peers::Watched,
            false => Peers::Unknown,
        }
    }
}

/// Private to a handle: the epoch in which it was known to have watched peers. [`u64::MAX`] means none.
#[derive(Debug)]
pub(super) struct PeerCache(AtomicU64);

impl PeerCache {
    pub(super) const fn new() -> Self {
        PeerCache(AtomicU64::new(u64::MAX))
    }

    /// Whether there are still the peers that there were.
    #[inline(always)]
    pub(super) fn is_current(&self, queues: &WaitQueues) -> bool {
        self.0.load(Relaxed) == epoch(queues)
    }

    /// Whether this is the last holder. `peers` is called only if the cache is not current.
    pub(super) fn is_alone(&self, queues: &WaitQueues, peers: &dyn Fn() -> Peers) -> bool {
        let now = epoch(queues); // before the call: what changes after this load needs another look
        if self.0.load(Relaxed) == now {
            return false;
        }
        let mut found = peers();
        if found == Peers::Unknown {
            // A process that arrives after this store increments `changes`.
            queues.wants_arrivals.store(1, SeqCst);
            found = peers(); // it may have arrived before the store
        }
        self.0.store(if found == Peers::Watched { now } else { u64::MAX }, Relaxed);
        found == Peers::Alone
    }
}

/// Changes with each change of the holders of the ring, and with each end of a watched process.
#[inline(always)]
fn epoch(queues: &WaitQueues) -> u64 {
    u64::from(queues.changes.load(Relaxed)) << 32 | u64::from(watcher::epoch().load(Relaxed))
}
