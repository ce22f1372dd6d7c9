//! Values as the bytes of messages. A value that is short when encoded and has no handles is encoded straight into a
//! record.

mod decode;
mod encode;
mod failure;
mod incoming;

pub(crate) use decode::{FdsBySegment, decode_keeping_handles, release_handles};
pub(super) use decode::{decode, decode_to, discard, missing_segments, value_of, with_handles};
pub(super) use encode::join;
pub(crate) use encode::{Buffer, Encoded, encode, encode_with, encode_with_handles};
pub(crate) use failure::SendFailure;
pub(crate) use incoming::{Incoming, Lack};
