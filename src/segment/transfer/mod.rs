//! Messages that carry handles, over a socket or in shared memory.
//!
//! A handle refers to memory that the receiver may not have yet. While a message is encoded, each handle is recorded in
//! a side table of the thread (`scope`) and leaves a *reference* in the bytes. The table becomes the *manifest*, which
//! is sent beside the bytes (`message`); the memory itself is sent as file descriptors. Encoding a handle in any other
//! context, for example into JSON, returns an error that says so.
//!
//! # If a process dies here
//! A message that was sent and never received keeps the memory of its handles until the last process that uses the
//! arena ends.

pub(crate) mod manifest;
mod message;
pub(crate) mod receiver_watch;
pub(crate) mod scope;
pub(crate) mod socket;

pub(crate) use message::{EncodedMessage, InFlightGuard, MessageBytes, ReceivedMessage, encode, missing_segments};
pub(crate) use receiver_watch::set_receiver_watch;
pub(crate) use scope::is_in_scope;
