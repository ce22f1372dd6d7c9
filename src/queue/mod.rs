//! Queues between processes.
//!
//! `simple` copies items of one size. `queue` and `joinable` carry items of any type and length: each is a
//! `message_queue` with a delivery of its own, `direct` or `leased`, and both have the methods in `methods`.
//!
//! The protocol of `simple` is that of `ring`, and the protocol of the other two is that of `messages`. `leases` has
//! the protocol of tasks that are taken and not acknowledged yet.

mod direct;
mod errors;
mod holders;
mod iter;
mod joinable;
mod leased;
mod leases;
mod message_queue;
mod methods;
#[allow(clippy::module_inception, reason = "the module is named after its main type")]
mod queue;
mod simple;
mod task;

pub use iter::Iter;
pub use joinable::JoinableQueue;
pub use queue::Queue;
pub use simple::SimpleQueue;
pub use task::Task;

use holders::{NOTIFY_AT_MOST, peers};
