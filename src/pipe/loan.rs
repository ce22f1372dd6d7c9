//! Messages that are written and read in place, in shared memory.
//!
//! # Protocol
//! A [`Slot`] has the lock of the ring's tail as long as it lives, and a [`Frame`] that of the ring's head. Neither
//! commits before `send` or `consume`, so a loan that is dropped, or whose process dies, changes nothing. A fork child
//! gets a copy of a loan, but not its lock: the copy neither commits nor unlocks.
#![allow(unsafe_code)] // bytes in shared memory

use super::endpoint::Endpoint;
use super::errors::{Unreceived, Unsent};
use crate::messages::record::Record;
use crate::messages::{Allocation, MessageRing};
use crate::ring::{KeptPopping, KeptPushing, RingError};
use crate::sync::Timeout;
use crate::sys::process_id::ProcessId;
use crate::{RecvError, SendError};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// Bytes in memory of this process, aligned to 8.
#[derive(Debug, Default)]
struct AlignedBytes {
    words: Vec<u64>,
    length: usize,
}

impl AlignedBytes {
    fn zeroed(length: usize) -> Option<Self> {
        let mut words = Vec::new();
        let count = length.div_ceil(8);
        words.try_reserve_exact(count).ok()?;
        words.resize(count, 0);
        Some(AlignedBytes { words, length })
    }

    fn bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[..self.length]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.words)[..self.length]
    }
}

/// Room for a message, to be written in place; see [`Sender::reserve`](crate::Sender::reserve).
///
/// [`send`](Slot::send) sends the message. If the slot is dropped before, nothing is sent. As long as the slot exists,
/// no other thread can send.
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
/// Nothing is sent, and others can send at once.
#[must_use = "a slot that is dropped sends nothing"]
pub struct Slot<'a> {
    endpoint: &'a Endpoint,
    ring: &'a MessageRing,
    /// The process that reserved it. A copy in a fork child is not the slot.
    process: ProcessId,
    /// `None` once it is sent.
    pushing: Option<KeptPushing<'a>>,
    bytes: SlotBytes,
    length: usize,
}

enum SlotBytes {
    InPlace(Allocation, NonNull<u8>),
    /// For a message that is short, or too long for the ring.
    Copied(AlignedBytes),
}

/// A message that is read in place; see [`Receiver::peek`](crate::Receiver::peek).
///
/// [`consume`](Frame::consume) takes the message out. If the frame is dropped before, the message stays. As long as the
/// frame exists, no other thread can receive. The bytes are aligned to 8.
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
    ring: &'a MessageRing,
    /// The process that peeked. A copy in a fork child is not the frame.
    process: ProcessId,
    /// `None` once it is consumed.
    popping: Option<KeptPopping<'a>>,
    record: Record,
    bytes: FrameBytes,
}

enum FrameBytes {
    InPlace(NonNull<u8>, usize),
    Copied(AlignedBytes),
}

impl<'a> Slot<'a> {
    pub(super) fn reserve(endpoint: &'a Endpoint, length: usize) -> Result<Self, SendError> {
        let ring = endpoint.outgoing()?;
        endpoint.check_receivers(ring).map_err(Unsent::from)?;
        let reserved = ring.reserve(length, Timeout::Never, &|| endpoint.receivers(ring));
        let (pushing, allocation) = reserved.map_err(Unsent::from)?;
        let bytes = match allocation {
            Some(allocation @ Allocation::Buffered { at, .. }) => SlotBytes::InPlace(allocation, at),
            Some(Allocation::Spilled { .. }) | None => match AlignedBytes::zeroed(length) {
                Some(bytes) => SlotBytes::Copied(bytes),
                None => {
                    let _ = pushing.fail(RingError::NoSpace);
                    return Err(SendError::NoSpace);
                }
            },
        };
        Ok(Slot { endpoint, ring, process: ProcessId::current(), pushing: Some(pushing.keep()), bytes, length })
    }

