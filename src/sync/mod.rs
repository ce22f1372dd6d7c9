//! Synchronisation primitives as plain data: `repr(C)`, built in memory that they are given. They know no segment and
//! no name.

pub(crate) mod atomic_copy;
pub(crate) mod backstop;
pub(crate) mod barrier;
pub(crate) mod condvar;
pub(crate) mod double_buffer;
pub(crate) mod event;
pub(crate) mod event_count;
pub(crate) mod layout;
mod lock_word;
pub(crate) mod monitor;
mod raw_lock;
pub(crate) mod section;
pub(crate) mod semaphore;
pub(crate) mod spin;

pub(crate) use double_buffer::DoubleBuffer;
pub(crate) use event_count::EventCount;
pub(crate) use raw_lock::{Held, LockFailure, RawLock, Timeout};
