//! crossproc's own.

use super::{BATCH, CAPACITY, Consumer, Ends, Producer};
use anyhow::Result;
use crossproc::SimpleQueue;
use std::ops::Range;

/// `put` and `get`.
pub struct OneByOne(SimpleQueue<u64>);

pub fn one_by_one(pairs: usize) -> Result<Ends<OneByOne, OneByOne>> {
    let queue = SimpleQueue::bounded(CAPACITY)?;
    let end = || Ok(OneByOne(queue.clone()));
    Ends::of(pairs, end, end)
}

impl Producer for OneByOne {
    #[inline(always)]
    fn put(&mut self, items: Range<u64>) -> Result<()> {
        for item in items {
            self.0.put(item)?;
        }
        Ok(())
    }
}

impl Consumer for OneByOne {
    #[inline(always)]
    fn get(&mut self, mut each: impl FnMut(u64)) -> Result<()> {
        each(self.0.get()?);
        Ok(())
    }
}

/// `put_many` and `get_many`.
pub struct Batched(SimpleQueue<u64>);

pub fn batched(pairs: usize) -> Result<Ends<Batched, Batched>> {
    let queue = SimpleQueue::bounded(CAPACITY)?;
    let end = || Ok(Batched(queue.clone()));
    Ends::of(pairs, end, end)
}

impl Producer for Batched {
    fn put(&mut self, items: Range<u64>) -> Result<()> {
        self.0.put_many(items)?;
        Ok(())
    }
}

impl Consumer for Batched {
    fn get(&mut self, each: impl FnMut(u64)) -> Result<()> {
        self.0.get_many(BATCH as usize)?.into_iter().for_each(each);
        Ok(())
    }
}
