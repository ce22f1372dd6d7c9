//! crossproc's pipe, for bytes: copied in and out, and in place.

use super::bytes::{ends, in_rounds, mark, mark_ends, number, room};
use super::{Consumer, Ends, Producer};
use anyhow::Result;
use crossproc::{Pipe, Receiver, Sender};
use std::ops::Range;

/// An end, and the message that it copies from, or to.
pub struct Copied<H> {
    half: H,
    message: Vec<u8>,
}

type CopiedEnds = Ends<Copied<Sender<()>>, Copied<Receiver<()>>>;

pub fn copied(length: usize) -> Result<CopiedEnds> {
    let (sender, receiver) = Pipe::<()>::one_way_with_capacity(room(length))?;
    let producers = vec![Copied { half: sender, message: vec![7; length] }];
    let consumers = vec![Copied { half: receiver, message: vec![0; length] }];
    Ok(in_rounds(length, Ends { producers, consumers, round: 1 }))
}

impl Producer for Copied<Sender<()>> {
    fn put(&mut self, items: Range<u64>) -> Result<()> {
        for item in items {
            mark(&mut self.message, item);
            self.half.send_bytes(&self.message)?;
        }
        Ok(())
    }
}

impl Consumer for Copied<Receiver<()>> {
    fn get(&mut self, mut each: impl FnMut(u64)) -> Result<()> {
        let length = self.half.recv_bytes_into(&mut self.message)?;
        each(number(&self.message[..length], self.message.len())?);
        Ok(())
    }
}

pub struct InPlace<H> {
    half: H,
    length: usize,
}

type InPlaceEnds = Ends<InPlace<Sender<()>>, InPlace<Receiver<()>>>;

pub fn in_place(length: usize) -> Result<InPlaceEnds> {
    let (sender, receiver) = Pipe::<()>::one_way_with_capacity(room(length))?;
    let producers = vec![InPlace { half: sender, length }];
    let consumers = vec![InPlace { half: receiver, length }];
    Ok(in_rounds(length, Ends { producers, consumers, round: 1 }))
}

impl Producer for InPlace<Sender<()>> {
    fn put(&mut self, items: Range<u64>) -> Result<()> {
        for item in items {
            let mut slot = self.half.reserve(self.length)?;
            mark_ends(&mut slot, item);
            slot.send()?;
        }
        Ok(())
    }
}

impl Consumer for InPlace<Receiver<()>> {
    fn get(&mut self, mut each: impl FnMut(u64)) -> Result<()> {
        let frame = self.half.peek()?;
        let item = ends(&frame, self.length)?;
        frame.consume()?;
        each(item);
        Ok(())
    }
}
