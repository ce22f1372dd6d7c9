//! Messages that are written and read where they lie.
#![allow(unsafe_code)] // bytes in shared memory

use super::endpoint::{End, Unsent, recv_error};
use crate::messages::Allocation;
use crate::messages::MessageRing;
use crate::messages::record::Record;
use crate::ring::{KeptPopping, KeptPushing};
use crate::sync::Timeout;
use crate::sys::process_id::ProcessId;
use crate::{RecvError, SendError};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// Bytes, aligned to 8.
#[derive(Debug, Default)]
struct Aligned {
    words: Vec<u64>,
    length: usize,
}

impl Aligned {
    fn zeroed(length: usize) -> Option<Self> {
        let mut words = Vec::new();
        let count = length.div_ceil(8);
        words.try_reserve_exact(count).ok()?;
        words.resize(count, 0);
        Some(Aligned { words, length })
    }

    fn bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[..self.length]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.words)[..self.length]
    }
}

/// Room for a message, to be written in place: see [`Sender::reserve`](crate::Sender::reserve).
///
/// [`send`](Slot::send) sends it; dropped before, nothing is sent. As long as it lives, nobody else can send.
///
/// ```
/// let (sender, receiver) = crossproc::Pipe::<()>::one_way()?;
/// let mut slot = sender.reserve(1000)?;
/// slot.fill(7);
/// slot.send()?;
/// assert_eq!(receiver.recv_bytes()?, [7; 1000]);
/// drop(sender.reserve(1000)?); // nothing is sent
/// assert!(receiver.try_recv().is_err());
/// # Ok::<(), crossproc::Error>(())
/// ```
///
/// # When a process dies
/// Nothing was sent, and others can send at once.
#[must_use = "a slot that is dropped sends nothing"]
pub struct Slot<'a> {
    end: &'a End,
    mail: &'a MessageRing,
    /// A fork child's copy is not its own.
    process: ProcessId,
    pushing: Option<KeptPushing<'a>>,
    bytes: SlotBytes,
    length: usize,
}

enum SlotBytes {
    There(Allocation, NonNull<u8>),
    /// What is short, or too long for the ring.
    Here(Aligned),
}

/// A message that is read in place: see [`Receiver::peek`](crate::Receiver::peek).
///
/// [`consume`](Frame::consume) takes it; dropped before, it stays. As long as it lives, nobody else can receive. Aligned to 8
/// bytes.
///
/// ```
/// let (sender, receiver) = crossproc::Pipe::<()>::one_way()?;
/// sender.send_bytes(&[7; 1000])?;
/// drop(receiver.peek()?); // it stays
/// let frame = receiver.peek()?;
/// assert_eq!(frame.len(), 1000);
/// frame.consume()?;
/// assert!(receiver.try_recv().is_err());
/// # Ok::<(), crossproc::Error>(())
/// ```
///
/// # When a process dies
/// The message stays, and others can receive it at once.
#[must_use = "a frame that is dropped leaves the message where it is"]
pub struct Frame<'a> {
    mail: &'a MessageRing,
    process: ProcessId,
    popping: Option<KeptPopping<'a>>,
    note: Record,
    bytes: FrameBytes,
}

enum FrameBytes {
    There(NonNull<u8>, usize),
    Here(Aligned),
}

impl<'a> Slot<'a> {
    pub(super) fn reserve(end: &'a End, length: usize) -> Result<Self, SendError> {
        let mail = end.outgoing()?;
        let refuse = |stop| match Unsent::from(stop) {
            Unsent::Full => SendError::Corrupt, // who waits for ever is never told so
            Unsent::Error(error) => error,
        };
        end.check_readers(mail).map_err(refuse)?;
        let reserved = mail.reserve(length, Timeout::Never, &|| end.readers(mail));
        let (pushing, spot) = reserved.map_err(refuse)?;
        let bytes = match spot {
            Some(spot @ Allocation::Buffered { at, .. }) => SlotBytes::There(spot, at),
            Some(Allocation::Spilled { .. }) | None => match Aligned::zeroed(length) {
                Some(bytes) => SlotBytes::Here(bytes),
                None => {
                    let _ = pushing.fail(crate::ring::RingError::NoSpace);
                    return Err(SendError::NoSpace);
                }
            },
        };
        Ok(Slot { end, mail, process: ProcessId::current(), pushing: Some(pushing.keep()), bytes, length })
    }

