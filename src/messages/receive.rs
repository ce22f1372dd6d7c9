//! Receiving messages from a ring.
//!
//! [`MessageRing::next`] locks the head and copies the record. The caller then copies the bytes as the record says, and
//! ends with [`MessageRing::take`], which commits. The caller's *claim* runs last, under the head's lock, before the
//! head moves. After an error the message stays in the ring.
#![allow(unsafe_code)] // bytes in shared memory

use super::message_ring::MessageRing;
use super::payload::copy_out;
use super::record::{Flags, INLINE_BYTES, Record, RecordKind};
use crate::ring::{KeptPopping, Peers, Popping, RingError, WaitFor};
use crate::sync::Timeout;
use std::ptr::NonNull;

/// Called with the bytes of a message with handles, before the message is taken. An error leaves it in the ring.
pub(super) type BeforeTake<'a> = &'a mut dyn FnMut(&[u8]) -> Result<(), RingError>;
/// Called with the bytes of a message last of all, while no other thread can take it.
pub(super) type Claim<'a> = &'a mut dyn FnMut(&[u8], Flags);

impl MessageRing {
    /// Waits until there is a message.
    #[inline]
    pub(crate) fn wait_for_message(&self, timeout: Timeout, peers: &dyn Fn() -> Peers) -> Result<(), RingError> {
        if self.has_messages() {
            return Ok(());
        }
        self.ring.wait(WaitFor::Items, timeout, &|| self.has_messages(), peers)
    }

