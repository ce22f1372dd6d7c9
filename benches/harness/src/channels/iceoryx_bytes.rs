//! The crate `iceoryx2` with messages of many bytes, polled without a pause: copied into and out of what it lends, and
//! made and read in place.

use super::bytes::{ends, in_rounds, mark_ends, room};
use super::copied::{CopiedEnds, ReceiveBytes, SendBytes, both_ends};
use super::iceoryx::{Bus, Open, Port, Receiving, Room, Sending, ports};
use super::{Consumer, Ends, Producer};
use anyhow::Result;
use iceoryx2::sample::Sample;
use std::ops::Range;

type Sender = Port<Sending<[u8]>>;
type Receiver = Port<Receiving<[u8]>>;

impl Open for Sending<[u8]> {
    fn open(room: &Room) -> Result<Self> {
        let service = room.service::<[u8]>(&room.node()?)?.open_or_create()?;
        Ok(service.publisher_builder().max_loaned_samples(1).initial_max_slice_len(room.length).create()?)
    }
}

impl Open for Receiving<[u8]> {
    fn open(room: &Room) -> Result<Self> {
        Ok(room.service::<[u8]>(&room.node()?)?.open_or_create()?.subscriber_builder().create()?)
    }
}

impl Receiver {
    #[inline(always)]
    fn next(&mut self) -> Result<Sample<Bus, [u8], ()>> {
        let port = self.opened()?;
        loop {
            if let Some(sample) = port.receive()? {
                return Ok(sample);
            }
        }
    }
}

pub fn iceoryx_copied(length: usize) -> Result<CopiedEnds<Sender, Receiver>> {
    let (sending, receiving, room) = ports(Room::new(room(length) / length, length)?)?;
    Ok(Ends { keep: Some(Box::new(room)), ..both_ends(length, sending, receiving) })
}

impl SendBytes for Sender {
    fn send_message(&mut self, message: &[u8]) -> Result<()> {
        self.opened()?.loan_slice_uninit(message.len())?.write_from_slice(message).send()?;
        Ok(())
    }
}

impl ReceiveBytes for Receiver {
    fn receive(&mut self, buffer: &mut [u8], look: impl FnOnce(&[u8]) -> Result<u64>) -> Result<u64> {
        buffer.copy_from_slice(&self.next()?);
        look(buffer)
    }
}

pub struct InPlace<P> {
    port: P,
    length: usize,
}

pub fn iceoryx_in_place(length: usize) -> Result<Ends<InPlace<Sender>, InPlace<Receiver>>> {
    let (sending, receiving, room) = ports(Room::new(room(length) / length, length)?)?;
    let pair = Ends::pair(InPlace { port: sending, length }, InPlace { port: receiving, length });
    Ok(Ends { keep: Some(Box::new(room)), ..in_rounds(length, pair) })
}

impl Producer for InPlace<Sender> {
    fn put(&mut self, items: Range<u64>) -> Result<()> {
        for item in items {
            let sample = self.port.opened()?.loan_slice_uninit(self.length)?;
            // SAFETY: bytes in a mapping, which the kernel made zero, and of which any are bytes.
            let mut sample = unsafe { sample.assume_init() };
            mark_ends(&mut sample, item);
            sample.send()?;
        }
        Ok(())
    }
}

impl Consumer for InPlace<Receiver> {
    fn get(&mut self, mut each: impl FnMut(u64)) -> Result<()> {
        each(ends(&self.port.next()?, self.length)?);
        Ok(())
    }
}
