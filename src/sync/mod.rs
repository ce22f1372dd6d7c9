//! Primitives as plain data: `repr(C)`, built in memory that they are given. They know no segment and no name.

pub(crate) mod gate;
pub(crate) mod looks;
pub(crate) mod monitor;
pub(crate) mod permits;
pub(crate) mod place;
pub(crate) mod raw_lock;
pub(crate) mod rounds;
pub(crate) mod seat;
pub(crate) mod section;
pub(crate) mod signal;
pub(crate) mod twin;
pub(crate) mod waiters;
pub(crate) mod words;

pub(crate) use gate::Gate;
pub(crate) use raw_lock::{Held, Patience, RawLock, Refusal};
pub(crate) use twin::Twin;
