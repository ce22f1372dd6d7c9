//! Sending messages into a ring.
#![allow(unsafe_code)] // bytes in shared memory

use super::message_ring::MessageRing;
use super::payload::copy_in;
use super::record::{Allocation, Flags, INLINE_BYTES, Record};
use crate::ring::{Peers, Pushing, RingError, WaitFor};
use crate::sync::Timeout;

impl MessageRing {
    /// Sends a message; waits for room. Returns its number.
    #[inline]
    pub(crate) fn send(
        &self,
        message: &[u8],
        flags: Flags,
        timeout: Timeout,
        peers: &dyn Fn() -> Peers,
    ) -> Result<u64, RingError> {
        loop {
            match self.try_send(message, flags, timeout) {
                Err(RingError::NotNow) => self.wait_for_room(message.len(), timeout, peers)?,
                result => return result,
            }
        }
    }

    #[inline]
    fn try_send(&self, message: &[u8], flags: Flags, timeout: Timeout) -> Result<u64, RingError> {
        let mut pushing = self.ring.begin_push(timeout)?;
        let number = pushing.number();
        pushing.room()?;
        let record = self.record_of(message, flags)?;
        self.commit(pushing, &record)?;
        Ok(number)
    }

    /// Sends one inline message; waits for room.
    #[inline]
    pub(crate) fn send_short(
        &self,
        record: &Record,
        timeout: Timeout,
        peers: &dyn Fn() -> Peers,
    ) -> Result<(), RingError> {
        self.send_many(std::slice::from_ref(record), timeout, peers).map(drop)
    }

    /// Sends the first of some inline messages, as many as there is room for; waits for room for one. Returns their
    /// number.
    #[inline]
    pub(crate) fn send_many(
        &self,
        records: &[Record],
        timeout: Timeout,
        peers: &dyn Fn() -> Peers,
    ) -> Result<usize, RingError> {
        loop {
            let mut pushing = self.ring.begin_push(timeout)?;
            let written = pushing.room().and_then(|room| {
                let count = records.len().min(room as usize);
                (0..count).try_for_each(|i| pushing.write(&records[i], i as u64)).map(|()| count)
            });
            match written {
                Ok(count) => {
                    pushing.finish(count as u32);
                    return Ok(count);
                }
                Err(error) => match pushing.fail(error) {
                    RingError::NotNow => self.wait_for_room(0, timeout, peers)?,
                    error => return Err(error),
                },
            }
        }
    }

    /// The record of a message. The bytes of a long one are written. Under the tail's lock.
    #[inline(always)]
    fn record_of(&self, message: &[u8], flags: Flags) -> Result<Record, RingError> {
        match message.len() {
            0..=INLINE_BYTES => Ok(Record::inline(message, flags)),
            _ => self.write_payload(message, flags),
        }
    }

    fn write_payload(&self, message: &[u8], flags: Flags) -> Result<Record, RingError> {
        let allocation = self.payload.allocate(&self.ring, message.len())?;
        match allocation {
            // SAFETY: `allocate` found room for the message, rounded up to words, at a position that is a multiple of
            // 8.
            Allocation::Buffered { at, .. } => unsafe { copy_in(at, message) },
            Allocation::Spilled { position } => {
                let written = self.segment()?.write_spill(self.index, position, message);
                written.inspect_err(|_| self.payload.discard_spill(&self.ring, position, message.len()))?;
            }
        }
        self.payload.count_written(allocation, message.len());
        Ok(Record::allocated(allocation, message.len(), flags))
    }

    /// Waits until there seems to be room for a message of `length` bytes.
    #[cold]
    pub(super) fn wait_for_room(
        &self,
        length: usize,
        timeout: Timeout,
        peers: &dyn Fn() -> Peers,
    ) -> Result<(), RingError> {
        let ready = || self.ring.has_room() && (length <= INLINE_BYTES || self.payload.fits(&self.ring, length));
        self.ring.wait(WaitFor::Room, timeout, &ready, peers)
    }

    /// Finds room for a message that is written in place; waits for it. Returns no allocation for an inline message.
    pub(crate) fn reserve(
        &self,
        length: usize,
        timeout: Timeout,
        peers: &dyn Fn() -> Peers,
    ) -> Result<(Pushing<'_>, Option<Allocation>), RingError> {
        loop {
            let mut pushing = self.ring.begin_push(timeout)?;
            let allocation = pushing.room().and_then(|_| match length {
                0..=INLINE_BYTES => Ok(None),
                _ => self.payload.allocate(&self.ring, length).map(Some),
            });
            match allocation {
                Ok(allocation) => return Ok((pushing, allocation)),
                Err(error) => match pushing.fail(error) {
                    RingError::NotNow => self.wait_for_room(length, timeout, peers)?,
                    error => return Err(error),
                },
            }
        }
    }

    /// Sends a message that was written in place.
    pub(crate) fn send_reserved(
        &self,
        pushing: Pushing<'_>,
        allocation: Allocation,
        length: usize,
    ) -> Result<(), RingError> {
        self.payload.count_written(allocation, length);
        self.commit(pushing, &Record::allocated(allocation, length, Flags::default()))
    }

    /// Sends a message for which room was reserved, and which was written elsewhere.
    pub(crate) fn send_from(&self, pushing: Pushing<'_>, message: &[u8]) -> Result<(), RingError> {
        let record = self.record_of(message, Flags::default())?;
        self.commit(pushing, &record)
    }

    #[inline(always)]
    fn commit(&self, pushing: Pushing<'_>, record: &Record) -> Result<(), RingError> {
        pushing.write(record, 0)?;
        pushing.finish(1);
        Ok(())
    }
}
