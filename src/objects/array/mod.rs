//! `Array<T>`: many items in shared memory, changed in place, as a whole or in parts.
//!
//! `layout` says where everything lies, `memory` gives access to it, `guard` takes the locks; `array` and `named` are
//! the public handle, `part` a handle of one part, and `divide` makes the parts.
//!
//! # Protocol
//! 1. Locking the whole array: its own lock, then the lock of every part, in order. Locking a part: the lock of the
//!    part only.
//! 2. Changing the number of parts: under the lock of the whole array, while no handle of a part exists and no part's
//!    lock is held or has an owner record. Storing the number is the commit point.
//!
//! # Invariants
//! * array-V1: items are accessed only by a thread that holds the locks that cover them: for an access through the
//!   array, its own lock and the locks of all parts that overlap the accessed range; for an access through a part, the
//!   part's lock.
//! * array-V2: handles of parts of two different divisions never exist at the same time.
//! * array-V3: the owner record of each held lock names the holder as long as its guard lives. So a holder that is
//!   killed leaves its record on each of its locks (lock-L4). Threads that only read, or that divide the array, write
//!   no record.
//!
//! # If a process dies here
//! While it holds a lock: its owner record stays on each lock that it held, and `lock` returns `OwnerDied` until a
//! repair has finished. While a repair runs, the records still name the first victim, so a repair that was interrupted
//! by another death is done again. Between the locks of two parts while it takes the lock of the whole: the kernel
//! frees the locks that it held, and no record stays.
#![allow(unsafe_code)] // references into shared memory, under locks

#[allow(clippy::module_inception, reason = "it is what the module is named after")]
mod array;
mod divide;
mod guard;
mod layout;
mod memory;
mod named;
mod part;

pub use array::Array;
pub use guard::{ArrayGuard, RangeLock};
pub use part::Part;