    /// Begins the pop of the next message and copies its record; waits for one. The message stays until the pop is
    /// committed.
    #[inline(always)]
    pub(super) fn next(
        &self,
        record: &mut Record,
        timeout: Timeout,
        peers: &dyn Fn() -> Peers,
    ) -> Result<Popping<'_>, RingError> {
        loop {
            self.wait_for_message(timeout, peers)?;
            let popping = self.ring.begin_pop(timeout)?;
            let error = match popping.read(0, record) {
                Ok(true) => return Ok(popping),
                Ok(false) => RingError::NotNow,
                Err(error) => error,
            };
            match popping.fail(error) {
                RingError::NotNow => {}
                error => return Err(error),
            }
        }
    }

    /// Receives a message; waits for one. Unless it is inline, its bytes are put into `buffer`, which is emptied
    /// before. A message of more than `most` bytes stays.
    pub(super) fn receive(
        &self,
        timeout: Timeout,
        most: usize,
        buffer: &mut Vec<u8>,
        before: BeforeTake<'_>,
        peers: &dyn Fn() -> Peers,
    ) -> Result<Record, RingError> {
        let mut record = Record::default();
        let popping = self.next(&mut record, timeout, peers)?;
        self.receive_found(popping, &record, most, buffer, before, &mut |_, _| ())?;
        Ok(record)
    }

    /// [`MessageRing::receive`] for a message that was found.
    pub(super) fn receive_found(
        &self,
        popping: Popping<'_>,
        record: &Record,
        most: usize,
        buffer: &mut Vec<u8>,
        before: BeforeTake<'_>,
        claim: Claim<'_>,
    ) -> Result<(), RingError> {
        let mut popping = popping;
        self.read(record, most, buffer)?;
        if record.flags().has_handles() {
            let kept = popping.keep(); // `before` takes other locks
            let result = before(record.bytes_or(buffer));
            popping = kept.resume();
            result?;
        }
        claim(record.bytes_or(buffer), record.flags());
        self.take(popping, record);
        Ok(())
    }

    /// Receives inline messages without handles: at most `most`, as long as the next message is one and `accept`
    /// returns true. The program's code may run in `accept`, so the lock is kept like a guard's meanwhile. What is not
    /// accepted stays.
    pub(crate) fn receive_short(
        &self,
        most: usize,
        accept: &mut dyn FnMut(&Record) -> bool,
    ) -> Result<usize, RingError> {
        /// Completes the pop also if `accept` panics. Then all messages stay.
        struct Batch<'a>(Option<KeptPopping<'a>>, u32);
        impl Drop for Batch<'_> {
            fn drop(&mut self) {
                if let Some(popping) = self.0.take().map(KeptPopping::resume)
                    && self.1 != 0
                {
                    popping.finish(self.1);
                }
            }
        }
        let mut records = Vec::new();
        let popping = self.ring.begin_pop(Timeout::Never)?;
        while records.len() < most.min(256) {
            match self.record_at(&popping, records.len() as u64)? {
                Some(record) if record.is_plain() => records.push(record),
                _ => break,
            }
        }
        let mut batch = Batch(Some(popping.keep()), 0);
        let taken = records.iter().take_while(|record| accept(record)).count();
        batch.1 = taken as u32;
        drop(batch);
        self.shrink_if_empty();
        Ok(taken)
    }

    /// The record that is `offset` after the next one, if there is one.
    #[inline(always)]
    pub(crate) fn record_at(&self, popping: &Popping<'_>, offset: u64) -> Result<Option<Record>, RingError> {
        let mut record = Record::default();
        Ok(popping.read(offset, &mut record)?.then_some(record))
    }

    /// Copies the bytes of a buffered message into the front of `buffer`. Returns their number.
    pub(super) fn copy_buffered(&self, record: &Record, buffer: &mut [u8]) -> Result<usize, RingError> {
        let from = self.payload.locate(&self.ring, record)?;
        let length = record.length() as usize; // at most a buffer's size, by `locate`
        if length > buffer.len() {
            return Err(RingError::TooShort(length));
        }
        // SAFETY: `locate` checked that the bytes are in the buffer of their level (payload-P2). `buffer` has room for
        // them.
        unsafe { copy_out(from, buffer.as_mut_ptr(), length) };
        Ok(length)
    }

    /// Copies the bytes of a message into `buffer`, which is emptied before, unless it is inline.
    pub(crate) fn read(&self, record: &Record, most: usize, buffer: &mut Vec<u8>) -> Result<(), RingError> {
        buffer.clear();
        let (length, from) = self.find(record)?;
        if length > most { Err(RingError::TooShort(length)) } else { self.copy(record, from, length, buffer) }
    }

    /// Receives the next message, if there is one, but only its first `most` bytes, unless it is inline.
    #[cold]
    pub(super) fn receive_front(
        &self,
        most: usize,
        buffer: &mut Vec<u8>,
        peers: &dyn Fn() -> Peers,
    ) -> Result<Record, RingError> {
        let mut record = Record::default();
        let popping = self.next(&mut record, Timeout::Now, peers)?;
        buffer.clear();
        let (length, from) = self.find(&record)?;
        self.copy(&record, from, length.min(most), buffer)?;
        self.take(popping, &record);
        Ok(record)
    }

    /// The number of bytes of a message, and their address if they are buffered.
    fn find(&self, record: &Record) -> Result<(usize, Option<NonNull<u8>>), RingError> {
        let length = usize::try_from(record.length()).map_err(|_| RingError::Corrupt)?;
        let kind = record.kind().ok_or(RingError::Corrupt)?;
        if kind == RecordKind::Inline && length > INLINE_BYTES {
            return Err(RingError::Corrupt);
        }
        // The record may claim any length. There are no more bytes than allocated memory.
        if kind == RecordKind::Spilled && record.length() > self.segment()?.allocated_bytes() {
            return Err(RingError::Corrupt);
        }
        let from = if kind == RecordKind::Buffered { Some(self.payload.locate(&self.ring, record)?) } else { None };
        Ok((length, from))
    }

    /// Copies the first `length` bytes of a message that was found. It has at least that many.
    fn copy(
        &self,
        record: &Record,
        from: Option<NonNull<u8>>,
        length: usize,
        buffer: &mut Vec<u8>,
    ) -> Result<(), RingError> {
        if record.is_inline() {
            return Ok(());
        }
        buffer.try_reserve_exact(length).map_err(|_| RingError::NoSpace)?;
        match from {
            Some(from) => {
                // SAFETY: `locate` checked that the bytes are in the buffer of their level (payload-P2). `buffer` has
                // the capacity, and all of its first `length` bytes are written.
                unsafe {
                    copy_out(from, buffer.as_mut_ptr(), length);
                    buffer.set_len(length);
                }
            }
            None => {
                buffer.resize(length, 0);
                if !self.segment()?.read_spill(self.index, record.position(), buffer)? {
                    return Err(RingError::Truncated);
                }
            }
        }
        Ok(())
    }

    /// Finds the next message, which stays, and keeps the head's lock; waits for one. Returns the address of its bytes,
    /// or copies them into `buffer`.
    pub(crate) fn peek(
        &self,
        timeout: Timeout,
        buffer: &mut Vec<u8>,
        peers: &dyn Fn() -> Peers,
    ) -> Result<(Popping<'_>, Record, Option<NonNull<u8>>), RingError> {
        let mut record = Record::default();
        let popping = self.next(&mut record, timeout, peers)?;
        let at = match record.kind() {
            Some(RecordKind::Buffered) => Some(self.payload.locate(&self.ring, &record)?),
            _ => {
                self.read(&record, usize::MAX, buffer)?;
                None
            }
        };
        Ok((popping, record, at))
    }
}

/// Copies bytes into the front of `buffer`. Returns their number.
pub(super) fn copy_front(bytes: &[u8], buffer: &mut [u8]) -> Result<usize, RingError> {
    let front = buffer.get_mut(..bytes.len()).ok_or(RingError::TooShort(bytes.len()))?;
    front.copy_from_slice(bytes);
    Ok(bytes.len())
}
