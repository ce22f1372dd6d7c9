//! What the hardware can do with one producer and one consumer: a ring in shared memory and two indices. Both sides
//! spin; the death of one leaves the other spinning for ever.

use super::{BATCH, CAPACITY, Consumer, Ends, Producer};
use crate::process::{Line, Shared};
use anyhow::Result;
use std::cell::UnsafeCell;
use std::ops::Range;
use std::rc::Rc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};

const MASK: u64 = CAPACITY as u64 - 1;

struct Memory {
    tail: Line<AtomicU64>,
    head: Line<AtomicU64>,
    slots: Line<[UnsafeCell<u64>; CAPACITY]>,
}

// SAFETY: a slot is the producer's from head + CAPACITY, the consumer's below the tail.
unsafe impl Sync for Memory {}

/// One end.
pub struct Ring {
    memory: Rc<Shared<Memory>>,
    /// This side's index, and as much of it as the other side was told.
    mine: u64,
    told: u64,
    /// The other side's index as it was once.
    seen: u64,
    /// The other side is told of so many at once.
    every: u64,
}

/// Both sides publish their index when they have passed so many items; a consumer of [`BATCH`] takes them at once.
pub fn ring(every: u64) -> Result<Ends<Ring, Ring>> {
    let slots = Line(std::array::from_fn(|_| UnsafeCell::new(0)));
    let memory = Rc::new(Shared::new(Memory { tail: Line::default(), head: Line::default(), slots })?);
    let end = || Ok(Ring { memory: memory.clone(), mine: 0, told: 0, seen: 0, every });
    Ends::of(1, end, end)
}

impl Ring {
    #[inline(always)]
    fn slot(&self, number: u64) -> *mut u64 {
        self.memory.slots.0[(number & MASK) as usize].get()
    }

    #[inline(always)]
    fn tell(&mut self, index: impl Fn(&Memory) -> &Line<AtomicU64>) {
        index(&self.memory).0.store(self.mine, Release);
        self.told = self.mine;
    }

    /// Waits until the other side's index is another one, having told all that this side has to tell.
    #[cold]
    fn wait(&mut self, mine: impl Fn(&Memory) -> &Line<AtomicU64>, others: impl Fn(&Memory) -> &Line<AtomicU64>) {
        self.tell(mine);
        let before = self.seen;
        while self.seen == before {
            self.seen = others(&self.memory).0.load(Acquire);
        }
    }
}

impl Producer for Ring {
    #[inline(always)]
    fn put(&mut self, items: Range<u64>) -> Result<()> {
        for item in items {
            if self.mine - self.seen == CAPACITY as u64 {
                self.wait(|ring| &ring.tail, |ring| &ring.head);
            }
            // SAFETY: the consumer has been there.
            unsafe { self.slot(self.mine).write(item) };
            self.mine += 1;
            if self.mine - self.told == self.every {
                self.tell(|ring| &ring.tail);
            }
        }
        if self.mine != self.told {
            self.tell(|ring| &ring.tail);
        }
        Ok(())
    }
}

impl Consumer for Ring {
    #[inline(always)]
    fn get(&mut self, mut each: impl FnMut(u64)) -> Result<()> {
        if self.mine == self.seen {
            self.wait(|ring| &ring.head, |ring| &ring.tail);
        }
        let at_once = if self.every == BATCH { BATCH.min(self.seen - self.mine) } else { 1 };
        for number in self.mine..self.mine + at_once {
            // SAFETY: the producer has been there.
            each(unsafe { self.slot(number).read() });
        }
        self.mine += at_once;
        if self.mine - self.told >= self.every || at_once > 1 {
            self.tell(|ring| &ring.head);
        }
        Ok(())
    }
}
