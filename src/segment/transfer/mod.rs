//! Messages that carry handles, whatever carries them: a socket (`stream`), or a ring.
//!
//! A handle is a place in memory that the receiver may not have yet. While a message is encoded, each handle leaves its
//! place in a side table of the thread and a *ticket* in the bytes; the table travels beside the bytes, the memory itself
//! as file descriptors. Encoding a handle anywhere else, say into JSON, is an error that says so.
//!
//! # If a process dies here
//! A message that was sent and never received keeps what its handles stand for until the last process of the family ends.

pub(crate) mod manifest;
mod message;
pub(crate) mod receiver_watch;
pub(crate) mod scope;
pub(crate) mod socket;

pub(crate) use message::{EncodedMessage, InFlightGuard, MessageBytes, ReceivedMessage, encode, missing_segments};
pub(crate) use receiver_watch::set_receiver_watch;
pub(crate) use scope::is_in_scope;
