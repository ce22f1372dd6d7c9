//! The crate `ipmpsc`: a ring in a temporary file, with a lock and a condition, and messages through serde; both sides
//! sleep. It holds as many messages as other channels do here. Bytes are copied in, and looked at in place on the other
//! side, which is how it wants to be used.

use super::bytes::room;
use super::copied::{CopiedEnds, ReceiveBytes, SendBytes, both_ends};
use super::{CAPACITY, Consumer, Ends, Producer};
use anyhow::Result;
use ipmpsc::{Receiver, Sender, SharedRingBuffer};
use serde::{Serialize, Serializer};
use std::ops::Range;

/// What goes before each message.
const HEADER: usize = size_of::<u32>();
/// What goes before bytes, in the message.
const LENGTH: usize = size_of::<u64>();

/// The file has no name any more: the children have the mapping.
fn halves(bytes: usize) -> Result<(Sender, Receiver)> {
    let (path, ring) = SharedRingBuffer::create_temp(u32::try_from(bytes)?)?;
    std::fs::remove_file(path)?;
    Ok((Sender::new(ring.clone()), Receiver::new(ring)))
}

pub fn ipmpsc_words() -> Result<Ends<Sender, Receiver>> {
    let (sender, receiver) = halves(CAPACITY * (HEADER + size_of::<u64>()))?;
    Ok(Ends::pair(sender, receiver).slow())
}

impl Producer for Sender {
    fn put(&mut self, mut items: Range<u64>) -> Result<()> {
        Ok(items.try_for_each(|item| self.send(&item))?)
    }
}

impl Consumer for Receiver {
    fn get(&mut self, mut each: impl FnMut(u64)) -> Result<()> {
        each(self.recv()?);
        Ok(())
    }
}

pub fn ipmpsc_bytes(length: usize) -> Result<CopiedEnds<Sender, Receiver>> {
    let messages = room(length) / length;
    let (sender, receiver) = halves(messages * (HEADER + LENGTH + length))?;
    Ok(both_ends(length, sender, receiver))
}

/// Serialised at once: serde does it byte by byte with a slice.
struct Bytes<'a>(&'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl SendBytes for Sender {
    fn send_message(&mut self, message: &[u8]) -> Result<()> {
        Ok(self.send(&Bytes(message))?)
    }
}

impl ReceiveBytes for Receiver {
    fn receive(&mut self, _buffer: &mut [u8], look: impl FnOnce(&[u8]) -> Result<u64>) -> Result<u64> {
        let mut context = self.zero_copy_context();
        look(context.recv()?)
    }
}
