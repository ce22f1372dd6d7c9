//! What sleeping and waking cost at the least: one slot and a futex word. For one who waits for each answer: another
//! item before that would be lost.

use super::{Consumer, Ends, Producer};
use crate::process::Shared;
use anyhow::Result;
use std::ops::Range;
use std::rc::Rc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64};

#[derive(Default)]
struct Memory {
    /// How many items were put.
    count: AtomicU32,
    item: AtomicU64,
}

pub struct Slot {
    memory: Rc<Shared<Memory>>,
    taken: u32,
}

pub fn slot() -> Result<Ends<Slot, Slot>> {
    let memory = Rc::new(Shared::new(Memory::default())?);
    let end = || Ok(Slot { memory: memory.clone(), taken: 0 });
    Ends::of(1, end, end)
}

impl Producer for Slot {
    fn put(&mut self, items: Range<u64>) -> Result<()> {
        for item in items {
            self.memory.item.store(item, Relaxed);
            self.memory.count.fetch_add(1, Release);
            futex(&self.memory.count, libc::FUTEX_WAKE, 1);
        }
        Ok(())
    }
}

impl Consumer for Slot {
    fn get(&mut self, mut each: impl FnMut(u64)) -> Result<()> {
        while self.memory.count.load(Acquire) == self.taken {
            futex(&self.memory.count, libc::FUTEX_WAIT, self.taken);
        }
        self.taken = self.taken.wrapping_add(1);
        each(self.memory.item.load(Relaxed));
        Ok(())
    }
}

fn futex(word: &AtomicU32, operation: i32, value: u32) {
    // SAFETY: the word lives; no timeout.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, value, std::ptr::null::<libc::timespec>()) };
}
