//! Semaphores, conditions, barriers, events, recursive locks: what a process leaves that is killed while it takes part,
//! and whether the sleepers are woken for what there is.
//!
//! The worlds look at the memory without calling as long as they wait for a sleeper to be woken: a call would wake too.

mod barrier;
mod condition;
mod event;
mod rlock;
mod semaphore;

use super::common::{BEDTIME, Flags, address, demand_all, eventually, patience, pinned, put_to_bed, warm_up, watch};
use super::stepper::{Asleep, Kill, Scenario, Strategy, Survivor, Watched, World};
use crossproc::{Barrier, BarrierError, Condition, Event, Permit, RLock, RLockGuard, Semaphore, Value};
use std::fmt::Debug;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(30);
/// A seat's size, and the number in it that is taken in the middle of a wait.
const SEAT: usize = 64;

fn word(object: &impl Debug, at: usize) -> u32 {
    // SAFETY: a word of the object's memory, which the world keeps mapped.
    unsafe { &*((address(object) + at) as *const AtomicU32) }.load(SeqCst)
}

fn double(object: &impl Debug, at: usize) -> u64 {
    // SAFETY: as above.
    unsafe { &*((address(object) + at) as *const AtomicU64) }.load(SeqCst)
}

/// How many of so many participants, from there on, are in use.
fn taken(object: &impl Debug, from: usize, seats: usize) -> usize {
    (0..seats).filter(|seat| word(object, from + seat * SEAT) != 0).count()
}

/// What happens while the victim sleeps.
#[derive(Clone, Copy, PartialEq)]
enum Night {
    /// Nothing: it is killed in its sleep.
    Quiet,
    /// What it waits for comes.
    Woken,
    /// The process that has what it waits for is killed.
    Bereft,
    /// Nothing until its time is up.
    TimeOut,
}

impl Night {
    fn shape(self, scenario: Scenario) -> Scenario {
        match self {
            Night::Quiet => scenario,
            Night::TimeOut => scenario.strategy(Strategy::ByEffect).after_wake(),
            Night::Woken | Night::Bereft => scenario.after_wake(),
        }
    }
}

pub fn scenarios() -> Vec<Scenario> {
    [semaphore::scenarios(), condition::scenarios(), barrier::scenarios(), event::scenarios(), rlock::scenarios()]
        .into_iter()
        .flatten()
        .collect()
}
