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
//! Halves and wait queues are a cache line each; the head half follows the tail half. `tail` and `head` count items
//! from the first one ever pushed. Item number n belongs in slot n modulo the number of slots, and is there if the
//! slot's stamp is n + 1. A ring that grows (`grow`) doubles its slots with each level.
//!
//! # Protocol
//! 1. Push, under the tail's lock: if there are fewer items than allowed between head and tail, write the item, then
//!    its **stamp** (Release: the commit), then the tail.
//! 2. Pop, under the head's lock: if the stamp of the slot (Acquire) shows that the item is there, copy it out, then
//!    raise the **head** (Release: the commit).
//! 3. Wake, after 1 and 2: the lock is free again and still in the pending slot. The *wake rule*:
//!    ```text
//!    sleeping threads      woken if                                  how many are woken
//!    consumers             there are items; not after a failed pop   after a push of n items: n; else 1
//!    producers             there is room; not after a failed push    after a pop of n items: n; else 1
//!    waiters for a lock    the lock is free                          1
//!    waiters for a drain   all items are acknowledged                all
//!    ```
//!    If the lock's previous holder died, or the ring is closed, or its holders changed: all threads, without a
//!    condition. In a ring of messages, whose bytes differ in length, all producers are woken when there is room. The
//!    exceptions for failed operations keep two threads from waking each other for ever.
//! 4. Sleep: prepare to wait at the event count; put a lock into the pending slot; read the index that changes with
//!    what the thread waits for; set WAITERS in both locks; look at the data again. Then sleep on the event count, both
//!    locks and, last, that index. The kernel compares the index last, when the thread is already queued on the other
//!    words. So if the index changes after the read, the thread does not stay asleep, even if the thread that changed
//!    it died before it woke one. If a producer died between its stamp and the tail, its lock is OWNER_DIED, and that
//!    wakes a sleeper. A thread that was woken and does not get what it waits for, or gives up, applies the wake rule
//!    for the others. If the kernel woke it while it waited for room, it also wakes other producers, which may need
//!    less. A lock whose holder died is taken and repaired, and all threads are woken.
//!
//! # Invariants
//! * ring-I1: a push commits by the stamp. Before it, the item is not in the ring. After it, the item is delivered
//!   once; if the tail was not raised yet, the next holder of the tail's lock raises it.
//! * ring-I2: a pop commits by the head. Before it, the item stays in the ring. After it, no other consumer gets the
//!   item.
//! * ring-I3: slots between head and tail do not change. A producer writes only into slots that a consumer has freed; a
//!   consumer copies before it commits.
//! * ring-I4: the death of a lock's holder leaves nothing to repair but the tail, and what the owner's death hooks
//!   repair.
//! * ring-I5: if a thread sleeps and its condition is true, a living thread or the kernel is about to wake one (the
//!   wake rule, section-E1, event_count-G1).
//! * ring-I6: numbers read from shared memory are only used modulo the number of slots, or in comparisons. The largest
//!   number of items and the addresses are private.
//!
//! # If a process dies here
//! By ring-I1, ring-I2 and ring-I4 its item is in the ring as a whole, or not at all. Its locks: see `sync::section`. A
//! wake that it owed, or that it received and did not use: the kernel wakes a thread that sleeps on the lock in the
//! dead thread's pending slot, if that lock is free, and the woken thread applies the wake rule. If the lock is held,
//! its holder applies it when it leaves.

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
