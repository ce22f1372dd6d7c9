//! Values as messages: what is short and has no handles in it takes the fast way.

use super::MessageRing;
use super::record::{Flags, Record};
use crate::ring::{Peers, RingError};
use crate::segment::transfer::{self, EncodedMessage, InFlightGuard, ReceivedMessage};
use crate::sync::Timeout;
use crate::{CodecError, SegmentError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::cell::Cell;

thread_local! {
    /// For the bytes of a message on their way in or out, kept so that not each message makes its own.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A buffer that is longer goes back to the system.
const LONGEST_KEPT: usize = 1 << 20;

/// The thread's buffer, for as long as this lives.
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
        if self.0.capacity() <= LONGEST_KEPT {
            self.0.clear();
            let _ = BUFFER.try_with(|buffer| buffer.set(std::mem::take(&mut self.0)));
        }
    }
}

/// A value that is encoded, and does not fit into a note.
pub(crate) enum Encoded {
    Long(Buffer),
    /// With handles in it.
    EncodedMessage(Box<EncodedMessage>),
}

impl Encoded {
    /// How many bytes it has.
    pub(crate) fn length(&self) -> usize {
        match self {
            Encoded::Long(buffer) => buffer.0.len(),
            Encoded::EncodedMessage(packed) => packed.bytes.len(),
        }
    }

    /// The handles in it, if there are any, are the sender's to keep.
    pub(crate) fn keep_handles(&mut self) -> Result<Option<InFlightGuard>, CodecError> {
        match self {
            Encoded::Long(_) => Ok(None),
            Encoded::EncodedMessage(packed) => packed.keep_in_flight().map(Some),
        }
    }
}

/// Why a message was not sent, or not received.
pub(crate) enum SendFailure {
    RingError(RingError),
    Codec(CodecError),
}

impl From<RingError> for SendFailure {
    fn from(stop: RingError) -> Self {
        SendFailure::RingError(stop)
    }
}

impl From<CodecError> for SendFailure {
    fn from(error: CodecError) -> Self {
        SendFailure::Codec(error)
    }
}

/// Encodes a value: into the note, or else what it gives. A handle in it is an error at first, since no message is under way;
/// then it is encoded again as one.
#[inline(always)]
pub(crate) fn encode<T: Serialize + ?Sized>(value: &T, note: &mut Record) -> Result<Option<Encoded>, CodecError> {
    encode_or(value, note, &encode_with_handles)
}

