//! Encoded and received messages.

use super::manifest::{Arrivals, ExportedHandles, Manifest, Origin, SegmentDescriptor, read_manifest};
use super::scope::{NOT_TRAVELLING, Side, travelling};
use crate::CodecError;
use crate::segment::arena::allocator;
use crate::sys::memory::Letter;
use crate::sys::{Fd, process_id, watcher};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The handles of a message count as on their way until this is dropped, whatever becomes of the message and of who reads it.
/// For a sender who knows when it has been read: who dies while it reads takes nothing along.
pub(crate) struct InFlightGuard {
    luggage: ExportedHandles,
    /// A fork child has a copy, which counts for nothing.
    owner: process_id::ProcessId,
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        if self.owner != process_id::ProcessId::current() {
            return self.luggage.flights.clear();
        }
        drop(std::mem::take(&mut self.luggage));
        watcher::tell(); // who sleeps may have waited for one of them
    }
}

/// A message that is ready to go, whatever carries it. Dropped before [`EncodedMessage::delivered`], it takes its handles back.
pub(crate) struct EncodedMessage {
    pub(crate) bytes: Vec<u8>,
    /// Which descriptor is what, and which handles are in the message.
    pub(crate) manifest: Vec<u8>,
    pub(crate) fds: Vec<Fd>,
    /// Which segments they are of, and how many each has.
    parcels: Vec<(u128, usize)>,
    luggage: ExportedHandles,
}

/// A message as it came.
pub(crate) struct ReceivedMessage {
    pub(crate) bytes: Bytes,
    pub(crate) manifest: Vec<u8>,
    pub(crate) fds: Vec<Fd>,
    /// Run when all its handles are this process's, before any of them counts as on its way no more: for a sender who takes
    /// back what was not taken.
    pub(crate) taken: Option<fn()>,
}

/// The bytes of a message: long ones come in memory of their own, which nobody can write any more.
pub(crate) enum Bytes {
    Here(Vec<u8>),
    /// From that byte on.
    Letter(Letter, usize),
}

/// Encodes a message.
pub(crate) fn pack<T: Serialize + ?Sized>(message: &T) -> Result<EncodedMessage, CodecError> {
    let (bytes, side) = travelling(Side::Out(ExportedHandles::default()), || postcard::to_stdvec(message))?;
    let Side::Out(luggage) = side else { return Err(CodecError(NOT_TRAVELLING.into())) };
    let (manifest, fds, parcels) = luggage.list().map_err(|error| CodecError(error.to_string()))?;
    let manifest = postcard::to_stdvec(&manifest).map_err(|error| CodecError(error.to_string()))?;
    Ok(EncodedMessage { bytes, manifest, fds, parcels, luggage })
}

/// The segments of which this process needs the descriptors before it can read a message with this list of handles.
pub(crate) fn wanted(manifest: &[u8]) -> Result<Vec<u128>, CodecError> {
    let manifest: Manifest = read_manifest(manifest)?;
    let mut heap = allocator::lock();
    let needs = |label: &SegmentDescriptor| {
        !matches!(label.from, Origin::Host { .. }) && heap.place(label.segment, 0).is_none()
    };
    Ok(manifest.labels.into_iter().filter(needs).map(|label| label.segment).collect())
}

impl EncodedMessage {
    /// The descriptors, by segment.
    pub(crate) fn parcels(&self) -> impl Iterator<Item = (u128, &[Fd])> {
        let mut rest = self.fds.as_slice();
        self.parcels.iter().map(move |(segment, count)| {
            let (own, others) = rest.split_at((*count).min(rest.len()));
            rest = others;
            (*segment, own)
        })
    }

    /// From here on the handles are the sender's to keep: the message says nothing of them.
    pub(crate) fn keep(&mut self) -> Result<InFlightGuard, CodecError> {
        let manifest = Manifest { flights: Vec::new(), ..read_manifest(&self.manifest)? };
        self.manifest = postcard::to_stdvec(&manifest).map_err(|error| CodecError(error.to_string()))?;
        Ok(InFlightGuard { luggage: std::mem::take(&mut self.luggage), owner: process_id::ProcessId::current() })
    }

    /// It is on its way and cannot come back: its handles are the receiver's.
    pub(crate) fn delivered(mut self) {
        self.luggage.flights.clear();
    }
}

impl Bytes {
    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Bytes::Here(bytes) => bytes,
            Bytes::Letter(letter, from) => letter.bytes().get(*from..).unwrap_or(&[]),
        }
    }
}

impl ReceivedMessage {
    /// A message whose descriptors came by themselves, by segment.
    pub(crate) fn with(bytes: Vec<u8>, manifest: Vec<u8>, found: Vec<(u128, Vec<Fd>)>) -> Result<Self, CodecError> {
        let mut found = found;
        let mut parsed = read_manifest(&manifest)?;
        let mut fds = Vec::new();
        // Those of the segments that are here already were not asked for.
        parsed.labels.retain(|label| match found.iter().position(|(segment, _)| *segment == label.segment) {
            Some(at) => {
                fds.extend(found.swap_remove(at).1);
                true
            }
            None => matches!(label.from, Origin::Host { .. }),
        });
        let manifest = postcard::to_stdvec(&parsed).map_err(|error| CodecError(error.to_string()))?;
        Ok(ReceivedMessage { bytes: Bytes::Here(bytes), manifest, fds, taken: None })
    }

    /// Decodes the message and attaches its handles.
    pub(crate) fn unpack<T: DeserializeOwned>(self) -> Result<T, CodecError> {
        if let Some(taken) = self.taken {
            let manifest = self.manifest.clone();
            let message = ReceivedMessage { taken: None, ..self }.unpack_again();
            taken();
            ReceivedMessage { bytes: Bytes::Here(Vec::new()), manifest, fds: Vec::new(), taken: None }.discard();
            return message;
        }
        let (bytes, arrivals) = self.open()?;
        unpack_from(&bytes, arrivals)
    }

    /// The same, of a message that may be read again: its handles stay on their way.
    pub(crate) fn unpack_again<T: DeserializeOwned>(self) -> Result<T, CodecError> {
        let (bytes, mut arrivals) = self.open()?;
        arrivals.flights.clear();
        unpack_from(&bytes, arrivals)
    }

    /// Nobody wants the message: gives up the handles in it.
    pub(crate) fn discard(self) {
        drop(self.open());
    }

    fn open(self) -> Result<(Bytes, Arrivals), CodecError> {
        let manifest = read_manifest(&self.manifest)?;
        Ok((self.bytes, Arrivals::new(manifest, self.fds)))
    }
}

fn unpack_from<T: DeserializeOwned>(bytes: &Bytes, arrivals: Arrivals) -> Result<T, CodecError> {
    let bytes = bytes.as_slice();
    let ((message, rest), _) = travelling(Side::In(arrivals), || postcard::take_from_bytes(bytes))?;
    match rest {
        [] => Ok(message),
        _ => Err(CodecError(format!("{} bytes behind the message", rest.len()))),
    }
}
