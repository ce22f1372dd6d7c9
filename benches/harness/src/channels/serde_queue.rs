//! crossproc's queue of messages: a small struct, through serde.

use super::{CAPACITY, Consumer, Ends, Producer};
use anyhow::{Result, ensure};
use crossproc::Queue;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// What programs send about: a number, two measures, a flag. All follow from the number.
#[derive(Serialize, Deserialize)]
struct Reading {
    number: u64,
    place: (f32, f32),
    good: bool,
}

impl Reading {
    #[inline(always)]
    fn of(number: u64) -> Self {
        let at = number as u32 as f32;
        Reading { number, place: (at, -at), good: number.is_multiple_of(2) }
    }

    #[inline(always)]
    fn is_right(&self) -> bool {
        let right = Reading::of(self.number);
        self.place == right.place && self.good == right.good
    }
}

pub struct SerdeQueue(Queue<Reading>);

pub fn serde_queue(pairs: usize) -> Result<Ends<SerdeQueue, SerdeQueue>> {
    let queue = Queue::bounded(CAPACITY)?;
    let end = || Ok(SerdeQueue(queue.clone()));
    Ends::of(pairs, end, end)
}

impl Producer for SerdeQueue {
    #[inline(always)]
    fn put(&mut self, items: Range<u64>) -> Result<()> {
        for item in items {
            self.0.put(Reading::of(item))?;
        }
        Ok(())
    }
}

impl Consumer for SerdeQueue {
    #[inline(always)]
    fn get(&mut self, mut each: impl FnMut(u64)) -> Result<()> {
        let reading = self.0.get()?;
        ensure!(reading.is_right(), "wrong result: message {} is another one", reading.number);
        each(reading.number);
        Ok(())
    }
}