    /// Sends the message.
    ///
    /// # Errors
    /// [`NoSpace`](SendError::NoSpace) for a message that is longer than the pipe,
    /// [`BrokenPipe`](SendError::BrokenPipe), [`Deadlock`](SendError::Deadlock) in a fork child, which only has a copy
    /// of the slot.
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
        if slot.endpoint.knows_no_receivers(slot.ring) {
            let _ = pushing.fail(RingError::NotNow);
            return Err(SendError::BrokenPipe);
        }
        let sent = match &slot.bytes {
            SlotBytes::InPlace(allocation, _) => slot.ring.send_reserved(pushing, *allocation, slot.length),
            SlotBytes::Copied(bytes) => slot.ring.send_from(pushing, bytes.bytes()),
        };
        sent.map_err(|error| match Unsent::from(error) {
            Unsent::Full => SendError::NoSpace,
            Unsent::Error(error) => error,
        })
    }
}

impl Deref for Slot<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.bytes {
            // SAFETY: `MessageRing::reserve` allocated `length` bytes at `at`, mapped as long as the ring. Unread
            // messages do not overlap them (payload-P1), and no other thread allocates while this slot has the tail's
            // lock.
            SlotBytes::InPlace(_, at) => unsafe { std::slice::from_raw_parts(at.as_ptr(), self.length) },
            SlotBytes::Copied(bytes) => bytes.bytes(),
        }
    }
}

impl DerefMut for Slot<'_> {
    fn deref_mut(&mut self) -> &mut [u8] {
        match &mut self.bytes {
            // SAFETY: `MessageRing::reserve` allocated `length` bytes at `at`, mapped as long as the ring. Unread
            // messages do not overlap them (payload-P1), no other thread allocates while this slot has the tail's lock,
            // and `&mut self` is the only way to them in this process.
            SlotBytes::InPlace(_, at) => unsafe { std::slice::from_raw_parts_mut(at.as_ptr(), self.length) },
            SlotBytes::Copied(bytes) => bytes.bytes_mut(),
        }
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        if let Some(pushing) = self.pushing.take().filter(|_| self.process == ProcessId::current()) {
            let _ = pushing.resume().fail(RingError::NotNow);
        }
    }
}

impl<'a> Frame<'a> {
    pub(super) fn peek(endpoint: &'a Endpoint) -> Result<Self, RecvError> {
        let ring = endpoint.incoming()?;
        let mut buffer = Vec::new();
        let peeked = ring.peek(Timeout::Never, &mut buffer, &|| endpoint.senders(ring));
        let (popping, record, at) = peeked.map_err(Unreceived::from)?;
        let bytes = match at {
            Some(at) => FrameBytes::InPlace(at, record.length() as usize),
            None => {
                let from = if record.is_inline() { record.bytes() } else { &buffer };
                let Some(mut bytes) = AlignedBytes::zeroed(from.len()) else {
                    let _ = popping.fail(RingError::NoSpace);
                    return Err(RecvError::NoSpace);
                };
                bytes.bytes_mut().copy_from_slice(from);
                FrameBytes::Copied(bytes)
            }
        };
        Ok(Frame { ring, process: ProcessId::current(), popping: Some(popping.keep()), record, bytes })
    }

    /// Takes the message out.
    ///
    /// # Errors
    /// [`Deadlock`](RecvError::Deadlock) in a fork child, which only has a copy of the frame.
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
        frame.ring.take(popping.resume(), &frame.record);
        Ok(())
    }
}

impl Deref for Frame<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.bytes {
            // SAFETY: `MessageRing::peek` found the `length` bytes of the message at `at`, mapped as long as the ring.
            // No sender writes to an unread message (payload-P1), and it stays unread while this frame has the head's
            // lock.
            FrameBytes::InPlace(at, length) => unsafe { std::slice::from_raw_parts(at.as_ptr(), *length) },
            FrameBytes::Copied(bytes) => bytes.bytes(),
        }
    }
}

impl Drop for Frame<'_> {
    fn drop(&mut self) {
        if let Some(popping) = self.popping.take().filter(|_| self.process == ProcessId::current()) {
            let _ = popping.resume().fail(RingError::NotNow);
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
