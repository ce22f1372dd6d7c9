//! Dmitry Vyukov's bounded queue in shared memory: many to many, one compare-and-swap for each item. A producer that is
//! killed between its claim and its stamp stalls everybody.

use super::{CAPACITY, Consumer, Ends, Producer};
use crate::process::{Line, Shared};
use anyhow::Result;
use std::ops::Range;
use std::rc::Rc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

#[derive(Default)]
struct Slot {
    /// The number of the item that may go in, or one more: it is in.
    stamp: AtomicU64,
    item: AtomicU64,
}

struct Memory {
    tail: Line<AtomicU64>,
    head: Line<AtomicU64>,
    slots: Line<[Slot; CAPACITY]>,
}

pub struct Vyukov(Rc<Shared<Memory>>);

pub fn vyukov(pairs: usize) -> Result<Ends<Vyukov, Vyukov>> {
    let slot = |number| Slot { stamp: AtomicU64::new(number as u64), ..Slot::default() };
    let slots = Line(std::array::from_fn(slot));
    let memory = Rc::new(Shared::new(Memory { tail: Line::default(), head: Line::default(), slots })?);
    let end = || Ok(Vyukov(memory.clone()));
    Ends::of(pairs, end, end)
}

impl Vyukov {
    /// Claims the next number whose slot's stamp is `ahead` of it; looks for a while, then lets others on the core.
    #[inline(always)]
    fn claim(&self, index: &AtomicU64, ahead: u64) -> (u64, &Slot) {
        const LOOKS: u32 = 200;
        let mut looks = 0;
        let mut number = index.load(Relaxed);
        loop {
            let slot = &self.0.slots.0[number as usize % CAPACITY];
            if slot.stamp.load(Acquire) == number + ahead {
                match index.compare_exchange_weak(number, number + 1, Relaxed, Relaxed) {
                    Ok(_) => return (number, slot),
                    Err(other) => number = other,
                }
                continue;
            }
            looks += 1;
            if looks % LOOKS == 0 {
                std::thread::yield_now();
            }
            std::hint::spin_loop();
            number = index.load(Relaxed);
        }
    }
}

impl Producer for Vyukov {
    #[inline(always)]
    fn put(&mut self, items: Range<u64>) -> Result<()> {
        for item in items {
            let (number, slot) = self.claim(&self.0.tail.0, 0);
            slot.item.store(item, Relaxed);
            slot.stamp.store(number + 1, Release);
        }
        Ok(())
    }
}

impl Consumer for Vyukov {
    #[inline(always)]
    fn get(&mut self, mut each: impl FnMut(u64)) -> Result<()> {
        let (number, slot) = self.claim(&self.0.head.0, 1);
        let item = slot.item.load(Relaxed);
        slot.stamp.store(number + CAPACITY as u64, Release);
        each(item);
        Ok(())
    }
}
