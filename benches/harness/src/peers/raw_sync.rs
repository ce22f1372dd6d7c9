//! The mutex of the crate `raw_sync`.

use super::Counter;
use crate::process::Shared;
use anyhow::{Result, anyhow, ensure};
use raw_sync::locks::{LockImpl, LockInit, Mutex};
use std::cell::UnsafeCell;

/// Room for the lock and its data.
#[repr(C, align(64))]
struct Room(UnsafeCell<[u8; 192]>);

// SAFETY: only touched by `raw_sync`.
unsafe impl Sync for Room {}

pub struct RawSync {
    lock: Box<dyn LockImpl>,
    _room: Shared<Room>,
}

impl RawSync {
    pub fn new() -> Result<Self> {
        const DATA_AT: usize = 128;
        let room = Shared::new(Room(UnsafeCell::new([0; 192])))?;
        let start = room.as_ptr().cast::<u8>();
        ensure!(Mutex::size_of(Some(start)) <= DATA_AT, "the lock is bigger than its room");
        // SAFETY: room for the lock, and for a u64 behind it.
        let (lock, _) = unsafe { Mutex::new(start, start.add(DATA_AT)) }.map_err(|error| anyhow!("{error}"))?;
        Ok(RawSync { lock, _room: room })
    }
}

impl Counter for RawSync {
    #[inline(always)]
    fn bump(&self) {
        let guard = self.lock.lock().expect("raw_sync locks");
        let number = guard.cast::<u64>();
        // SAFETY: aligned room for a u64, under its lock.
        unsafe { number.write_volatile(number.read_volatile() + 1) };
    }
    fn count(&self) -> u64 {
        let guard = self.lock.lock().expect("raw_sync locks");
        // SAFETY: as in `bump`.
        unsafe { guard.cast::<u64>().read_volatile() }
    }
}
