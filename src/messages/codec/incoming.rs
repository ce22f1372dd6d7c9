//! A message that was received and is decoded later.

use super::decode::{FdsBySegment, decode, discard, value_of, with_handles};
use crate::CodecError;
use crate::messages::record::Record;
use crate::segment::transfer::ReceivedMessage;
use serde::de::DeserializeOwned;

/// A message that was received and is decoded later.
pub(crate) struct Incoming {
    record: Record,
    bytes: Vec<u8>,
    fds: FdsBySegment,
    lack: Option<Lack>,
}

/// What this process did not have enough of to receive a message as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lack {
    /// Only the first bytes of the message were received.
    Memory,
    /// The segments of its handles could not be mapped.
    Descriptors,
}

impl Incoming {
    /// A message with this record; unless it is inline, with these bytes.
    pub(in crate::messages) fn new(record: Record, bytes: Vec<u8>, fds: FdsBySegment, lack: Option<Lack>) -> Self {
        Incoming { record, bytes, fds, lack }
    }

    /// An inline message without handles.
    pub(crate) fn short(record: Record) -> Self {
        Incoming::new(record, Vec::new(), Vec::new(), None)
    }

    pub(crate) fn lack(&self) -> Option<Lack> {
        self.lack
    }

    /// Whether the message is whole, and memory or descriptors were needed for that.
    pub(crate) fn shows_enough(&self) -> bool {
        self.lack.is_none() && !self.record.is_plain()
    }

    pub(crate) fn has_handles(&self) -> bool {
        self.record.flags().has_handles()
    }

    /// The bytes of the value.
    pub(crate) fn value(&self) -> &[u8] {
        value_of(self.record.bytes_or(&self.bytes), self.record.flags())
    }

    /// Decodes the value and attaches its handles.
    pub(crate) fn decode<T: DeserializeOwned>(self) -> Result<T, CodecError> {
        let bytes = self.record.bytes_or(&self.bytes);
        match self.has_handles() {
            false => decode(bytes),
            true => with_handles(bytes, self.fds).and_then(ReceivedMessage::decode),
        }
    }

    /// Releases the handles in the message.
    pub(crate) fn discard(self) {
        if self.has_handles() {
            discard(self.record.bytes_or(&self.bytes), self.fds);
        }
    }
}
