//! Messages of any length in a ring. Each item of the ring is a record: it contains a short message, or says where the
//! bytes of a longer one are.
//!
//! # Layout
//! Two rings share an object. A queue uses one, a pipe one for each direction.
//! ```text
//! offset 0      halves       of the two rings, a cache line each: tail and head half of the first ring, then of the
//!                            second. The number of the half that a handle uses is its role
//!        256    fd table     of the file descriptors that handles in messages need
//!               wait queues  a cache line for each ring
//!               cursors      of the payloads, two cache lines for each ring
//!               tasks        a cache line, used by a queue that hands out tasks
//!               slots        32 bytes each: a stamp, and a record of 24 bytes
//!               buffers      for the bytes that do not fit into records
//! ```
//!
//! # Protocol
//! The steps of a push and a pop are the [ring](crate::ring)'s; what is added are the bytes (`payload`) and the
//! descriptors of handles (`segment::fd_store`).
//! 1. Send: encode. If there are handles, lock the fd store and store their descriptors. Lock the tail; write the bytes
//!    into the payload area; write the record, then its stamp (the commit); raise the tail; unlock; wake.
//! 2. Receive: lock the head; copy the record and the bytes. If there are handles, find their descriptors. Call the
//!    receiver's *claim*, if it has one. Raise the head (the commit); count the bytes as read; unlock; wake; decode.
//!
//! The files, from the bottom: `record`, `payload` and `layout` are data; `message_ring`, `send` and `receive` move
//! bytes; `codec` and `values` move values.
//!
//! # If a process dies here
//! See `ring`, `payload` and `segment::fd_store`: up to the commit nothing was sent, or the message stays in the ring.

pub(crate) mod codec;
mod layout;
mod message_ring;
mod payload;
mod receive;
pub(crate) mod record;
mod send;
mod values;

pub(crate) use layout::{KEPT_AT, MessageGeometry};
pub(crate) use message_ring::{MessageRing, mark_shared, notify_arrival, notify_change};
pub(crate) use record::Allocation;
