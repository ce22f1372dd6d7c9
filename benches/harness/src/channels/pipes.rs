//! crossproc's pipe, for bytes: copied in and out, and in place.

use super::bytes::{ends, in_rounds, mark_ends, room};
use super::copied::{CopiedEnds, ReceiveBytes, SendBytes, both_ends};
use super::{Consumer, Ends, Producer};
use anyhow::Result;
use crossproc::{Pipe, Receiver, Sender};
use std::ops::Range;

pub fn copied(length: usize) -> Result<CopiedEnds<Sender<()>, Receiver<()>>> {
    let (sender, receiver) = Pipe::<()>::one_way_with_capacity(room(length))?;
    Ok(both_ends(length, sender, receiver))
}

impl SendBytes for Sender<()> {
    #[inline(always)]
    fn send_message(&mut self, message: &[u8]) -> Result<()> {
        Ok(self.send_bytes(message)?)
    }
}

impl ReceiveBytes for Receiver<()> {
    #[inline(always)]
    fn receive(&mut self, buffer: &mut [u8], look: impl FnOnce(&[u8]) -> Result<u64>) -> Result<u64> {
        let length = self.recv_bytes_into(buffer)?;
        look(&buffer[..length])
    }
}

pub struct InPlace<H> {
    half: H,
    length: usize,
}

type InPlaceEnds = Ends<InPlace<Sender<()>>, InPlace<Receiver<()>>>;

pub fn in_place(length: usize) -> Result<InPlaceEnds> {
    let (sender, receiver) = Pipe::<()>::one_way_with_capacity(room(length))?;
    let end = Ends::pair(InPlace { half: sender, length }, InPlace { half: receiver, length });
    Ok(in_rounds(length, end))
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
