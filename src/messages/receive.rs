//! Messages out of a ring.
#![allow(unsafe_code)] // bytes in shared memory

use super::MessageRing;
use super::payload::copy_out;
use super::record::{Flags, Kind, Record, SHORT, SLOT};
use crate::ring::{For, KeptPopping, Peers, Popping, RingError};
use crate::sync::Timeout;
use std::ptr::NonNull;
use std::sync::atomic::Ordering::Relaxed;

impl MessageRing {
    /// Waits until there is a message.
    #[inline]
    pub(crate) fn wait_for_message(&self, patience: Timeout, company: &dyn Fn() -> Peers) -> Result<(), RingError> {
        if self.has_messages() {
            return Ok(());
        }
        self.ring.wait(SLOT, For::Items, patience, &self.looks, &|| self.has_messages(), company)
    }

    /// Takes a message out; waits for it. What is not in its note comes in `room`, which is emptied before; one of more than
    /// `most` bytes stays. `before` is asked about a message with handles before it is taken.
    pub(crate) fn receive(
        &self,
        patience: Timeout,
        most: usize,
        room: &mut Vec<u8>,
        before: &mut dyn FnMut(&[u8]) -> Result<(), RingError>,
        company: &dyn Fn() -> Peers,
    ) -> Result<Record, RingError> {
        self.receive_claimed(patience, most, room, before, &mut |_, _| (), company)
    }

    /// The same; `claim` sees any message last of all, while it is still in and nobody else can take it.
    pub(crate) fn receive_claimed(
        &self,
        patience: Timeout,
        most: usize,
        room: &mut Vec<u8>,
        before: &mut dyn FnMut(&[u8]) -> Result<(), RingError>,
        claim: &mut dyn FnMut(&[u8], Flags),
        company: &dyn Fn() -> Peers,
    ) -> Result<Record, RingError> {
        let mut note = Record::default();
        let mut popping = self.next(&mut note, patience, company)?;
        let mut done = self.read(&note, most, room);
        if done.is_ok() && note.flags().has_handles() {
            let kept = popping.keep(); // other locks are taken
            done = before(if note.is_here() { note.bytes() } else { room });
            popping = kept.resume();
        }
        match done {
            Ok(()) => {
                claim(if note.is_here() { note.bytes() } else { room }, note.flags());
                self.take(popping, &note);
                Ok(note)
            }
            Err(stop) => Err(popping.fail(stop)),
        }
    }

