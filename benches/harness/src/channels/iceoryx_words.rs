//! The crate `iceoryx2` with items of eight bytes, polled without a pause, as its own benchmark does it.

use super::iceoryx::{Open, Port, Receiving, Room, Sending, ports};
use super::{CAPACITY, Consumer, Ends, Producer};
use anyhow::Result;
use std::ops::Range;

type PolledEnds = Ends<Port<Sending<u64>>, Port<Receiving<u64>>>;

pub fn iceoryx_polled() -> Result<PolledEnds> {
    let (sending, receiving, room) = ports(Room::new(CAPACITY, size_of::<u64>())?)?;
    Ok(Ends { keep: Some(Box::new(room)), ..Ends::pair(sending, receiving) })
}

impl Open for Sending<u64> {
    fn open(room: &Room) -> Result<Self> {
        let service = room.service::<u64>(&room.node()?)?.open_or_create()?;
        Ok(service.publisher_builder().max_loaned_samples(1).create()?)
    }
}

impl Open for Receiving<u64> {
    fn open(room: &Room) -> Result<Self> {
        Ok(room.service::<u64>(&room.node()?)?.open_or_create()?.subscriber_builder().create()?)
    }
}

impl Producer for Port<Sending<u64>> {
    #[inline(always)]
    fn put(&mut self, mut items: Range<u64>) -> Result<()> {
        let port = self.opened()?;
        items.try_for_each(|item| send(port, item))
    }
}

impl Consumer for Port<Receiving<u64>> {
    #[inline(always)]
    fn get(&mut self, mut each: impl FnMut(u64)) -> Result<()> {
        let port = self.opened()?;
        loop {
            if let Some(sample) = port.receive()? {
                each(*sample);
                return Ok(());
            }
        }
    }
}

#[inline(always)]
pub fn send(port: &Sending<u64>, item: u64) -> Result<()> {
    port.loan_uninit()?.write_payload(item).send()?;
    Ok(())
}