/// The same; with handles in it, as is said.
#[inline(always)]
pub(crate) fn encode_or<T: Serialize + ?Sized>(
    value: &T,
    note: &mut Record,
    with_handles: &dyn Fn(&T) -> Result<Encoded, CodecError>,
) -> Result<Option<Encoded>, CodecError> {
    if transfer::is_in_scope() {
        return with_handles(value).map(Some);
    }
    match postcard::to_slice(value, note.room()) {
        Ok(bytes) => {
            let length = bytes.len();
            note.set_here(length, Flags::default());
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
    transfer::encode(value).map(|packed| Encoded::EncodedMessage(Box::new(packed)))
}

/// Decodes a value without handles, and puts it where it is wanted: each move of it from one `Result` into another would cost
/// as much as the decoding.
#[inline(always)]
fn decode_to<T: DeserializeOwned>(bytes: &[u8], to: &mut Option<T>) -> Result<(), CodecError> {
    let mut decoder = postcard::Deserializer::from_bytes(bytes);
    match T::deserialize(&mut decoder) {
        Ok(value) => *to = Some(value),
        Err(error) => return Err(damaged(&error)),
    }
    match decoder.finalize() {
        Ok([]) => Ok(()),
        Ok(rest) => Err(too_long(rest.len())),
        Err(error) => Err(damaged(&error)),
    }
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    let mut value = None;
    decode_to(bytes, &mut value)?;
    value.ok_or_else(|| too_long(0)) // there is one
}

#[cold]
fn too_long(rest: usize) -> CodecError {
    CodecError::new(format!("{rest} bytes behind the message"))
}

#[cold]
fn damaged(error: &postcard::Error) -> CodecError {
    CodecError::new(error)
}

/// Manifest and message, in one piece: the length of the manifest stands in front.
fn join(packed: &EncodedMessage) -> Vec<u8> {
    [&(packed.manifest.len() as u64).to_ne_bytes()[..], &packed.manifest, &packed.bytes].concat()
}

fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_at_checked(8)?;
    rest.split_at_checked(usize::try_from(u64::from_ne_bytes(length.try_into().ok()?)).ok()?)
}

/// Gives up the handles of a message, and gives its bytes.
fn discard(bytes: &[u8], found: Found) -> Vec<u8> {
    if let Ok(arrived) = arrive(bytes, found) {
        arrived.discard();
    }
    split(bytes).map_or(Vec::new(), |(_, bytes)| bytes.to_vec())
}

fn arrive(bytes: &[u8], found: Found) -> Result<ReceivedMessage, CodecError> {
    let (manifest, bytes) = split(bytes).ok_or_else(|| CodecError::new("a damaged list of handles"))?;
    ReceivedMessage::with(bytes.to_vec(), manifest.to_vec(), found)
}

/// Decodes a message that may be read again: the handles in it stay on their way. `found` are the descriptors that they need.
pub(crate) fn decode_again<T: DeserializeOwned>(bytes: &[u8], flags: Flags, found: Found) -> Result<T, CodecError> {
    match flags.has_handles() {
        false => decode(bytes),
        true => arrive(bytes, found)?.decode_keeping_handles(),
    }
}

/// Nobody will read such a message again, whose handles this process has.
pub(crate) fn land(bytes: &[u8]) {
    discard(bytes, Vec::new());
}

/// A message as it was taken out, to be decoded bit by bit.
pub(crate) struct Incoming {
    note: Record,
    bytes: Vec<u8>,
    found: Found,
    lack: Option<Lack>,
}

/// What this process had not enough of to have a message whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lack {
    /// Of its bytes there are but the first.
    Memory,
    /// Its handles lead to memory that is not here.
    Descriptors,
}

/// The bytes of the value itself, without the list of handles in front.
fn value_of(bytes: &[u8], flags: Flags) -> &[u8] {
    match flags.has_handles() {
        false => bytes,
        true => split(bytes).map_or(&[], |(_, bytes)| bytes),
    }
}

impl Incoming {
    /// A short message without handles.
    pub(crate) fn short(note: Record) -> Self {
        Incoming { note, bytes: Vec::new(), found: Vec::new(), lack: None }
    }

    pub(crate) fn lack(&self) -> Option<Lack> {
        self.lack
    }

    /// It is whole, for which memory or descriptors were needed.
    pub(crate) fn shows_enough(&self) -> bool {
        self.lack.is_none() && !self.note.is_plain()
    }

    pub(crate) fn has_handles(&self) -> bool {
        self.note.flags().has_handles()
    }

    /// The encoded value.
    pub(crate) fn value(&self) -> &[u8] {
        value_of(self.all(), self.note.flags())
    }

    fn all(&self) -> &[u8] {
        if self.note.is_here() { self.note.bytes() } else { &self.bytes }
    }

    /// Decodes it, and attaches its handles.
    pub(crate) fn unpack<T: DeserializeOwned>(self) -> Result<T, CodecError> {
        match self.has_handles() {
            false => decode(self.all()),
            true => arrive(if self.note.is_here() { self.note.bytes() } else { &self.bytes }, self.found)
                .and_then(ReceivedMessage::decode),
        }
    }

    /// Nobody wants it: gives up the handles in it.
    pub(crate) fn discard(self) {
        if self.has_handles() {
            discard(if self.note.is_here() { self.note.bytes() } else { &self.bytes }, self.found);
        }
    }
}

