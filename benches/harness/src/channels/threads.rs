//! Channels between threads.

use super::{CAPACITY, Consumer, Ends, Producer};
use anyhow::Result;
use std::ops::Range;

pub fn crossbeam(pairs: usize) -> Result<Ends<crossbeam_channel::Sender<u64>, crossbeam_channel::Receiver<u64>>> {
    let (sender, receiver) = crossbeam_channel::bounded(CAPACITY);
    Ends::of(pairs, || Ok(sender.clone()), || Ok(receiver.clone()))
}

impl Producer for crossbeam_channel::Sender<u64> {
    #[inline(always)]
    fn put(&mut self, items: Range<u64>) -> Result<()> {
        for item in items {
            self.send(item)?;
        }
        Ok(())
    }
}

impl Consumer for crossbeam_channel::Receiver<u64> {
    #[inline(always)]
    fn get(&mut self, mut each: impl FnMut(u64)) -> Result<()> {
        each(self.recv()?);
        Ok(())
    }
}

/// It does not wait: both sides spin.
pub fn rtrb() -> Result<Ends<rtrb::Producer<u64>, rtrb::Consumer<u64>>> {
    let (producer, consumer) = rtrb::RingBuffer::new(CAPACITY);
    Ok(Ends::pair(producer, consumer))
}

impl Producer for rtrb::Producer<u64> {
    #[inline(always)]
    fn put(&mut self, items: Range<u64>) -> Result<()> {
        for item in items {
            while self.push(item).is_err() {}
        }
        Ok(())
    }
}

impl Consumer for rtrb::Consumer<u64> {
    #[inline(always)]
    fn get(&mut self, mut each: impl FnMut(u64)) -> Result<()> {
        loop {
            if let Ok(item) = self.pop() {
                each(item);
                return Ok(());
            }
        }
    }
}
