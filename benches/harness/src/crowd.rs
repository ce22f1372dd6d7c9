//! Many processes at the same thing, on two cores.

use crate::measure::check;
use crate::own_child::OwnChild;
use crate::peers::Counter;
use crate::process::{Line, Meeting, Shared, now, two_cores};
use anyhow::{Context, Result};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

#[derive(Default)]
struct Board {
    meeting: Line<Meeting>,
    over: Line<AtomicBool>,
}

/// Between two looks at the clock.
const ROUND: u64 = 64;

/// How often so many processes together add one to a number, in millions per second.
pub fn million_per_second(counter: &impl Counter, participants: usize, time: Duration) -> Result<f64> {
    let (cores, board) = (two_cores()?, Shared::new(Board::default())?);
    let before = counter.count();
    let take_part = || -> Result<(u64, u64, u64)> {
        board.meeting.0.meet(participants as u32)?;
        let (start, mut operations) = (now(), 0);
        while !board.over.0.load(Relaxed) {
            (0..ROUND).for_each(|_| counter.bump());
            operations += ROUND;
            if now() - start > time.as_nanos() as u64 {
                board.over.0.store(true, Relaxed);
            }
        }
        Ok((operations, start, now()))
    };
    let fork = |which: usize| OwnChild::fork(cores[which % 2], take_part);
    let children = (0..participants).map(fork).collect::<Result<Vec<_>>>()?;
    let sides = children.into_iter().map(OwnChild::join).collect::<Result<Vec<_>>>()?;
    let operations = sides.iter().map(|side| side.0).sum();
    check("the number", counter.count() - before, operations)?;
    let start = sides.iter().map(|side| side.1).min().context("nobody")?;
    let end = sides.iter().map(|side| side.2).max().context("nobody")?;
    Ok(operations as f64 * 1e3 / (end - start) as f64)
}
