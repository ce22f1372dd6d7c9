//! A ring: items of one size, first in, first out, in shared memory, for any number of producers and consumers. Any of
//! them can be killed at any instruction.
//!
//! # Layout
//! ```text
//! tail half    lock (40 bytes), closed (4), belongs to the segment (4), tail (8), a head that was seen (8)
//! head half    lock (40 bytes), unused (4), belongs to the segment (4), head (8), unused (8)
//! wait queues  event counts (4 bytes each) of consumers, producers, tail lock and head lock; shared (4), changes (4),
//!              level (4), event count of threads that wait until the ring is drained (4), acknowledged (8),
//!              requeued (4), wants arrivals (4)
//! slots        a power of two of them: stamp (8), then the item, rounded up to a multiple of 8
//! ```
//! *Belongs to the segment* is 1 in a ring whose handles in flight the segment counts. *A head that was seen*: a value
//! that the head had, so that producers rarely load the head's line. *Shared*: 1 after a second process held the ring.
//! *Changes*: how often its holders changed. *Wants arrivals*: a sleeper wants to be woken by a new holder. *Level*:
//! see `grow`. *Acknowledged* and *requeued*: see `acknowledge`.
//!
//! Halves and wait queues are a cache line each; the head half follows the tail half. `tail` and `head` count items
//! from the first one ever pushed. Item number n belongs in slot n modulo the number of slots, and is there if the
//! slot's stamp is n + 1. A ring that grows (`grow`) doubles its slots with each level.
//!
//! # Protocol
//! 1. Push, under the tail's lock: if there are fewer items than allowed between head and tail, write the item, then
//!    its **stamp** (Release: the commit), then the tail.
//! 2. Pop, under the head's lock: if the stamp of the slot (Acquire) shows that the item is there, copy it out, then
//!    raise the **head** (Release: the commit).
//! 3. Leave, after 1 and 2: release the lock, wake by the *wake rule*, and only then clear the pending slot:
//!    ```text
//!    sleeping threads      woken if                                  how many are woken
//!    consumers             there are items; not after a failed pop   after a push of n items: n; else 1
//!    producers             there is room; not after a failed push    after a pop of n items: n; else 1
//!    waiters for a lock    the lock is free                          1
//!    waiters for a drain   all items are acknowledged                all
//!    ```
//!    All threads are woken, without a condition, if the thread that held the lock before died, if the ring is closed,
//!    or if a process got or dropped its handles on the ring. A ring of messages whose payload area does not grow (a
//!    pipe) wakes all producers when there is room: what one pop frees may be too little for one producer and enough
//!    for another. The exceptions for failed operations keep two threads from waking each other for ever.
//! 4. Sleep:
//!    1. load the watcher's epoch, and prepare to wait at the event count;
//!    2. return if the data is there, the ring is closed, or no other process holds it (`peers`);
//!    3. put a lock into the pending slot: the tail's when waiting for items, else the head's;
//!    4. load the index that changes with what the thread waits for: the tail for items, the head for room;
//!    5. set WAITERS in both locks, and look at the data again;
//!    6. sleep on the event count, both locks, the epoch and, last, that index.
//!
//!    The kernel compares the index last, when the thread is already queued on the other words. So if the index changes
//!    after it was loaded, the thread does not stay asleep, even if the thread that changed it died before it woke one.
//!    If a producer died between its stamp and the tail, its lock is OWNER_DIED, and that wakes a sleeper.
//! 5. After a wake: a thread that does not get what it waits for, or gives up, applies the wake rule for the others. If
//!    the kernel woke it while it waited for room, it also wakes other producers, which may need less. A lock whose
//!    holder died is taken and repaired, and all threads are woken.
//!
//! # Invariants
//! * ring-I1: a push commits by the stamp. Before it, the item is not in the ring. After it, the item is delivered
//!   once; if the tail was not raised yet, the next holder of the tail's lock raises it.
//! * ring-I2: a pop commits by the head. Before it, the item stays in the ring. After it, no other consumer gets the
//!   item.
//! * ring-I3: at the present level, slots between head and tail do not change. A producer writes only into slots that
//!   hold no item; a consumer copies before it commits. When the level changes: grow-G2.
//! * ring-I4: the death of a lock's holder leaves nothing to repair but the tail, and what the death hooks of the room
//!   above (`messages`) repair.
//! * ring-I5: if a thread sleeps and its condition is true, a living thread or the kernel is about to wake one (the
//!   wake rule, section-E1, event_count-G1).
//! * ring-I6: numbers read from shared memory are only used modulo the number of slots, or in comparisons. The level is
//!   at most 31. The largest number of items and the address of each level are private.
//!
//! # If a process dies here
//! By ring-I1, ring-I2 and ring-I4 its item is in the ring as a whole, or not at all. Its locks: see `sync::section`.
//! The dead thread may have owed a wake, or received one and not used it. If the lock in its pending slot is free, the
//! kernel wakes a thread that sleeps on that lock, and this thread applies the wake rule. If the lock is held, its
//! holder applies the rule when it leaves.

mod acknowledge;
mod error;
mod grow;
mod layout;
mod peers;
mod pop;
mod push;
#[allow(clippy::module_inception, reason = "the module is named after it")]
mod ring;
mod source;
mod spin;
mod wait;
mod wake;

pub(crate) use error::RingError;
pub(crate) use layout::{Addresses, slot_bytes};
pub(crate) use peers::Peers;
pub(crate) use pop::{KeptPopping, Popping};
pub(crate) use push::{KeptPushing, Pushing};
pub(crate) use ring::{DeathHooks, Growth, Ring};
pub use source::RingSource;
pub(crate) use wait::WaitFor;