    /// The next message, which stays as yet, under the head's lock; waits for it.
    #[inline(always)]
    fn next(
        &self,
        note: &mut Record,
        patience: Timeout,
        company: &dyn Fn() -> Peers,
    ) -> Result<Popping<'_>, RingError> {
        loop {
            self.wait_for_message(patience, company)?;
            let popping = self.ring.begin_pop(SLOT, patience)?;
            // SAFETY: a note is as large as an item, and any bytes are one.
            let stop = match unsafe { popping.copy(0, std::ptr::from_mut(note).cast()) } {
                Ok(true) => return Ok(popping),
                Ok(false) => RingError::NotNow,
                Err(stop) => stop,
            };
            match popping.fail(stop) {
                RingError::NotNow => {}
                stop => return Err(stop),
            }
        }
    }

    /// Takes a short message without handles out; waits for one. False: the next one is another.
    #[inline(always)]
    pub(crate) fn receive_note(
        &self,
        note: &mut Record,
        patience: Timeout,
        company: &dyn Fn() -> Peers,
    ) -> Result<bool, RingError> {
        let popping = self.next(note, patience, company)?;
        if !note.is_plain() {
            let _ = popping.fail(RingError::NotNow);
            return Ok(false);
        }
        popping.finish(1);
        self.tidy();
        Ok(true)
    }

    /// Takes short messages without handles out, at most so many, as long as the next is one and `each` can use it. That is
    /// the program's code, so the lock is a guard's meanwhile: what it cannot use is the next one's.
    pub(crate) fn receive_short(&self, most: usize, each: &mut dyn FnMut(&Record) -> bool) -> Result<usize, RingError> {
        /// Lets the lock go, also when the program's code panics; then all stay.
        struct Batch<'a>(Option<KeptPopping<'a>>, u32);
        impl Drop for Batch<'_> {
            fn drop(&mut self) {
                if let Some(popping) = self.0.take().map(KeptPopping::resume) {
                    match self.1 {
                        0 => {
                            let _ = popping.fail(RingError::NotNow);
                        }
                        taken => popping.finish(taken),
                    }
                }
            }
        }
        let mut notes = Vec::new();
        let popping = self.ring.begin_pop(SLOT, Timeout::Never)?;
        while notes.len() < most.min(256) {
            match self.look(&popping, notes.len() as u64) {
                Ok(Some(note)) if note.is_plain() => notes.push(note),
                Ok(_) => break,
                Err(stop) => return Err(popping.fail(stop)),
            }
        }
        let mut batch = Batch(Some(popping.keep()), 0);
        let taken = notes.iter().take_while(|note| each(note)).count();
        batch.1 = taken as u32;
        drop(batch);
        self.tidy();
        Ok(taken)
    }

    /// The next note but so many.
    #[inline(always)]
    pub(crate) fn look(&self, popping: &Popping<'_>, offset: u64) -> Result<Option<Record>, RingError> {
        let mut note = Record::default();
        // SAFETY: a note is as large as an item, and any bytes are one.
        let is_there = unsafe { popping.copy(offset, (&raw mut note).cast())? };
        Ok(is_there.then_some(note))
    }

    /// Takes a message out, whatever it is, into the front of a buffer; waits for it. Says how long it is.
    pub(crate) fn receive_bytes_into(
        &self,
        buffer: &mut [u8],
        patience: Timeout,
        company: &dyn Fn() -> Peers,
    ) -> Result<usize, RingError> {
        let mut note = Record::default();
        let popping = self.next(&mut note, patience, company)?;
        let read = match note.kind() {
            _ if note.flags().has_handles() => None, // whose bytes are not all the message's
            Some(Kind::Inline) => Some(copy_short(note.bytes(), buffer)),
            Some(Kind::Buffered) => Some(self.read_area(&note, buffer)),
            _ => None,
        };
        match read {
            Some(Ok(length)) => {
                self.take(popping, &note);
                Ok(length)
            }
            Some(Err(stop)) => Err(popping.fail(stop)),
            None => {
                let _ = popping.fail(RingError::NotNow);
                copy_short(&self.receive_bytes(buffer.len(), patience, company)?, buffer)
            }
        }
    }

    /// The bytes of a message in an area.
    fn read_area(&self, note: &Record, buffer: &mut [u8]) -> Result<usize, RingError> {
        let from = self.space.locate(&self.ring, note)?;
        let length = note.length() as usize; // at most an area's, by `locate`
        if length > buffer.len() {
            return Err(RingError::TooShort(length));
        }
        // SAFETY: `locate` has checked the range; `buffer` has room for it.
        unsafe { copy_out(from, buffer.as_mut_ptr(), length) };
        Ok(length)
    }

    /// The bytes of a message into `room`, unless they are in the note.
    pub(crate) fn read(&self, note: &Record, most: usize, room: &mut Vec<u8>) -> Result<(), RingError> {
        room.clear();
        let (length, from) = self.find(note)?;
        if length > most { Err(RingError::TooShort(length)) } else { self.copy(note, from, length, room) }
    }

    /// Takes the next message out, if there is one, and only so many of its bytes, unless they are in the note.
    #[cold]
    pub(crate) fn receive_front(
        &self,
        most: usize,
        room: &mut Vec<u8>,
        company: &dyn Fn() -> Peers,
    ) -> Result<Record, RingError> {
        let mut note = Record::default();
        let popping = self.next(&mut note, Timeout::Now, company)?;
        room.clear();
        match self.find(&note).and_then(|(length, from)| self.copy(&note, from, length.min(most), room)) {
            Ok(()) => {
                self.take(popping, &note);
                Ok(note)
            }
            Err(stop) => Err(popping.fail(stop)),
        }
    }

    /// How many bytes a message has, no more than there can be, and where they are in an area.
    fn find(&self, note: &Record) -> Result<(usize, Option<NonNull<u8>>), RingError> {
        let length = usize::try_from(note.length()).map_err(|_| RingError::Corrupt)?;
        let kind = note.kind().ok_or(RingError::Corrupt)?;
        if kind == Kind::Inline && length > SHORT {
            return Err(RingError::Corrupt);
        }
        // Whatever it says: there are no more bytes than memory that was taken.
        if kind == Kind::Spilled && note.length() > self.segment()?.allocated_bytes() {
            return Err(RingError::Corrupt);
        }
        let from = if kind == Kind::Buffered { Some(self.space.locate(&self.ring, note)?) } else { None };
        Ok((length, from))
    }

    /// The first bytes of a message that was found; no more than it has.
    fn copy(
        &self,
        note: &Record,
        from: Option<NonNull<u8>>,
        length: usize,
        room: &mut Vec<u8>,
    ) -> Result<(), RingError> {
        if note.is_here() {
            return Ok(());
        }
        room.try_reserve_exact(length).map_err(|_| RingError::NoSpace)?;
        match from {
            Some(from) => {
                // SAFETY: `locate` has checked the range; `room` has room for it.
                unsafe {
                    copy_out(from, room.as_mut_ptr(), length);
                    room.set_len(length);
                }
            }
            None => {
                room.resize(length, 0);
                if !self.segment()?.read_spill(self.wing, note.place(), room)? {
                    return Err(RingError::Truncated);
                }
            }
        }
        Ok(())
    }

    /// The message is out.
    pub(crate) fn take(&self, popping: Popping<'_>, note: &Record) {
        popping.commit(1);
        self.leave_taken(popping, note);
    }

    /// The second half of that.
    pub(crate) fn leave_taken(&self, popping: Popping<'_>, note: &Record) {
        self.space.count_read(&self.ring, note);
        if note.kind() == Some(Kind::Buffered) && note.level() != 0 {
            self.has_large.store(true, Relaxed);
        }
        popping.leave(1);
        self.tidy();
    }

    /// The next message, which stays; the head's lock stays ours. Where its bytes are, or else they are in `room`.
    pub(crate) fn peek(
        &self,
        patience: Timeout,
        room: &mut Vec<u8>,
        company: &dyn Fn() -> Peers,
    ) -> Result<(Popping<'_>, Record, Option<NonNull<u8>>), RingError> {
        let mut note = Record::default();
        let popping = self.next(&mut note, patience, company)?;
        let found = match note.kind() {
            Some(Kind::Buffered) => self.space.locate(&self.ring, &note).map(Some),
            _ => self.read(&note, usize::MAX, room).map(|()| None),
        };
        match found {
            Ok(at) => Ok((popping, note, at)),
            Err(stop) => Err(popping.fail(stop)),
        }
    }
}

fn copy_short(bytes: &[u8], buffer: &mut [u8]) -> Result<usize, RingError> {
    let room = buffer.get_mut(..bytes.len()).ok_or(RingError::TooShort(bytes.len()))?;
    room.copy_from_slice(bytes);
    Ok(bytes.len())
}
