//! An event of the crate `raw_sync`, which resets itself: the waiting side sleeps.

use super::Ends;
use super::posted::{Post, Posted, posted};
use crate::process::Shared;
use anyhow::{Result, anyhow, ensure};
use raw_sync::Timeout;
use raw_sync::events::{Event, EventImpl, EventInit, EventState};
use std::cell::UnsafeCell;

const MOST_BYTES: usize = 192;

#[repr(C, align(64))]
struct Memory(UnsafeCell<[u8; MOST_BYTES]>);

// SAFETY: only touched by `raw_sync`.
unsafe impl Sync for Memory {}

pub struct Signal {
    event: Box<dyn EventImpl>,
    _memory: Shared<Memory>,
}

pub fn signalled() -> Result<Ends<Posted<Signal>, Posted<Signal>>> {
    posted(signal())
}

fn signal() -> Result<Signal> {
    let memory = Shared::new(Memory(UnsafeCell::new([0; MOST_BYTES])))?;
    let start = memory.0.get().cast::<u8>();
    ensure!(Event::size_of(Some(start)) <= MOST_BYTES, "the event is bigger than its room");
    // SAFETY: room for the event.
    let (event, _) = unsafe { Event::new(start, true) }.map_err(|error| anyhow!("{error}"))?;
    Ok(Signal { event, _memory: memory })
}

impl Post for Signal {
    fn post(&self) -> Result<()> {
        self.event.set(EventState::Signaled).map_err(|error| anyhow!("set: {error}"))
    }

    fn wait(&self) -> Result<()> {
        self.event.wait(Timeout::Infinite).map_err(|error| anyhow!("wait: {error}"))
    }
}
