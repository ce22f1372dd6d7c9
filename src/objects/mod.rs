//! The public objects: data in shared memory under a lock, locks by themselves, and points to meet.

pub(crate) mod array;
mod atomic;
mod barrier;
mod condition;
mod event;
mod lock;
mod raw;
mod rlock;
mod semaphore;
pub(crate) mod value;

pub use array::{Array, ArrayGuard, Part};
pub use atomic::{Atomic, Int};
pub use barrier::{Barrier, BarrierWaitResult};
pub use condition::{Condition, Guard, WaitTimeoutResult};
pub use event::Event;
pub use lock::{Lock, LockGuard};
pub use raw::{RawArray, RawValue};
pub use rlock::{RLock, RLockGuard};
pub use semaphore::{BoundedSemaphore, Permit, Semaphore};
pub use value::{Value, ValueGuard};
