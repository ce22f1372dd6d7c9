//! Sending and receiving values.

use super::codec::{
    Buffer, Encoded, FdsBySegment, Incoming, Lack, SendFailure, decode, decode_to, discard, encode, join,
    missing_segments, value_of, with_handles,
};
use super::message_ring::MessageRing;
use super::receive::copy_front;
use super::record::{Flags, Record, RecordKind};
use crate::ring::{Peers, Popping, RingError};
use crate::segment::transfer::{EncodedMessage, InFlightGuard, ReceivedMessage};
use crate::sync::Timeout;
use crate::{CodecError, SegmentError};
use serde::Serialize;
use serde::de::DeserializeOwned;

impl MessageRing {
    /// Encodes a value and sends it; waits for room.
    #[inline]
    pub(crate) fn send_value<T: Serialize + ?Sized>(
        &self,
        value: &T,
        timeout: Timeout,
        peers: &dyn Fn() -> Peers,
    ) -> Result<(), SendFailure> {
        let mut record = Record::default();
        match encode(value, &mut record)? {
            None => Ok(self.send_short(&record, timeout, peers)?),
            Some(encoded) => self.send_encoded(encoded, timeout, peers),
        }
    }

    /// [`MessageRing::send_value`] for a sender that keeps the handles in the value until the receiver has taken them.
    pub(crate) fn send_and_keep<T: Serialize + ?Sized>(
        &self,
        value: &T,
        timeout: Timeout,
        peers: &dyn Fn() -> Peers,
    ) -> Result<Option<InFlightGuard>, SendFailure> {
        let mut record = Record::default();
        match encode(value, &mut record)? {
            None => self.send_short(&record, timeout, peers).map(|()| None).map_err(SendFailure::from),
            Some(mut encoded) => {
                let guard = encoded.keep_handles()?;
                self.send_encoded(encoded, timeout, peers)?;
                Ok(guard)
            }
        }
    }

    /// Sends an encoded value; waits for room.
    #[inline(never)]
    pub(crate) fn send_encoded(
        &self,
        encoded: Encoded,
        timeout: Timeout,
        peers: &dyn Fn() -> Peers,
    ) -> Result<(), SendFailure> {
        match encoded {
            Encoded::Long(mut buffer) => {
                self.send(buffer.bytes(), Flags::default(), timeout, peers)?;
                Ok(())
            }
            Encoded::WithHandles(encoded) => self.send_with_handles(*encoded, timeout, peers),
        }
    }

    #[cold]
    fn send_with_handles(
        &self,
        encoded: EncodedMessage,
        timeout: Timeout,
        peers: &dyn Fn() -> Peers,
    ) -> Result<(), SendFailure> {
        let bytes = join(&encoded);
        loop {
            let sent = self.with_fd_store(|mut store| {
                for (segment, fds) in encoded.fds_by_segment() {
                    store.put(self.index(), segment, fds)?;
                }
                // Without waiting: receivers need the store to make room.
                let sent = self.send(&bytes, Flags::HANDLES, Timeout::Now, peers);
                store.sent(sent.ok());
                Ok(sent)
            });
            match sent {
                Ok(Ok(_)) => {
                    encoded.delivered();
                    return Ok(());
                }
                Ok(Err(RingError::NotNow)) if !matches!(timeout, Timeout::Now) => {
                    self.wait_for_room(bytes.len(), timeout, peers)?;
                }
                Ok(Err(error)) => return Err(error.into()),
                Err(SegmentError::NoSpace) => return Err(RingError::NoSpace.into()),
                Err(error) => return Err(CodecError::new(error).into()),
            }
        }
    }

    /// Receives a value; waits for one.
    #[inline]
    pub(crate) fn receive_value<T: DeserializeOwned>(
        &self,
        to: &mut Option<T>,
        timeout: Timeout,
        peers: &dyn Fn() -> Peers,
    ) -> Result<(), SendFailure> {
        let mut record = Record::default();
        let popping = self.next(&mut record, timeout, peers)?;
        if !record.is_plain() {
            *to = Some(self.receive_long_value(popping, &record)?);
            return Ok(());
        }
        popping.finish(1);
        self.shrink_if_empty();
        Ok(decode_to(record.bytes(), to)?)
    }

    /// Receives a value that was found and is not inline, or has handles.
    #[inline(never)]
    fn receive_long_value<T: DeserializeOwned>(&self, popping: Popping<'_>, record: &Record) -> Result<T, SendFailure> {
        let (mut buffer, mut fds) = (Buffer::new(), Vec::new());
        let mut before = |bytes: &[u8]| self.find_descriptors(bytes, &mut fds);
        self.receive_found(popping, record, usize::MAX, buffer.bytes(), &mut before, &mut |_, _| ())?;
        let bytes = record.bytes_or(buffer.bytes());
        match record.flags().has_handles() {
            false => Ok(decode(bytes)?),
            true => Ok(self.decode_with_handles(bytes, fds)?),
        }
    }

    #[cold]
    fn decode_with_handles<T: DeserializeOwned>(&self, bytes: &[u8], fds: FdsBySegment) -> Result<T, CodecError> {
        let value = with_handles(bytes, fds).and_then(ReceivedMessage::decode);
        self.tidy_fd_store(); // the message was taken, and its handles are attached
        value
    }

