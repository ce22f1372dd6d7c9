//! The public objects: data in shared memory, and what synchronises processes.
//!
//! - data under a lock: `value` (changed as a whole), `array` (changed in place)
//! - data without a lock: `raw_value`, `raw_array`, `atomic`
//! - locks without data: `lock`, `rlock` (recursive), `semaphore`
//! - points to wait at: `event`, `condition`, `barrier`
//!
//! Each type is a handle of memory that `segment` manages. Its protocol is in `sync`.

mod array;
mod atomic;
mod barrier;
mod condition;
mod event;
mod lock;
mod raw_array;
mod raw_value;
mod rlock;
mod semaphore;
mod value;

pub use array::{Array, ArrayGuard, Part};
pub use atomic::{Atomic, Int};
pub use barrier::{Barrier, BarrierWaitResult};
pub use condition::{Condition, Guard, WaitTimeoutResult};
pub use event::Event;
pub use lock::{Lock, LockGuard};
pub use raw_array::RawArray;
pub use raw_value::RawValue;
pub use rlock::{RLock, RLockGuard};
pub use semaphore::{BoundedSemaphore, Permit, Semaphore};
pub use value::{Value, ValueGuard};
