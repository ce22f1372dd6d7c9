//! How far two cores are from each other: the time of a cache line from one to the other and back.

use crate::process::{Child, Line, Meeting, Shared, now};
use anyhow::Result;
use std::cell::Cell;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// What two sides throw to each other.
#[derive(Default)]
pub struct Probe {
    meeting: Line<Meeting>,
    ball: Line<AtomicU64>,
}

impl Probe {
    /// The median round trip in nanoseconds; both sides call it at about the same time.
    pub fn round_trip(&self, side: usize) -> Result<f64> {
        const ROUNDS: u64 = 500;
        const CHUNKS: usize = 15;
        let mut chunks = [0; CHUNKS];
        for chunk in &mut chunks {
            self.meeting.0.meet(2)?;
            let start = now();
            let first = self.ball.0.load(Relaxed) / (2 * ROUNDS) * (2 * ROUNDS);
            for round in 0..ROUNDS {
                let mine = first + 2 * round + side as u64;
                while self.ball.0.load(Acquire) != mine {}
                self.ball.0.store(mine + 1, Release);
            }
            *chunk = now() - start;
        }
        self.meeting.0.meet(2)?;
        chunks.sort_unstable();
        Ok(chunks[CHUNKS / 2] as f64 / ROUNDS as f64)
    }
}

/// The round trip between two cores, by two processes that do nothing else.
pub fn distance(cores: [usize; 2]) -> Result<f64> {
    let probe = Shared::new(Probe::default())?;
    let found = Shared::new(AtomicU64::new(0))?;
    let other = Child::fork(cores[1], || probe.round_trip(1).map(drop))?;
    let one = Child::fork(cores[0], || {
        found.store(probe.round_trip(0)?.to_bits(), Relaxed);
        Ok(())
    })?;
    one.wait()?;
    other.wait()?;
    Ok(f64::from_bits(found.load(Relaxed)))
}

/// Whether cores are further apart than they were at best in this run: the hypervisor has moved them.
pub fn is_far(round_trips: [f64; 2]) -> bool {
    thread_local!(static NEAREST: Cell<f64> = const { Cell::new(f64::INFINITY) });
    let [before, after] = round_trips;
    let nearest = NEAREST.get().min(before).min(after);
    NEAREST.set(nearest);
    before.max(after) > 1.7 * nearest
}
