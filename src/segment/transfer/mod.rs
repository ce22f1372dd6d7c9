//! Messages that carry handles, whatever carries them: a socket (`stream`), or a ring.
//!
//! A handle is a place in memory that the receiver may not have yet. While a message is encoded, each handle leaves its
//! place in a side table of the thread and a *ticket* in the bytes; the table travels beside the bytes, the memory itself
//! as file descriptors. Encoding a handle anywhere else, say into JSON, is an error that says so.
//!
//! # If a process dies here
//! A message that was sent and never received keeps what its handles stand for until the last process of the family ends.

pub(crate) mod lost_handles;
pub(crate) mod manifest;
mod message;
pub(crate) mod scope;
pub(crate) mod socket;

pub(crate) use lost_handles::look_out_with;
pub(crate) use message::{Bytes, EncodedMessage, InFlightGuard, ReceivedMessage, pack, wanted};
pub(crate) use scope::is_under_way;
