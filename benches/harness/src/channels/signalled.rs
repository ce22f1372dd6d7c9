//! One slot in shared memory and an event of the crate `raw_sync`, which resets itself: the waiting side sleeps. For one who
//! waits for each answer: another item before that would be lost.

use super::{Consumer, Ends, Producer};
use crate::process::Shared;
use anyhow::{Result, anyhow, ensure};
use raw_sync::Timeout;
use raw_sync::events::{Event, EventImpl, EventInit, EventState};
use std::cell::UnsafeCell;
use std::ops::Range;
use std::rc::Rc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

const MOST_BYTES: usize = 192;

#[repr(C, align(64))]
struct Memory {
    event: UnsafeCell<[u8; MOST_BYTES]>,
    item: AtomicU64,
}

// SAFETY: what is no atomic is only touched by `raw_sync`.
unsafe impl Sync for Memory {}

pub struct Signalled {
    event: Rc<dyn EventImpl>,
    memory: Rc<Shared<Memory>>,
}

pub fn signalled() -> Result<Ends<Signalled, Signalled>> {
    let empty = Memory { event: UnsafeCell::new([0; MOST_BYTES]), item: AtomicU64::new(0) };
    let memory = Rc::new(Shared::new(empty)?);
    let start = memory.event.get().cast::<u8>();
    ensure!(Event::size_of(Some(start)) <= MOST_BYTES, "the event is bigger than its room");
    // SAFETY: room for the event.
    let (event, _) = unsafe { Event::new(start, true) }.map_err(|error| anyhow!("{error}"))?;
    let event: Rc<dyn EventImpl> = event.into();
    let end = || Ok(Signalled { event: event.clone(), memory: memory.clone() });
    Ends::of(1, end, end)
}

impl Producer for Signalled {
    fn put(&mut self, items: Range<u64>) -> Result<()> {
        for item in items {
            self.memory.item.store(item, Relaxed);
            self.event.set(EventState::Signaled).map_err(|error| anyhow!("set: {error}"))?;
        }
        Ok(())
    }
}

impl Consumer for Signalled {
    fn get(&mut self, mut each: impl FnMut(u64)) -> Result<()> {
        self.event.wait(Timeout::Infinite).map_err(|error| anyhow!("wait: {error}"))?;
        each(self.memory.item.load(Relaxed));
        Ok(())
    }
}
