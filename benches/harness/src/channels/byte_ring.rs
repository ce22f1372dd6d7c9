//! What the hardware can do with messages of many bytes: a ring of slots in shared memory, and two indices that are
//! published for each message. Both sides spin.

use super::bytes::{ends, in_rounds, mark, mark_ends, number, room};
use super::{Consumer, Ends, Producer};
use crate::process::{Line, Shared};
use anyhow::{Result, ensure};
use std::cell::UnsafeCell;
use std::ops::Range;
use std::rc::Rc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};

/// For four messages of the longest; what is not touched costs nothing.
const MOST_BYTES: usize = 256 << 20;

struct Memory {
    tail: Line<AtomicU64>,
    head: Line<AtomicU64>,
    bytes: Line<UnsafeCell<[u8; MOST_BYTES]>>,
}

// SAFETY: a slot is the producer's from head + slots, the consumer's below the tail.
unsafe impl Sync for Memory {}

pub struct ByteRing {
    memory: Rc<Shared<Memory>>,
    length: usize,
    slots: u64,
    mine: u64,
    seen: u64,
    /// Copied from, or to; none if messages are made and read in place.
    message: Option<Vec<u8>>,
}

pub fn byte_ring(length: usize, copied: bool) -> Result<Ends<ByteRing, ByteRing>> {
    // SAFETY: atomics and bytes.
    let memory = Rc::new(unsafe { Shared::<Memory>::zeroed() }?);
    ensure!(room(length) <= MOST_BYTES, "no room for messages of {length} bytes");
    let slots = (room(length) / length) as u64;
    let end = || {
        let message = copied.then(|| vec![7; length]);
        Ok(ByteRing { memory: memory.clone(), length, slots, mine: 0, seen: 0, message })
    };
    Ok(in_rounds(length, Ends::of(1, end, end)?))
}

impl ByteRing {
    /// # Safety
    /// The slot is this side's.
    #[allow(clippy::mut_from_ref)]
    unsafe fn slot(&self) -> &mut [u8] {
        let at = (self.mine % self.slots) as usize * self.length;
        // SAFETY: inside, for so many slots have room; by the caller's promise nobody else is there.
        unsafe { std::slice::from_raw_parts_mut(self.memory.bytes.0.get().cast::<u8>().add(at), self.length) }
    }
}

impl Producer for ByteRing {
    fn put(&mut self, items: Range<u64>) -> Result<()> {
        for item in items {
            while self.mine - self.seen == self.slots {
                self.seen = self.memory.head.0.load(Acquire);
            }
            match self.message.take() {
                Some(mut message) => {
                    mark(&mut message, item);
                    // SAFETY: the consumer has been there.
                    unsafe { self.slot() }.copy_from_slice(&message);
                    self.message = Some(message);
                }
                // SAFETY: as above.
                None => mark_ends(unsafe { self.slot() }, item),
            }
            self.mine += 1;
            self.memory.tail.0.store(self.mine, Release);
        }
        Ok(())
    }
}

impl Consumer for ByteRing {
    fn get(&mut self, mut each: impl FnMut(u64)) -> Result<()> {
        while self.mine == self.seen {
            self.seen = self.memory.tail.0.load(Acquire);
        }
        let item = match self.message.take() {
            Some(mut message) => {
                // SAFETY: the producer has been there.
                message.copy_from_slice(unsafe { self.slot() });
                let item = number(&message, self.length)?;
                self.message = Some(message);
                item
            }
            // SAFETY: as above.
            None => ends(unsafe { self.slot() }, self.length)?,
        };
        self.mine += 1;
        self.memory.head.0.store(self.mine, Release);
        each(item);
        Ok(())
    }
}
