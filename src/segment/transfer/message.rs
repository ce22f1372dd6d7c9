//! Encoded and received messages.

use super::manifest::{ExportedHandles, Manifest, Origin, ReceivedHandles, SegmentDescriptor, read_manifest};
use super::scope::{Direction, NO_SCOPE, run_in_scope};
use crate::CodecError;
use crate::segment::arena::allocator;
use crate::sys::memory::SealedFile;
use crate::sys::{Fd, process_id, watcher};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Keeps the handles of a message in flight until it is dropped, whatever happens to the message and its receiver. For
/// a sender that is notified when the message was read: a receiver that dies while it reads cannot lose the handles.
pub(crate) struct InFlightGuard {
    exported: ExportedHandles,
    /// Process that made the guard. The copy in a fork child counts nothing.
    owner: process_id::ProcessId,
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        if self.owner != process_id::ProcessId::current() {
            return self.exported.in_flight.clear();
        }
        drop(std::mem::take(&mut self.exported));
        watcher::advance(); // a sleeping waiter may depend on one of them
    }
}

/// A message that is ready to be sent. If it is dropped before [`EncodedMessage::delivered`], its handles are
/// uncounted.
pub(crate) struct EncodedMessage {
    pub(crate) bytes: Vec<u8>,
    /// Encoded list of the segments and handles in the message.
    pub(crate) manifest: Vec<u8>,
    pub(crate) fds: Vec<Fd>,
    /// Segments that the descriptors belong to, and the number of each.
    fd_counts: Vec<(u128, usize)>,
    exported: ExportedHandles,
}

/// A message that was received and is not decoded yet.
pub(crate) struct ReceivedMessage {
    pub(crate) bytes: MessageBytes,
    pub(crate) manifest: Vec<u8>,
    pub(crate) fds: Vec<Fd>,
    /// Called when this process has all handles, before any of them is uncounted in the message: for a sender that
    /// takes back the handles of a message that was not taken.
    pub(crate) taken: Option<fn()>,
}

/// Bytes of a message. Long ones are in a sealed memory file that no process can write to any more.
pub(crate) enum MessageBytes {
    Inline(Vec<u8>),
    /// The bytes start at this offset.
    Sealed(SealedFile, usize),
}

/// Encodes a message.
pub(crate) fn encode<T: Serialize + ?Sized>(message: &T) -> Result<EncodedMessage, CodecError> {
    let (bytes, direction) =
        run_in_scope(Direction::Encoding(ExportedHandles::default()), || postcard::to_stdvec(message))?;
    let Direction::Encoding(exported) = direction else { return Err(CodecError::new(NO_SCOPE)) };
    let (manifest, fds, fd_counts) = exported.list().map_err(CodecError::new)?;
    let manifest = postcard::to_stdvec(&manifest).map_err(CodecError::new)?;
    Ok(EncodedMessage { bytes, manifest, fds, fd_counts, exported })
}

/// Returns the segments whose descriptors this process needs before it can decode a message with this manifest.
pub(crate) fn missing_segments(manifest: &[u8]) -> Result<Vec<u128>, CodecError> {
    let manifest: Manifest = read_manifest(manifest)?;
    let mut allocator = allocator::lock();
    let needs = |descriptor: &SegmentDescriptor| {
        !matches!(descriptor.from, Origin::Host { .. }) && allocator.location(descriptor.segment, 0).is_none()
    };
    Ok(manifest.segments.into_iter().filter(needs).map(|descriptor| descriptor.segment).collect())
}

impl EncodedMessage {
    /// Returns the descriptors, by segment.
    pub(crate) fn fds_by_segment(&self) -> impl Iterator<Item = (u128, &[Fd])> {
        let mut rest = self.fds.as_slice();
        self.fd_counts.iter().map(move |(segment, count)| {
            let (own, others) = rest.split_at((*count).min(rest.len()));
            rest = others;
            (*segment, own)
        })
    }

    /// Moves the handles from the message into a guard of the sender. The receiver does not uncount them.
    pub(crate) fn keep_in_flight(&mut self) -> Result<InFlightGuard, CodecError> {
        let manifest = Manifest { in_flight: Vec::new(), ..read_manifest(&self.manifest)? };
        self.manifest = postcard::to_stdvec(&manifest).map_err(CodecError::new)?;
        Ok(InFlightGuard { exported: std::mem::take(&mut self.exported), owner: process_id::ProcessId::current() })
    }

    /// Marks the message as sent for good: its handles belong to the receiver.
    pub(crate) fn delivered(mut self) {
        self.exported.in_flight.clear();
    }
}

impl MessageBytes {
    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            MessageBytes::Inline(bytes) => bytes,
            MessageBytes::Sealed(letter, from) => letter.bytes().get(*from..).unwrap_or(&[]),
        }
    }
}

impl ReceivedMessage {
    /// Makes a message from bytes, manifest, and descriptors by segment.
    pub(crate) fn with(bytes: Vec<u8>, manifest: Vec<u8>, found: Vec<(u128, Vec<Fd>)>) -> Result<Self, CodecError> {
        let mut found = found;
        let mut parsed = read_manifest(&manifest)?;
        let mut fds = Vec::new();
        // Descriptors of segments that this process has already were not requested.
        parsed.segments.retain(|descriptor| {
            match found.iter().position(|(segment, _)| *segment == descriptor.segment) {
                Some(at) => {
                    fds.extend(found.swap_remove(at).1);
                    true
                }
                None => matches!(descriptor.from, Origin::Host { .. }),
            }
        });
        let manifest = postcard::to_stdvec(&parsed).map_err(CodecError::new)?;
        Ok(ReceivedMessage { bytes: MessageBytes::Inline(bytes), manifest, fds, taken: None })
    }

    /// Decodes the message and attaches its handles.
    pub(crate) fn decode<T: DeserializeOwned>(self) -> Result<T, CodecError> {
        if let Some(taken) = self.taken {
            let manifest = self.manifest.clone();
            let message = ReceivedMessage { taken: None, ..self }.decode_keeping_handles();
            taken();
            ReceivedMessage { bytes: MessageBytes::Inline(Vec::new()), manifest, fds: Vec::new(), taken: None }
                .discard();
            return message;
        }
        let (bytes, received) = self.open()?;
        decode_bytes(&bytes, received)
    }

    /// Decodes a message that may be decoded again. Its handles stay in flight.
    pub(crate) fn decode_keeping_handles<T: DeserializeOwned>(self) -> Result<T, CodecError> {
        let (bytes, mut received) = self.open()?;
        received.in_flight.clear();
        decode_bytes(&bytes, received)
    }

    /// Drops the message and uncounts its handles.
    pub(crate) fn discard(self) {
        drop(self.open());
    }

    fn open(self) -> Result<(MessageBytes, ReceivedHandles), CodecError> {
        let manifest = read_manifest(&self.manifest)?;
        Ok((self.bytes, ReceivedHandles::new(manifest, self.fds)))
    }
}

fn decode_bytes<T: DeserializeOwned>(bytes: &MessageBytes, received: ReceivedHandles) -> Result<T, CodecError> {
    let bytes = bytes.as_slice();
    let ((message, rest), _) = run_in_scope(Direction::Decoding(received), || postcard::take_from_bytes(bytes))?;
    match rest {
        [] => Ok(message),
        _ => Err(CodecError::new(format!("{} bytes after the end of the message", rest.len()))),
    }
}
