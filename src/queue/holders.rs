//! The other processes that hold a queue, as far as a thread that waits at it must know them.

use crate::ring::{Peers, Ring, WaitFor};
use crate::segment::Handle;

/// A process that drops to this many handles notifies its peers: the process with the last handle may be alone now.
pub(super) const NOTIFY_AT_MOST: usize = 1;

/// Whether another process has the queue, and so may put an item. A thread that waits for room is never alone: another
/// thread may borrow its handle.
pub(super) fn peers(handle: &Handle, ring: &Ring, what: WaitFor) -> Peers {
    let holders = handle.fresh_holder_count(0);
    match holders.elsewhere {
        None if holders.here > 1 => {
            ring.mark_shared();
            Peers::Watched // dropping a handle is a change, which wakes all sleepers
        }
        None if what == WaitFor::Items && ring.is_shared() => Peers::Alone,
        None => Peers::Watched,
        Some(tag) => {
            ring.mark_shared();
            Peers::of(tag)
        }
    }
}
