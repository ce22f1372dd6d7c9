//! From bytes to values.

use crate::CodecError;
use crate::messages::record::Flags;
use crate::segment::transfer::{self, ReceivedMessage};
use serde::de::DeserializeOwned;

/// File descriptors by the segment that they lead to.
pub(crate) type FdsBySegment = Vec<(u128, Vec<crate::sys::Fd>)>;

/// Decodes a value without handles right into the place where it is wanted. Each move of it from one `Result` into
/// another would cost as much as the decoding.
#[inline(always)]
pub(in crate::messages) fn decode_to<T: DeserializeOwned>(bytes: &[u8], to: &mut Option<T>) -> Result<(), CodecError> {
    let mut decoder = postcard::Deserializer::from_bytes(bytes);
    match T::deserialize(&mut decoder) {
        Ok(value) => *to = Some(value),
        Err(error) => return Err(error.into()),
    }
    match decoder.finalize()? {
        [] => Ok(()),
        rest => Err(too_long(rest.len())),
    }
}

/// Decodes a value without handles.
pub(in crate::messages) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    let mut value = None;
    decode_to(bytes, &mut value)?;
    value.ok_or_else(|| too_long(0)) // `decode_to` has stored one
}

#[cold]
fn too_long(rest: usize) -> CodecError {
    CodecError::new(format!("{rest} extra bytes after the message"))
}

/// The manifest and the value of a message with handles.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_at_checked(8)?;
    rest.split_at_checked(usize::try_from(u64::from_ne_bytes(length.try_into().ok()?)).ok()?)
}

/// The segments that are needed for the handles in a message and are not mapped. `None` if the manifest is damaged:
/// decoding the message returns the error.
pub(in crate::messages) fn missing_segments(bytes: &[u8]) -> Option<Vec<u128>> {
    split(bytes).and_then(|(manifest, _)| transfer::missing_segments(manifest).ok())
}

/// The bytes of the value in a message.
pub(in crate::messages) fn value_of(bytes: &[u8], flags: Flags) -> &[u8] {
    match flags.has_handles() {
        false => bytes,
        true => split(bytes).map_or(&[], |(_, value)| value),
    }
}

/// A message with handles, and the file descriptors that it needs.
pub(in crate::messages) fn with_handles(bytes: &[u8], fds: FdsBySegment) -> Result<ReceivedMessage, CodecError> {
    let (manifest, value) = split(bytes).ok_or_else(|| CodecError::new("the list of handles is damaged"))?;
    ReceivedMessage::with(value.to_vec(), manifest.to_vec(), fds)
}

/// Decodes a message that may be read again: the handles in it stay in flight.
pub(crate) fn decode_keeping_handles<T: DeserializeOwned>(
    bytes: &[u8],
    flags: Flags,
    fds: FdsBySegment,
) -> Result<T, CodecError> {
    match flags.has_handles() {
        false => decode(bytes),
        true => with_handles(bytes, fds)?.decode_keeping_handles(),
    }
}

/// Releases the handles in a message, and returns the bytes of its value.
pub(in crate::messages) fn discard(bytes: &[u8], fds: FdsBySegment) -> Vec<u8> {
    if let Ok(message) = with_handles(bytes, fds) {
        message.discard();
    }
    value_of(bytes, Flags::HANDLES).to_vec()
}

/// Releases the handles in a message that will not be read again. This process has the segments that they are in.
pub(crate) fn release_handles(bytes: &[u8]) {
    discard(bytes, Vec::new());
}