    /// Sends the message.
    ///
    /// # Errors
    /// [`NoSpace`](SendError::NoSpace), for a message that is longer than the pipe. [`BrokenPipe`](SendError::BrokenPipe).
    /// [`Deadlock`](SendError::Deadlock) in a fork child, to which the slot does not belong.
    ///
    /// ```
    /// let (sender, receiver) = crossproc::Pipe::<()>::one_way()?;
    /// sender.reserve(0)?.send()?;
    /// assert_eq!(receiver.recv_bytes()?, []);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn send(self) -> Result<(), SendError> {
        let mut slot = self;
        if slot.process != ProcessId::current() {
            return Err(SendError::Deadlock);
        }
        let Some(pushing) = slot.pushing.take().map(KeptPushing::resume) else { return Err(SendError::Corrupt) };
        if slot.end.knows_no_readers(slot.mail) {
            let _ = pushing.fail(crate::ring::RingError::NotNow);
            return Err(SendError::BrokenPipe);
        }
        let sent = match &slot.bytes {
            SlotBytes::There(spot, _) => slot.mail.send_reserved(pushing, *spot, slot.length),
            SlotBytes::Here(bytes) => slot.mail.send_from(pushing, bytes.bytes()),
        };
        sent.map_err(|stop| match Unsent::from(stop) {
            Unsent::Full => SendError::NoSpace,
            Unsent::Error(error) => error,
        })
    }
}

impl Deref for Slot<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.bytes {
            // SAFETY: room for the message by `find`, which nobody else uses while the tail's lock is ours (P1).
            SlotBytes::There(_, at) => unsafe { std::slice::from_raw_parts(at.as_ptr(), self.length) },
            SlotBytes::Here(bytes) => bytes.bytes(),
        }
    }
}

impl DerefMut for Slot<'_> {
    fn deref_mut(&mut self) -> &mut [u8] {
        match &mut self.bytes {
            // SAFETY: as above.
            SlotBytes::There(_, at) => unsafe { std::slice::from_raw_parts_mut(at.as_ptr(), self.length) },
            SlotBytes::Here(bytes) => bytes.bytes_mut(),
        }
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        if let Some(pushing) = self.pushing.take().filter(|_| self.process == ProcessId::current()) {
            let _ = pushing.resume().fail(crate::ring::RingError::NotNow);
        }
    }
}

impl<'a> Frame<'a> {
    pub(super) fn peek(end: &'a End) -> Result<Self, RecvError> {
        let mail = end.incoming()?;
        let mut room = Vec::new();
        let peeked = mail.peek(Timeout::Never, &mut room, &|| end.writers(mail));
        let (popping, note, at) = peeked.map_err(recv_error)?;
        let bytes = match at {
            Some(at) => FrameBytes::There(at, note.length() as usize),
            None => {
                let from = if note.is_inline() { note.bytes() } else { &room };
                let Some(mut bytes) = Aligned::zeroed(from.len()) else {
                    let _ = popping.fail(crate::ring::RingError::NoSpace);
                    return Err(RecvError::NoSpace);
                };
                bytes.bytes_mut().copy_from_slice(from);
                FrameBytes::Here(bytes)
            }
        };
        Ok(Frame { mail, process: ProcessId::current(), popping: Some(popping.keep()), note, bytes })
    }

    /// Takes the message.
    ///
    /// # Errors
    /// [`Deadlock`](RecvError::Deadlock) in a fork child, to which the frame does not belong.
    ///
    /// ```
    /// let (sender, receiver) = crossproc::Pipe::<()>::one_way()?;
    /// sender.send_bytes(b"a")?;
    /// receiver.peek()?.consume()?;
    /// assert!(receiver.try_recv().is_err());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn consume(self) -> Result<(), RecvError> {
        let mut frame = self;
        if frame.process != ProcessId::current() {
            return Err(RecvError::Deadlock);
        }
        let Some(popping) = frame.popping.take() else { return Err(RecvError::Corrupt) };
        frame.mail.take(popping.resume(), &frame.note);
        Ok(())
    }
}

impl Deref for Frame<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.bytes {
            // SAFETY: the message's bytes by `locate`, which nobody writes while it is in (P1), and the head's lock is ours.
            FrameBytes::There(at, length) => unsafe { std::slice::from_raw_parts(at.as_ptr(), *length) },
            FrameBytes::Here(bytes) => bytes.bytes(),
        }
    }
}

impl Drop for Frame<'_> {
    fn drop(&mut self) {
        if let Some(popping) = self.popping.take().filter(|_| self.process == ProcessId::current()) {
            let _ = popping.resume().fail(crate::ring::RingError::NotNow);
        }
    }
}

impl fmt::Debug for Slot<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").field("length", &self.length).finish_non_exhaustive()
    }
}

impl fmt::Debug for Frame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame").field("length", &self.len()).finish_non_exhaustive()
    }
}
