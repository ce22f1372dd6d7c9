//! A producer or a consumer is killed at a random moment: how long those who are left get nothing.
//!
//! Each round has a queue of its own, a producer and a consumer that live, and beside them a victim of one of the two
//! kinds on the other one's core. What counts is the longest time between two items of the living consumer, from just
//! before the kill on. The rounds without a kill show how much of that is the scheduler's: three processes share two
//! cores, with each other and with whatever else the machine does, also where this program goes before others.

use crate::channels::CAPACITY;
use crate::measure::{Job, Plan, Row, check, interleave};
use crate::process::{end_in_time, now, pin, take_turns, two_cores};
use anyhow::{Result, ensure};
use crossproc::{Atomic, Process, ProcessBuilder, SimpleQueue};
use serde::{Deserialize, Serialize};
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::Duration;

const GROUP: &str = "stalls";

pub fn run(plan: &Plan) -> Result<Vec<Row>> {
    let cores = match two_cores() {
        Ok(cores) => cores,
        Err(error) => return Ok(vec![Row::missing(GROUP, "a kill", error)]),
    };
    let kills = if plan.quick { 60 } else { 200 };
    let job = |name: &'static str, victim, killed| {
        let mut random = 0x9e37_79b9_7f4a_7c15;
        Job::one(name, "ms", move || round(victim, killed, cores, &mut random)).ours()
    };
    let jobs = vec![
        job("consumer killed", Role::Consumer, true),
        job("producer killed", Role::Producer, true),
        job("another consumer, not killed", Role::Consumer, false),
        job("another producer, not killed", Role::Producer, false),
    ];
    interleave(GROUP, &Plan { repetitions: kills, ..*plan }, jobs)
}

#[derive(Clone, Copy, PartialEq)]
enum Role {
    Producer,
    Consumer,
}

/// The highest bits of an item tell whose it is, the others count.
const NUMBER_BITS: u32 = 56;
/// How long the others are watched after the kill.
const WATCHED: u64 = 5_000_000;

/// What the three and the one who kills know of each other; it travels as the queue does.
#[derive(Clone, Serialize, Deserialize)]
struct Board {
    /// Items that each producer has put, each consumer has got: acknowledged.
    put: [Atomic<u64>; 2],
    got: [Atomic<u64>; 2],
    /// When the living consumer got its last item, and its longest time between two since the last look.
    last: Atomic<u64>,
    longest: Atomic<u64>,
    over: Atomic<u32>,
}

impl Board {
    fn new() -> Result<Self> {
        let zero = || Atomic::new(0_u64);
        let (put, got) = ([zero()?, zero()?], [zero()?, zero()?]);
        Ok(Board { put, got, last: zero()?, longest: zero()?, over: Atomic::new(0)? })
    }
}

/// Which one of its kind, and where.
type Place = (usize, usize);

fn produce(queue: SimpleQueue<u64>, board: Board, (which, core): Place) -> Result<(), String> {
    set_up(core)?;
    let first = (which as u64) << NUMBER_BITS;
    let mut number = 0;
    while board.over.load(Relaxed) == 0 {
        queue.put(first + number).map_err(|error| error.to_string())?;
        number += 1;
        board.put[which].store(number, SeqCst);
    }
    Ok(())
}

/// Gives how many items of each producer came, and how many of their numbers did not, up to the last that did.
fn consume(queue: SimpleQueue<u64>, board: Board, (which, core): Place) -> Result<[(u64, u64); 2], String> {
    set_up(core)?;
    let (mut came, mut next) = ([0; 2], [0; 2]);
    let mut last = now();
    for (count, item) in (1..).zip(&queue) {
        let item = item.map_err(|error| error.to_string())?;
        if which == 0 {
            let at = now();
            if at - last > board.longest.load(Relaxed) {
                board.longest.store(at - last, Relaxed);
            }
            board.last.store(at, Relaxed);
            last = at;
        }
        let (producer, number) = ((item >> NUMBER_BITS) as usize % 2, item & ((1 << NUMBER_BITS) - 1));
        if number < next[producer] {
            return Err(format!("item {number} behind {}", next[producer]));
        }
        came[producer] += 1;
        next[producer] = number + 1;
        board.got[which].store(count, SeqCst);
    }
    Ok([0, 1].map(|producer| (came[producer], next[producer] - came[producer])))
}

