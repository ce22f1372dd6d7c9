//! Messages into a ring.
#![allow(unsafe_code)] // bytes in shared memory

use super::MessageRing;
use super::payload::{Allocation, copy_in};
use super::record::{Flags, Record, SHORT, SLOT};
use crate::ring::{For, Peers, Pushing, RingError};
use crate::sync::{Timeout, atomic_copy};

impl MessageRing {
    /// Puts a message in; waits for room. Gives its number.
    #[inline]
    pub(crate) fn send(
        &self,
        message: &[u8],
        flags: Flags,
        patience: Timeout,
        company: &dyn Fn() -> Peers,
    ) -> Result<u64, RingError> {
        loop {
            match self.try_send(message, flags, patience) {
                Err(RingError::NotNow) => self.wait_for_room(message.len(), patience, company)?,
                done => return done,
            }
        }
    }

    /// Puts one short message in.
    #[inline]
    pub(crate) fn send_short(
        &self,
        note: &Record,
        patience: Timeout,
        company: &dyn Fn() -> Peers,
    ) -> Result<(), RingError> {
        self.send_many(std::slice::from_ref(note), patience, company).map(drop)
    }

    #[inline]
    fn try_send(&self, message: &[u8], flags: Flags, patience: Timeout) -> Result<u64, RingError> {
        let mut pushing = self.ring.begin_push(SLOT, patience)?;
        let number = pushing.tail;
        let note = pushing.room().and_then(|_| self.compose(message, flags));
        self.send_note(pushing, note).map(|()| number)
    }

    /// Puts short messages in, as many as there is room for: at least one, for which it waits.
    #[inline]
    pub(crate) fn send_many(
        &self,
        notes: &[Record],
        patience: Timeout,
        company: &dyn Fn() -> Peers,
    ) -> Result<usize, RingError> {
        loop {
            let mut pushing = self.ring.begin_push(SLOT, patience)?;
            let put = pushing.room().and_then(|room| {
                let count = notes.len().min(room as usize);
                (0..count).try_for_each(|i| self.commit(&pushing, &notes[i], i as u64)).map(|()| count)
            });
            match put {
                Ok(count) => {
                    pushing.finish(count as u32);
                    return Ok(count);
                }
                Err(stop) => match pushing.fail(stop) {
                    RingError::NotNow => self.wait_for_room(0, patience, company)?,
                    stop => return Err(stop),
                },
            }
        }
    }

    #[inline(always)]
    fn commit(&self, pushing: &Pushing<'_>, note: &Record, offset: u64) -> Result<(), RingError> {
        let stamp = pushing.slot(offset)?;
        // SAFETY: a slot has room for a note behind its stamp.
        unsafe { atomic_copy::store(std::ptr::from_ref(stamp).add(1), std::ptr::from_ref(note).cast(), SLOT) };
        pushing.commit(stamp, offset);
        Ok(())
    }

    /// The note of a message whose bytes are in it, or were written, under the tail's lock.
    #[inline(always)]
    fn compose(&self, message: &[u8], flags: Flags) -> Result<Record, RingError> {
        match message.len() {
            0..=SHORT => Ok(Record::here(message, flags)),
            _ => self.write(message, flags),
        }
    }

    /// Writes the bytes of a long message.
    fn write(&self, message: &[u8], flags: Flags) -> Result<Record, RingError> {
        let spot = self.space.find(&self.ring, message.len())?;
        match spot {
            // SAFETY: `find` has found so much room.
            Allocation::Buffered { at, .. } => unsafe { copy_in(at, message) },
            Allocation::Spilled { place } => {
                let written = self.segment()?.write_spill(self.wing, place, message);
                written.inspect_err(|_| self.space.give_back(&self.ring, place, message.len()))?;
            }
        }
        self.space.count(spot, message.len());
        Ok(Record::elsewhere(spot, message.len(), flags))
    }

    /// Waits until a message of that length seems to have room.
    #[cold]
    pub(super) fn wait_for_room(
        &self,
        length: usize,
        patience: Timeout,
        company: &dyn Fn() -> Peers,
    ) -> Result<(), RingError> {
        let ready = || self.ring.has_room() && (length <= SHORT || self.space.fits(&self.ring, length));
        self.ring.wait(SLOT, For::Room, patience, &self.looks, &ready, company)
    }

    /// Room for a message that is written in place; the tail's lock stays ours.
    pub(crate) fn reserve(
        &self,
        length: usize,
        patience: Timeout,
        company: &dyn Fn() -> Peers,
    ) -> Result<(Pushing<'_>, Option<Allocation>), RingError> {
        loop {
            let mut pushing = self.ring.begin_push(SLOT, patience)?;
            let spot = pushing.room().and_then(|_| match length {
                0..=SHORT => Ok(None),
                _ => self.space.find(&self.ring, length).map(Some),
            });
            match spot {
                Ok(spot) => return Ok((pushing, spot)),
                Err(stop) => match pushing.fail(stop) {
                    RingError::NotNow => self.wait_for_room(length, patience, company)?,
                    stop => return Err(stop),
                },
            }
        }
    }

    /// What was written in place is in.
    pub(crate) fn send_reserved(&self, pushing: Pushing<'_>, spot: Allocation, length: usize) -> Result<(), RingError> {
        self.space.count(spot, length);
        self.send_note(pushing, Ok(Record::elsewhere(spot, length, Flags::default())))
    }

    /// The same for what was written elsewhere.
    pub(crate) fn send_from(&self, pushing: Pushing<'_>, message: &[u8]) -> Result<(), RingError> {
        let note = self.compose(message, Flags::default());
        self.send_note(pushing, note)
    }

    #[inline(always)]
    fn send_note(&self, pushing: Pushing<'_>, note: Result<Record, RingError>) -> Result<(), RingError> {
        match note.and_then(|note| self.commit(&pushing, &note, 0)) {
            Ok(()) => {
                pushing.finish(1);
                Ok(())
            }
            Err(stop) => Err(pushing.fail(stop)),
        }
    }
}
