//! What makes one side wait for the other: semaphores, events, conditions, barriers.

mod ours;
mod posix;
mod threads;

pub use ours::{Changed, OurBarrier, OurEvent, OurSemaphore};
pub use posix::{PosixBarrier, PosixCondition, PosixSemaphore};
pub use threads::{StdBarrier, StdCondvar};
