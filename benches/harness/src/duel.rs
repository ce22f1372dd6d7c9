//! Two processes on two cores at the same thing, between two looks at the distance of the cores.

use crate::foreign::Program;
use crate::measure::Plan;
use crate::probe::{Probe, distance, is_far};
use crate::process::{Child, Line, Meeting, Shared, now, switches, two_cores};
use anyhow::Result;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

/// What the two did.
pub struct Duel {
    pub operations: [u64; 2],
    /// From the first start to the last end.
    pub seconds: f64,
    /// Context switches that the two asked for: sleeps.
    pub sleeps: u64,
    /// Context switches that were forced upon them.
    pub preempted: u64,
    /// Cache-line round trips in nanoseconds, before and after.
    pub round_trips: [f64; 2],
}

impl Duel {
    pub fn total(&self) -> u64 {
        self.operations.iter().sum()
    }

    pub fn million_per_second(&self) -> f64 {
        self.total() as f64 / self.seconds / 1e6
    }

    /// The share of the slower side in percent.
    pub fn slower_share(&self) -> f64 {
        100.0 * self.operations[0].min(self.operations[1]) as f64 / self.total().max(1) as f64
    }
}

#[derive(Default)]
struct Board {
    probe: Probe,
    meeting: Line<Meeting>,
    over: Line<AtomicBool>,
    sides: [Line<Side>; 2],
}

#[derive(Default)]
struct Side {
    operations: AtomicU64,
    start: AtomicU64,
    end: AtomicU64,
    sleeps: AtomicU64,
    preempted: AtomicU64,
    round_trips: [AtomicU64; 2],
}

/// Between two looks at the clock.
const ROUND: u64 = 256;

/// Each side repeats `operation` until the time is over. Disturbed duels are fought again, as often as the plan says.
pub fn duel(
    name: &str,
    plan: &Plan,
    mut operation: impl FnMut(),
    mut check: impl FnMut(&Duel) -> Result<()>,
) -> Result<Duel> {
    let time = Duration::from_millis(plan.contended_ms);
    repeat(name, plan, || {
        let duel = fight(time, &mut operation)?;
        check(&duel)?;
        Ok(duel)
    })
}

/// Between processes of another language, which checks the count.
pub fn foreign_duel(name: &str, plan: &Plan, program: &Program) -> Result<Duel> {
    let cores = two_cores()?;
    let request = format!("locks {} {} {}", plan.contended_ms, cores[0], cores[1]);
    repeat(name, plan, || {
        let before = distance(cores)?;
        let [a, b, seconds, sleeps, preempted] = program.ask(&request)?;
        let round_trips = [before, distance(cores)?];
        let [a, b, sleeps, preempted] = [a, b, sleeps, preempted].map(|count| count as u64);
        Ok(Duel { operations: [a, b], seconds, sleeps, preempted, round_trips })
    })
}

fn repeat(name: &str, plan: &Plan, mut fight: impl FnMut() -> Result<Duel>) -> Result<Duel> {
    let time = Duration::from_millis(plan.contended_ms);
    for attempt in 0.. {
        let duel = fight()?;
        let disturbed = is_disturbed(&duel, time);
        let [before, after] = duel.round_trips;
        eprintln!(
            "  {name:<24} {:>7.2} M/s, slower side {:>4.1} %, {} sleeps, {} preemptions, cache line {before:.0} -> {after:.0} ns{}",
            duel.million_per_second(),
            duel.slower_share(),
            duel.sleeps,
            duel.preempted,
            if disturbed { " (disturbed)" } else { "" }
        );
        if !disturbed || attempt == plan.retries {
            return Ok(duel);
        }
    }
    unreachable!()
}

fn fight(time: Duration, operation: &mut impl FnMut()) -> Result<Duel> {
    let cores = two_cores()?;
    let board = Shared::new(Board::default())?;
    let mut children = Vec::new();
    for (side, core) in cores.into_iter().enumerate() {
        children.push(Child::fork(core, || take_side(&board, side, time, operation))?);
    }
    children.into_iter().try_for_each(Child::wait)?;
    let [a, b] = &board.sides;
    let sum = |of: fn(&Side) -> &AtomicU64| of(&a.0).load(Relaxed) + of(&b.0).load(Relaxed);
    let start = a.0.start.load(Relaxed).min(b.0.start.load(Relaxed));
    let end = a.0.end.load(Relaxed).max(b.0.end.load(Relaxed));
    Ok(Duel {
        operations: [a.0.operations.load(Relaxed), b.0.operations.load(Relaxed)],
        seconds: (end - start) as f64 / 1e9,
        sleeps: sum(|side| &side.sleeps),
        preempted: sum(|side| &side.preempted),
        round_trips: [0, 1].map(|at| f64::from_bits(a.0.round_trips[at].load(Relaxed))),
    })
}

fn take_side(board: &Board, side: usize, time: Duration, operation: &mut impl FnMut()) -> Result<()> {
    let mine = &board.sides[side].0;
    mine.round_trips[0].store(board.probe.round_trip(side)?.to_bits(), Relaxed);
    (0..ROUND).for_each(|_| operation()); // warm-up; counted
    board.meeting.0.meet(2)?;
    let before = switches();
    let start = now();
    let mut operations = ROUND;
    while !board.over.0.load(Relaxed) {
        (0..ROUND).for_each(|_| operation());
        operations += ROUND;
        if now() - start > time.as_nanos() as u64 {
            board.over.0.store(true, Relaxed);
        }
    }
    mine.end.store(now(), Relaxed);
    let after = switches();
    mine.start.store(start, Relaxed);
    mine.operations.store(operations, Relaxed);
    mine.sleeps.store(after.0 - before.0, Relaxed);
    mine.preempted.store(after.1 - before.1, Relaxed);
    board.meeting.0.meet(2)?;
    mine.round_trips[1].store(board.probe.round_trip(side)?.to_bits(), Relaxed);
    Ok(())
}

/// Whether the cores moved apart, or others wanted them.
fn is_disturbed(duel: &Duel, time: Duration) -> bool {
    is_far(duel.round_trips) || duel.preempted > 2 + time.as_millis() as u64 / 10
}
