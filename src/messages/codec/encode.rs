//! From values to bytes.

use crate::CodecError;
use crate::messages::record::{Flags, Record};
use crate::segment::transfer::{self, EncodedMessage, InFlightGuard};
use serde::Serialize;
use std::cell::Cell;

thread_local! {
    /// The bytes of the message that is sent or received, kept for the next one.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A buffer with a larger capacity is freed after its message.
const LARGEST_KEPT: usize = 1 << 20;

/// The thread's buffer, until this is dropped. A second one at the same time is a new buffer.
pub(crate) struct Buffer(Vec<u8>);

impl Buffer {
    pub(crate) fn new() -> Self {
        Buffer(BUFFER.try_with(Cell::take).unwrap_or_default())
    }

    pub(crate) fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.0.capacity() <= LARGEST_KEPT {
            self.0.clear();
            let _ = BUFFER.try_with(|buffer| buffer.set(std::mem::take(&mut self.0)));
        }
    }
}

/// An encoded value that is not inline in its record.
pub(crate) enum Encoded {
    Long(Buffer),
    WithHandles(Box<EncodedMessage>),
}

impl Encoded {
    /// The number of bytes of the value.
    pub(crate) fn length(&self) -> usize {
        match self {
            Encoded::Long(buffer) => buffer.0.len(),
            Encoded::WithHandles(encoded) => encoded.bytes.len(),
        }
    }

    /// Keeps the handles in the value, if there are any, for the sender.
    pub(crate) fn keep_handles(&mut self) -> Result<Option<InFlightGuard>, CodecError> {
        match self {
            Encoded::Long(_) => Ok(None),
            Encoded::WithHandles(encoded) => encoded.keep_in_flight().map(Some),
        }
    }
}

/// Encodes a value into the record, or else returns the bytes.
///
/// At first a handle in the value is an error, because no transfer scope exists. Then the value is encoded again in
/// one.
#[inline(always)]
pub(crate) fn encode<T: Serialize + ?Sized>(value: &T, record: &mut Record) -> Result<Option<Encoded>, CodecError> {
    encode_with(value, record, &encode_with_handles)
}

/// [`encode`], which calls `with_handles` for a value with handles.
#[inline(always)]
pub(crate) fn encode_with<T: Serialize + ?Sized>(
    value: &T,
    record: &mut Record,
    with_handles: &dyn Fn(&T) -> Result<Encoded, CodecError>,
) -> Result<Option<Encoded>, CodecError> {
    if transfer::is_in_scope() {
        return with_handles(value).map(Some);
    }
    match postcard::to_slice(value, record.inline_buffer()) {
        Ok(bytes) => {
            let length = bytes.len();
            record.set_inline(length, Flags::default());
            Ok(None)
        }
        Err(postcard::Error::SerializeBufferFull) => encode_long(value, with_handles).map(Some),
        Err(_) => with_handles(value).map(Some),
    }
}

#[inline(never)]
fn encode_long<T: Serialize + ?Sized>(
    value: &T,
    with_handles: &dyn Fn(&T) -> Result<Encoded, CodecError>,
) -> Result<Encoded, CodecError> {
    let mut buffer = Buffer::new();
    let bytes = std::mem::take(&mut buffer.0);
    match postcard::to_extend(value, bytes) {
        Ok(bytes) => {
            buffer.0 = bytes;
            Ok(Encoded::Long(buffer))
        }
        Err(_) => with_handles(value),
    }
}

#[cold]
pub(crate) fn encode_with_handles<T: Serialize + ?Sized>(value: &T) -> Result<Encoded, CodecError> {
    transfer::encode(value).map(|encoded| Encoded::WithHandles(Box::new(encoded)))
}

/// The bytes of a message with handles: the length of the manifest (8 bytes), the manifest, and the value.
pub(in crate::messages) fn join(encoded: &EncodedMessage) -> Vec<u8> {
    [&(encoded.manifest.len() as u64).to_ne_bytes()[..], &encoded.manifest, &encoded.bytes].concat()
}