impl MessageRing {
    /// Takes a message out, whatever it is; waits for it. `claim` sees its value while it is still in. Behind one with handles,
    /// once it is decoded: [`tidy_satchel`](Mail::tidy_satchel).
    pub(crate) fn receive_incoming(
        &self,
        patience: Timeout,
        claim: &mut dyn FnMut(&[u8]),
        company: &dyn Fn() -> Peers,
    ) -> Result<Incoming, RingError> {
        let (mut bytes, mut found) = (Vec::new(), Vec::new());
        let mut before = |bytes: &[u8]| self.find_descriptors(bytes, &mut found);
        let mut claim = |bytes: &[u8], flags: Flags| claim(value_of(bytes, flags));
        let note = self.receive_claimed(patience, usize::MAX, &mut bytes, &mut before, &mut claim, company)?;
        Ok(Incoming { note, bytes, found, lack: None })
    }

    /// Takes the next message out, if there is one, as far as it can be had.
    #[cold]
    pub(crate) fn receive_in_part(&self, company: &dyn Fn() -> Peers) -> Result<Incoming, RingError> {
        const FRONT: usize = 4096;
        let (mut bytes, mut found, mut lack) = (Vec::new(), Vec::new(), None);
        let mut before = |bytes: &[u8]| {
            lack = self.find_descriptors(bytes, &mut found).err().map(|_| Lack::Descriptors);
            Ok(())
        };
        let note = match self.receive(Timeout::Now, usize::MAX, &mut bytes, &mut before, company) {
            Err(RingError::NoSpace) => {
                lack = Some(Lack::Memory);
                self.receive_front(FRONT, &mut bytes, company)?
            }
            whole => whole?,
        };
        Ok(Incoming { note, bytes, found, lack })
    }

    /// Encodes a value and sends it; waits for room.
    #[inline]
    pub(crate) fn send_value<T: Serialize + ?Sized>(
        &self,
        value: &T,
        patience: Timeout,
        company: &dyn Fn() -> Peers,
    ) -> Result<(), SendFailure> {
        let mut note = Record::default();
        match encode(value, &mut note)? {
            None => Ok(self.send_short(&note, patience, company)?),
            Some(encoded) => self.send_encoded(encoded, patience, company),
        }
    }

    /// The same; handles in it are the sender's to keep, until it is known that they were taken.
    pub(crate) fn send_and_keep<T: Serialize + ?Sized>(
        &self,
        value: &T,
        patience: Timeout,
        company: &dyn Fn() -> Peers,
    ) -> Result<Option<InFlightGuard>, SendFailure> {
        let mut note = Record::default();
        match encode(value, &mut note)? {
            None => self.send_short(&note, patience, company).map(|()| None).map_err(SendFailure::from),
            Some(mut encoded) => {
                let custody = encoded.keep_handles()?;
                self.send_encoded(encoded, patience, company)?;
                Ok(custody)
            }
        }
    }

    /// Sends what does not fit into a note.
    #[inline(never)]
    pub(crate) fn send_encoded(
        &self,
        encoded: Encoded,
        patience: Timeout,
        company: &dyn Fn() -> Peers,
    ) -> Result<(), SendFailure> {
        match encoded {
            Encoded::Long(mut buffer) => {
                self.send(buffer.bytes(), Flags::default(), patience, company)?;
                Ok(())
            }
            Encoded::EncodedMessage(packed) => self.send_packed(*packed, patience, company),
        }
    }

    #[cold]
    fn send_packed(
        &self,
        packed: EncodedMessage,
        patience: Timeout,
        company: &dyn Fn() -> Peers,
    ) -> Result<(), SendFailure> {
        let bytes = join(&packed);
        loop {
            let sent = self.with_satchel(|mut satchel| {
                for (segment, fds) in packed.fds_by_segment() {
                    satchel.put(self.wing(), segment, fds)?;
                }
                // Without waiting: others need the satchel to make room.
                let sent = self.send(&bytes, Flags::HANDLES, Timeout::Now, company);
                satchel.sent(sent.ok());
                Ok(sent)
            });
            match sent {
                Ok(Ok(_)) => {
                    packed.delivered();
                    return Ok(());
                }
                Ok(Err(RingError::NotNow)) if !matches!(patience, Timeout::Now) => {
                    self.wait_for_room(bytes.len(), patience, company)?;
                }
                Ok(Err(stop)) => return Err(stop.into()),
                Err(SegmentError::NoSpace) => return Err(RingError::NoSpace.into()),
                Err(error) => return Err(CodecError::new(error).into()),
            }
        }
    }

