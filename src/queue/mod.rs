//! Queues between processes.

mod failure;
mod hands;
mod joinable;
mod methods;
#[allow(clippy::module_inception, reason = "it is what the module is named after")]
mod queue;
mod simple;
mod task;

pub use joinable::JoinableQueue;
pub use methods::Iter;
pub use queue::Queue;
pub use simple::SimpleQueue;
pub use task::Task;

use crate::ring::mail::Plan;
use crate::ring::{Company, For, Ring};
use crate::segment::Handle;

/// Who is left with one handle may be alone with it.
const FEW: usize = 1;

/// The number of items that stands for no limit.
const UNBOUNDED: usize = 0;

fn plan(items: usize) -> Plan {
    Plan::of_items((items != UNBOUNDED).then_some(items))
}

/// Whether anybody else has the queue, and so may bring an item. Who waits for room is never alone: a thread may borrow its
/// handle.
fn company(handle: &Handle, ring: &Ring, what: For) -> Company {
    let census = handle.settled_census(0);
    match census.elsewhere {
        None if census.here > 1 => {
            ring.share();
            Company::Watched // by the change that a goodbye is
        }
        None if what == For::Items && ring.is_shared() => Company::Alone,
        None => Company::Watched,
        Some(tag) => {
            ring.share();
            Company::of(tag)
        }
    }
}
