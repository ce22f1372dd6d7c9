//! Messages of any length in a ring. Each item of the ring is a record: it contains a short message, or says where the
//! bytes of a longer one are.
//!
//! # Layout
//! Two rings share an object. A queue uses one, a pipe one for each direction.
//! ```text
//! offset 0      halves       of the two rings, two lines each. A line's number is the role of the handles that use it
//!        256    fd table     of the file descriptors that handles in messages need
//!               wait queues  a line for each ring
//!               cursors      of the payloads, two lines for each ring
//!               tasks        a line, used by a queue that hands out tasks
//!               slots        32 bytes each: a stamp, and a record of 24 bytes
//!               buffers      for the bytes that do not fit into records
//! ```
//!
//! # Protocol
//! That of the [ring](crate::ring), and that of `payload` for the bytes. The files, from the bottom: `record`,
//! `payload` and `layout` are data; `message_ring`, `send` and `receive` move bytes; `codec` and `values` move values.

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