    /// Receives inline values without handles, as long as there are some and they can be decoded: at most `most`.
    pub(crate) fn receive_values<T: DeserializeOwned>(
        &self,
        most: usize,
        values: &mut Vec<T>,
    ) -> Result<usize, RingError> {
        self.receive_short(most, &mut |record| decode(record.bytes()).map(|value| values.push(value)).is_ok())
    }

    /// Receives a message to decode later; waits for one. `claim` is called with its value last of all, while no other
    /// thread can take the message. After a message with handles was decoded, [`MessageRing::tidy_fd_store`] follows.
    pub(crate) fn receive_incoming(
        &self,
        timeout: Timeout,
        claim: &mut dyn FnMut(&[u8]),
        peers: &dyn Fn() -> Peers,
    ) -> Result<Incoming, RingError> {
        let (mut record, mut bytes, mut fds) = (Record::default(), Vec::new(), Vec::new());
        let mut before = |bytes: &[u8]| self.find_descriptors(bytes, &mut fds);
        let mut claim = |bytes: &[u8], flags: Flags| claim(value_of(bytes, flags));
        let popping = self.next(&mut record, timeout, peers)?;
        self.receive_found(popping, &record, usize::MAX, &mut bytes, &mut before, &mut claim)?;
        Ok(Incoming::new(record, bytes, fds, None))
    }

    /// Receives the next message, if there is one, as far as memory and descriptors allow.
    #[cold]
    pub(crate) fn receive_in_part(&self, peers: &dyn Fn() -> Peers) -> Result<Incoming, RingError> {
        const FRONT: usize = 4096;
        let (mut bytes, mut fds, mut lack) = (Vec::new(), Vec::new(), None);
        let mut before = |bytes: &[u8]| {
            lack = self.find_descriptors(bytes, &mut fds).err().map(|_| Lack::Descriptors);
            Ok(())
        };
        let record = match self.receive(Timeout::Now, usize::MAX, &mut bytes, &mut before, peers) {
            Err(RingError::NoSpace) => {
                lack = Some(Lack::Memory);
                self.receive_front(FRONT, &mut bytes, peers)?
            }
            whole => whole?,
        };
        Ok(Incoming::new(record, bytes, fds, lack))
    }

    /// Finds the file descriptors that a message with handles needs. The message is still in the ring.
    #[cold]
    pub(crate) fn find_descriptors(&self, bytes: &[u8], fds: &mut FdsBySegment) -> Result<(), RingError> {
        if let Some(segments) = missing_segments(bytes).filter(|segments| !segments.is_empty()) {
            *fds = self.with_fd_store(|store| Ok(store.find(&segments)?))?;
        }
        Ok(())
    }

    /// Receives the bytes of a message of any kind; waits for one. Handles in it are released. A message of more than
    /// `most` bytes stays.
    pub(crate) fn receive_bytes(
        &self,
        most: usize,
        timeout: Timeout,
        peers: &dyn Fn() -> Peers,
    ) -> Result<Vec<u8>, RingError> {
        let mut record = Record::default();
        let popping = self.next(&mut record, timeout, peers)?;
        self.receive_found_bytes(popping, &record, most)
    }

    /// Receives the bytes of a message of any kind into the front of `buffer`; waits for one. Returns their number.
    pub(crate) fn receive_bytes_into(
        &self,
        buffer: &mut [u8],
        timeout: Timeout,
        peers: &dyn Fn() -> Peers,
    ) -> Result<usize, RingError> {
        let mut record = Record::default();
        let popping = self.next(&mut record, timeout, peers)?;
        let length = match record.kind() {
            // Not all bytes of a message with handles are its value's, and a spilled one is read by the system.
            Some(RecordKind::Inline) if !record.flags().has_handles() => copy_front(record.bytes(), buffer)?,
            Some(RecordKind::Buffered) if !record.flags().has_handles() => self.copy_buffered(&record, buffer)?,
            _ => return copy_front(&self.receive_found_bytes(popping, &record, buffer.len())?, buffer),
        };
        self.take(popping, &record);
        Ok(length)
    }

    /// [`MessageRing::receive_bytes`] for a message that was found.
    fn receive_found_bytes(&self, popping: Popping<'_>, record: &Record, most: usize) -> Result<Vec<u8>, RingError> {
        let (mut bytes, mut fds) = (Vec::new(), Vec::new());
        let mut before = |bytes: &[u8]| self.find_descriptors(bytes, &mut fds);
        self.receive_found(popping, record, most, &mut bytes, &mut before, &mut |_, _| ())?;
        if record.is_inline() {
            bytes.extend_from_slice(record.bytes());
        }
        Ok(if record.flags().has_handles() { discard(&bytes, fds) } else { bytes })
    }

    /// Receives all messages and releases the handles in them: no holder is left that could receive them.
    #[cold]
    pub(crate) fn discard_all(&self) {
        // Not more than there are now: others may send all the time.
        for _ in 0..self.len() {
            if self.receive_bytes(usize::MAX, Timeout::Now, &|| Peers::Unknown).is_err() {
                return;
            }
        }
    }
}