/// A failure here leaves no process running.
fn daemon() -> ProcessBuilder {
    Process::builder().daemon(true)
}

fn set_up(core: usize) -> Result<(), String> {
    end_in_time();
    take_turns().and_then(|()| pin(core)).map_err(|error| format!("{error:#}"))
}

/// The longest time without an item, in milliseconds.
fn round(victim: Role, killed: bool, cores: [usize; 2], random: &mut u64) -> Result<f64> {
    let (queue, board) = (SimpleQueue::bounded(CAPACITY)?, Board::new()?);
    let producer = daemon().spawn(produce, (queue.clone(), board.clone(), (0, cores[0])))?;
    let consumer = daemon().spawn(consume, (queue.clone(), board.clone(), (0, cores[1])))?;
    let (mut other_producer, mut other_consumer) = (None, None);
    let place = |core: usize| (queue.clone(), board.clone(), (1, core));
    match victim {
        Role::Producer => other_producer = Some(daemon().spawn(produce, place(cores[1]))?),
        Role::Consumer => other_consumer = Some(daemon().spawn(consume, place(cores[0]))?),
    }
    let sign = if victim == Role::Producer { &board.put[1] } else { &board.got[1] };
    until("the victim is at it", || sign.load(SeqCst) > 0 && board.got[0].load(SeqCst) > 0)?;
    std::thread::sleep(Duration::from_nanos(next(random) % 3_000_000));

    board.longest.store(0, SeqCst);
    let killed_at = now();
    if killed {
        other_producer.as_ref().map_or(Ok(()), Process::kill)?;
        other_consumer.as_ref().map_or(Ok(()), Process::kill)?;
    }
    until("the others go on", || board.last.load(SeqCst) > killed_at + WATCHED)?;
    let longest = board.longest.load(SeqCst);

    board.over.store(1, SeqCst);
    let others_end = other_producer.as_ref().map(Process::wait);
    ensure!(producer.join()?.is_ok(), "the producer failed");
    queue.close();
    let counts = consumer.join()?.map_err(anyhow::Error::msg)?;
    let others_end = others_end.or(other_consumer.as_ref().map(Process::wait));
    check("how the victim ended", others_end, Some(if killed { -libc::SIGKILL } else { 0 }))?;
    audit(victim, killed, &board, counts)?;
    Ok(longest as f64 / 1e6)
}

/// What was acknowledged has arrived; a killed consumer took at most the item with it that it was just getting.
fn audit(victim: Role, killed: bool, board: &Board, counts: [(u64, u64); 2]) -> Result<()> {
    let [(came, missing), (others, others_missing)] = counts;
    let (put, put_by_other) = (board.put[0].load(SeqCst), board.put[1].load(SeqCst));
    match victim {
        Role::Producer => {
            check("items, and those that were lost", (came, missing, others_missing), (put, 0, 0))?;
            let unacknowledged = others.checked_sub(put_by_other);
            ensure!(unacknowledged.is_some_and(|n| n <= u64::from(killed)), "{others} of {put_by_other} items came");
        }
        Role::Consumer => {
            let lost = put.checked_sub(came + board.got[1].load(SeqCst));
            ensure!(lost.is_some_and(|n| n <= u64::from(killed)), "of {put} items {came} came here: lost {lost:?}");
        }
    }
    Ok(())
}

fn until(what: &str, is_so: impl Fn() -> bool) -> Result<()> {
    const MOST: u64 = 20_000_000_000;
    let start = now();
    while !is_so() {
        ensure!(now() - start < MOST, "never: {what}");
        std::thread::sleep(Duration::from_micros(200));
    }
    Ok(())
}

/// Marsaglia's xorshift.
fn next(random: &mut u64) -> u64 {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    *random
}