    /// Receives a value; waits for it.
    #[inline]
    pub(crate) fn receive_value<T: DeserializeOwned>(
        &self,
        to: &mut Option<T>,
        patience: Timeout,
        company: &dyn Fn() -> Peers,
    ) -> Result<(), SendFailure> {
        let mut note = Record::default();
        match self.receive_note(&mut note, patience, company)? {
            true => Ok(decode_to(note.bytes(), to)?),
            false => {
                *to = Some(self.receive_long_value(patience, company)?);
                Ok(())
            }
        }
    }

    /// Takes values out that are short, as long as there are some and they can be decoded; at most so many.
    pub(crate) fn receive_values<T: DeserializeOwned>(
        &self,
        most: usize,
        values: &mut Vec<T>,
    ) -> Result<usize, RingError> {
        self.receive_short(most, &mut |note| decode(note.bytes()).map(|value| values.push(value)).is_ok())
    }

    #[inline(never)]
    fn receive_long_value<T: DeserializeOwned>(
        &self,
        patience: Timeout,
        company: &dyn Fn() -> Peers,
    ) -> Result<T, SendFailure> {
        let mut buffer = Buffer::new();
        let mut found = Vec::new();
        let mut before = |bytes: &[u8]| self.find_descriptors(bytes, &mut found);
        let note = self.receive(patience, usize::MAX, buffer.bytes(), &mut before, company)?;
        let bytes = if note.is_here() { note.bytes() } else { &buffer.0 };
        match note.flags().has_handles() {
            false => Ok(decode(bytes)?),
            true => Ok(self.decode_with_handles(bytes, found)?),
        }
    }

    #[cold]
    fn decode_with_handles<T: DeserializeOwned>(&self, bytes: &[u8], found: Found) -> Result<T, CodecError> {
        let value = arrive(bytes, found).and_then(ReceivedMessage::decode);
        self.tidy_satchel(); // the message is out, and what its handles lead to is attached
        value
    }

    #[cold]
    pub(crate) fn tidy_satchel(&self) {
        let _ = self.with_satchel(|satchel| {
            satchel.tidy();
            Ok(())
        });
    }

    /// The descriptors that a message with handles needs, while it is still in.
    #[cold]
    pub(crate) fn find_descriptors(&self, bytes: &[u8], found: &mut Found) -> Result<(), RingError> {
        let Some(wanted) = split(bytes).and_then(|(manifest, _)| transfer::missing_segments(manifest).ok()) else {
            return Ok(()); // to be told when it is decoded
        };
        if !wanted.is_empty() {
            *found = self.with_satchel(|satchel| Ok(satchel.find(&wanted)?))?;
        }
        Ok(())
    }

    /// Takes the bytes of a message out, whatever it is; waits for it. Handles in it are given up.
    pub(crate) fn receive_bytes(
        &self,
        most: usize,
        patience: Timeout,
        company: &dyn Fn() -> Peers,
    ) -> Result<Vec<u8>, RingError> {
        let (mut room, mut found) = (Vec::new(), Vec::new());
        let mut before = |bytes: &[u8]| self.find_descriptors(bytes, &mut found);
        let note = self.receive(patience, most, &mut room, &mut before, company)?;
        if note.is_here() {
            room.extend_from_slice(note.bytes());
        }
        Ok(if note.flags().has_handles() { discard(&room, found) } else { room })
    }

    /// Nobody will receive what is in: its handles are given up.
    #[cold]
    pub(crate) fn discard_all(&self) {
        // As many as there are: others may put more, all the time.
        for _ in 0..self.len() {
            if self.receive_bytes(usize::MAX, Timeout::Now, &|| Peers::Unknown).is_err() {
                return;
            }
        }
    }
}

/// Descriptors by segment.
pub(crate) type Found = Vec<(u128, Vec<crate::sys::Fd>)>;
