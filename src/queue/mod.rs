//! Queues between processes.

mod errors;
mod joinable;
mod leases;
mod macros;
#[allow(clippy::module_inception, reason = "it is what the module is named after")]
mod queue;
mod simple;
mod task;

pub use joinable::JoinableQueue;
pub use macros::Iter;
pub use queue::Queue;
pub use simple::SimpleQueue;
pub use task::Task;

use crate::messages::MessageGeometry;
use crate::ring::{Peers, Ring, WaitFor};
use crate::segment::Handle;

/// Who is left with one handle may be alone with it.
const FEW: usize = 1;

/// The number of items that stands for no limit.
const UNBOUNDED: usize = 0;

fn plan(items: usize) -> MessageGeometry {
    MessageGeometry::of_items((items != UNBOUNDED).then_some(items))
}

/// Whether anybody else has the queue, and so may bring an item. Who waits for room is never alone: a thread may borrow its
/// handle.
fn company(handle: &Handle, ring: &Ring, what: WaitFor) -> Peers {
    let census = handle.fresh_holder_count(0);
    match census.elsewhere {
        None if census.here > 1 => {
            ring.mark_shared();
            Peers::Watched // by the change that a goodbye is
        }
        None if what == WaitFor::Items && ring.is_shared() => Peers::Alone,
        None => Peers::Watched,
        Some(tag) => {
            ring.mark_shared();
            Peers::of(tag)
        }
    }
}
