//! The kind of a pipe and its size, packed into the number of items of its object.

use crate::SegmentError;
use crate::messages::MessageGeometry;

/// What kind of pipe it is, and what it has room for.
#[derive(Clone, Copy)]
pub(super) enum PipeKind {
    /// One direction, with room for at least this many bytes.
    OneWay { bytes: usize },
    /// Two directions, each with room for at least this many bytes.
    TwoWays { bytes: usize },
    /// One direction, with room for this many messages of any length.
    Channel { messages: usize },
}

impl PipeKind {
    /// The packed form: a size below 2^60, and a bit for the kind.
    const CHANNEL: usize = 1 << 60;
    const TWO_WAYS: usize = 1 << 61;

    pub(super) fn pack(self) -> Result<usize, SegmentError> {
        let (size, bit) = match self {
            PipeKind::OneWay { bytes } => (bytes, 0),
            PipeKind::TwoWays { bytes } => (bytes, Self::TWO_WAYS),
            PipeKind::Channel { messages: 0 } => {
                return Err(SegmentError::Invalid("a channel for 0 messages".into()));
            }
            PipeKind::Channel { messages } => (messages, Self::CHANNEL),
        };
        if size < Self::CHANNEL { Ok(size | bit) } else { Err(SegmentError::TooLarge) }
    }

    pub(super) fn unpack(count: usize) -> Option<Self> {
        let size = count & (Self::CHANNEL - 1);
        match (count & Self::TWO_WAYS != 0, count & Self::CHANNEL != 0) {
            (false, false) => Some(PipeKind::OneWay { bytes: size }),
            (true, false) => Some(PipeKind::TwoWays { bytes: size }),
            (false, true) => Some(PipeKind::Channel { messages: size }),
            (true, true) => None,
        }
    }

    pub(super) fn geometry(self) -> Option<MessageGeometry> {
        match self {
            PipeKind::OneWay { bytes } => MessageGeometry::of_bytes(1, bytes),
            PipeKind::TwoWays { bytes } => MessageGeometry::of_bytes(2, bytes),
            PipeKind::Channel { messages } => Some(MessageGeometry::of_items(Some(messages))),
        }
    }
}
