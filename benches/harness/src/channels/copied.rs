//! Ends that carry messages of bytes from one buffer to another one, whatever is between.

use super::bytes::{in_rounds, mark, number};
use super::{Consumer, Ends, Producer};
use anyhow::Result;
use std::ops::Range;

pub trait SendBytes {
    /// Waits for room.
    fn send_message(&mut self, message: &[u8]) -> Result<()>;
}

pub trait ReceiveBytes {
    /// Lets the next message be looked at: in the buffer, which is as long as a message, or wherever it came to.
    fn receive(&mut self, buffer: &mut [u8], look: impl FnOnce(&[u8]) -> Result<u64>) -> Result<u64>;
}

/// An end, and the message that it copies from, or to.
pub struct Copied<H> {
    half: H,
    message: Vec<u8>,
}

pub type CopiedEnds<S, R> = Ends<Copied<S>, Copied<R>>;

pub fn both_ends<S, R>(length: usize, sender: S, receiver: R) -> CopiedEnds<S, R> {
    let producer = Copied { half: sender, message: vec![7; length] };
    in_rounds(length, Ends::pair(producer, Copied { half: receiver, message: vec![0; length] }))
}

impl<S: SendBytes> Producer for Copied<S> {
    #[inline(always)]
    fn put(&mut self, items: Range<u64>) -> Result<()> {
        for item in items {
            mark(&mut self.message, item);
            self.half.send_message(&self.message)?;
        }
        Ok(())
    }
}

impl<R: ReceiveBytes> Consumer for Copied<R> {
    #[inline(always)]
    fn get(&mut self, mut each: impl FnMut(u64)) -> Result<()> {
        let length = self.message.len();
        each(self.half.receive(&mut self.message, |message| number(message, length))?);
        Ok(())
    }
}
