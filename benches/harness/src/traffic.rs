//! Items from producers to consumers, as fast as they go, and a ledger of what arrived.

use crate::channels::{BATCH, Consumer, Ends, Producer};
use crate::foreign::Program;
use crate::measure::{Plan, check};
use crate::own_child::OwnChild;
use crate::probe::{distance, is_far};
use crate::process::{Line, Meeting, Shared, now, pin, switches, two_cores};
use anyhow::{Context, Result, anyhow, ensure};
use serde::{Deserialize, Serialize};
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::time::Duration;

/// What went through.
pub struct Traffic {
    pub items: u64,
    /// From the first item after the warm-up to the last consumer's end.
    pub seconds: f64,
    /// Context switches that the sides asked for: sleeps.
    pub sleeps: u64,
    /// Context switches that were forced upon them.
    pub preempted: u64,
    /// Cache-line round trips in nanoseconds, before and after.
    pub round_trips: [f64; 2],
    /// Whether each side has a core for itself.
    is_pair: bool,
}

impl Traffic {
    pub fn million_per_second(&self) -> f64 {
        self.items as f64 / self.seconds / 1e6
    }
}

/// Rounds of each side before the clock starts.
const WARM_UP_ROUNDS: u64 = 8;
/// No more items for the consumer that gets it.
const END: u64 = u64::MAX - 1;
/// The bits above tell whose item it is; those below count.
const NUMBER_BITS: u32 = 56;
/// A power of two.
const MOST_PRODUCERS: usize = 32;

#[derive(Default)]
struct Board {
    meeting: Line<Meeting>,
    over: Line<AtomicBool>,
    /// Producers that are through.
    through: Line<AtomicU32>,
}

/// Where four share two cores.
#[derive(Clone, Copy)]
pub enum Places {
    /// A producer and a consumer on each core.
    Mixed,
    /// All producers on one core, all consumers on the other; so it is where there is but one of each.
    Apart,
}

impl Places {
    /// The place in the pair of cores.
    fn producer(self, which: usize) -> usize {
        match self {
            Places::Mixed => which % 2,
            Places::Apart => 0,
        }
    }

    fn consumer(self, which: usize) -> usize {
        1 - self.producer(which)
    }
}

/// All that a side needs to know beside its end of the channel.
#[derive(Clone, Copy)]
struct Scene<'a> {
    board: &'a Board,
    /// So many producers, and so many consumers.
    pairs: usize,
    round: u64,
    time: Duration,
}

/// What a side did.
#[derive(Serialize, Deserialize)]
struct Tally {
    start: u64,
    end: u64,
    items: u64,
    /// So many of them before the clock started.
    warm_up: u64,
    /// Of the items, and of their squares; over all sides they tell a loss or a doubling. Only where several sides
    /// consume.
    sums: [u64; 2],
    sleeps: u64,
    preempted: u64,
}

/// Between processes; each end lives in a child of its own. Disturbed runs are done again, as often as the plan says.
pub fn between_processes<P: Producer, C: Consumer>(
    name: &str,
    plan: &Plan,
    places: Places,
    make: impl Fn() -> Result<Ends<P, C>>,
) -> Result<Traffic> {
    calm(name, plan, || {
        let (ends, cores, board) = (make()?, two_cores()?, Shared::new(Board::default())?);
        let scene = Scene::new(&board, &ends, plan);
        let _until_they_end = ends.keep;
        let mut children = Vec::new();
        for (which, end) in ends.producers.into_iter().enumerate() {
            children.push(OwnChild::fork(cores[places.producer(which)], || produce(scene, which, end))?);
        }
        for (which, end) in ends.consumers.into_iter().enumerate() {
            children.push(OwnChild::fork(cores[places.consumer(which)], || consume(scene, end))?);
        }
        children.into_iter().map(OwnChild::join).collect()
    })
}

/// Between threads of a child that has no other purpose, so that this process stays one of one thread.
pub fn between_threads<P: Producer + Send, C: Consumer + Send>(
    name: &str,
    plan: &Plan,
    places: Places,
    make: impl Fn() -> Result<Ends<P, C>>,
) -> Result<Traffic> {
    calm(name, plan, || {
        let (cores, board) = (two_cores()?, Shared::new(Board::default())?);
        let board: &Board = &board;
        let sides = || -> Result<Vec<Tally>> {
            let ends = make()?;
            let scene = Scene::new(board, &ends, plan);
            std::thread::scope(|threads| {
                let mut sides = Vec::new();
                for (which, end) in ends.producers.into_iter().enumerate() {
                    let core = cores[places.producer(which)];
                    sides.push(threads.spawn(move || pin(core).and_then(|()| produce(scene, which, end))));
                }
                for (which, end) in ends.consumers.into_iter().enumerate() {
                    let core = cores[places.consumer(which)];
                    sides.push(threads.spawn(move || pin(core).and_then(|()| consume(scene, end))));
                }
                sides.into_iter().map(|side| side.join().map_err(|_| anyhow!("a side panicked"))?).collect()
            })
        };
        OwnChild::fork(cores[0], sides)?.join()
    })
}

impl<'a> Scene<'a> {
    fn new<P, C>(board: &'a Board, ends: &Ends<P, C>, plan: &Plan) -> Self {
        let pairs = ends.producers.len();
        assert!(pairs <= MOST_PRODUCERS);
        Scene { board, pairs, round: ends.round, time: Duration::from_millis(plan.contended_ms) }
    }

    fn warm_up(&self) -> u64 {
        WARM_UP_ROUNDS * self.round
    }

    /// Before the first item, too: one who spins for it would keep the other off the core that it starts on.
    fn meet(&self) -> Result<()> {
        self.board.meeting.0.meet(2 * self.pairs as u32)
    }
}

/// Between processes of another language, which checks what arrives. `pairs` of them share the two cores.
pub fn between_foreign(name: &str, plan: &Plan, pairs: usize, program: &Program, request: &str) -> Result<Traffic> {
    let [a, b] = two_cores()?;
    let request = format!("{request} {} {a} {b}", plan.contended_ms);
    repeat(name, plan, || {
        let before = distance([a, b])?;
        let [items, seconds, sleeps, preempted] = program.ask(&request)?;
        let [items, sleeps, preempted] = [items, sleeps, preempted].map(|count| count as u64);
        let round_trips = [before, distance([a, b])?];
        Ok(Traffic { items, seconds, sleeps, preempted, round_trips, is_pair: pairs == 1 })
    })
}

fn calm(name: &str, plan: &Plan, run: impl Fn() -> Result<Vec<Tally>>) -> Result<Traffic> {
    let cores = two_cores()?;
    repeat(name, plan, || {
        let before = distance(cores)?;
        let tallies = run()?;
        Traffic::of(&tallies, [before, distance(cores)?])
    })
}

/// Until nobody disturbs it, or as often as the plan says.
fn repeat(name: &str, plan: &Plan, run: impl Fn() -> Result<Traffic>) -> Result<Traffic> {
    for attempt in 0.. {
        let traffic = run().with_context(|| name.to_string())?;
        // Where four share two cores, they take turns.
        let switched = traffic.is_pair && traffic.preempted > 2 + plan.contended_ms / 10;
        let disturbed = is_far(traffic.round_trips) || switched;
        let [before, after] = traffic.round_trips;
        eprintln!(
            "  {name:<40} {:>7.2} M/s, {} sleeps, {} preemptions, cache line {before:.0} -> {after:.0} ns{}",
            traffic.million_per_second(),
            traffic.sleeps,
            traffic.preempted,
            if disturbed { " (disturbed)" } else { "" }
        );
        if !disturbed || attempt == plan.retries {
            return Ok(traffic);
        }
    }
    unreachable!()
}

impl Traffic {
    /// The producers' tallies first.
    fn of(tallies: &[Tally], round_trips: [f64; 2]) -> Result<Self> {
        let pairs = tallies.len() / 2;
        let (producers, consumers) = tallies.split_at(pairs);
        let all = |tallies: &[Tally]| {
            let add = |sum: u64, more: u64| sum.wrapping_add(more);
            tallies.iter().fold((0, [0; 2]), |(items, sums), tally| {
                (items + tally.items, [add(sums[0], tally.sums[0]), add(sums[1], tally.sums[1])])
            })
        };
        let put = all(producers);
        check("what arrived", all(consumers), put)?;
        let start = producers.iter().map(|tally| tally.start).min().context("no producer")?;
        let end = consumers.iter().map(|tally| tally.end).max().context("no consumer")?;
        Ok(Traffic {
            items: producers.iter().map(|tally| tally.items - tally.warm_up).sum(),
            seconds: (end - start) as f64 / 1e9,
            sleeps: tallies.iter().map(|tally| tally.sleeps).sum(),
            preempted: tallies.iter().map(|tally| tally.preempted).sum(),
            round_trips,
            is_pair: pairs == 1,
        })
    }
}

fn produce(scene: Scene<'_>, which: usize, mut end: impl Producer) -> Result<Tally> {
    let Scene { board, pairs, round, time } = scene;
    let first = (which as u64) << NUMBER_BITS;
    scene.meet()?;
    end.put(first..first + scene.warm_up())?;
    scene.meet()?;
    let before = switches();
    let start = now();
    let mut next = first + scene.warm_up();
    while !board.over.0.load(Relaxed) {
        let until = next + round;
        while next < until {
            let some = BATCH.min(until - next);
            end.put(next..next + some)?;
            next += some;
        }
        if now() - start > time.as_nanos() as u64 {
            board.over.0.store(true, Relaxed);
        }
    }
    let after = switches();
    let ended_at = now();
    // Only the last one knows that nothing more comes.
    if board.through.0.fetch_add(1, SeqCst) + 1 == pairs as u32 {
        (0..pairs).try_for_each(|_| end.put(END..END + 1))?;
    }
    let mut sums = [0; 2];
    if pairs > 1 {
        (first..next).for_each(|item| add(&mut sums, item));
    }
    let (sleeps, preempted) = (after.0 - before.0, after.1 - before.1);
    Ok(Tally { start, end: ended_at, items: next - first, warm_up: scene.warm_up(), sums, sleeps, preempted })
}

fn consume(scene: Scene<'_>, end: impl Consumer) -> Result<Tally> {
    // Two loops, so that the cheaper check pays for itself alone.
    if scene.pairs == 1 { keep(scene, end, Exact::default()) } else { keep(scene, end, Ordered::default()) }
}

fn keep(scene: Scene<'_>, mut end: impl Consumer, mut ledger: impl Ledger) -> Result<Tally> {
    let mut items = 0_u64;
    scene.meet()?;
    while items < scene.warm_up() {
        end.get(|item| {
            ledger.enter(item);
            items += 1;
        })?;
    }
    scene.meet()?;
    let before = switches();
    let start = now();
    let mut ended = false;
    while !ended {
        end.get(|item| {
            if item == END {
                ended = true;
            } else {
                ledger.enter(item);
                items += 1;
            }
        })?;
    }
    let ended_at = now();
    let after = switches();
    let (sleeps, preempted) = (after.0 - before.0, after.1 - before.1);
    Ok(Tally { start, end: ended_at, items, warm_up: scene.warm_up(), sums: ledger.sums()?, sleeps, preempted })
}

/// What a consumer remembers of its items.
trait Ledger {
    fn enter(&mut self, item: u64);
    /// Fails when an item was where it should not be.
    fn sums(&self) -> Result<[u64; 2]>;
}

/// Of the only producer: each number, one after the other.
#[derive(Default)]
struct Exact {
    next: u64,
    wrong: bool,
}

impl Ledger for Exact {
    #[inline(always)]
    fn enter(&mut self, item: u64) {
        self.wrong |= item != self.next;
        self.next += 1;
    }

    fn sums(&self) -> Result<[u64; 2]> {
        ensure!(!self.wrong, "wrong result: an item was lost, doubled or out of order");
        Ok([0; 2])
    }
}

/// Of several producers, with another consumer beside: the numbers of each producer grow.
#[derive(Default)]
struct Ordered {
    next: [u64; MOST_PRODUCERS],
    sums: [u64; 2],
    wrong: bool,
}

impl Ledger for Ordered {
    #[inline(always)]
    fn enter(&mut self, item: u64) {
        let next = &mut self.next[(item >> NUMBER_BITS) as usize % MOST_PRODUCERS];
        self.wrong |= item < *next;
        *next = item + 1;
        add(&mut self.sums, item);
    }

    fn sums(&self) -> Result<[u64; 2]> {
        ensure!(!self.wrong, "wrong result: an item was doubled or out of order");
        Ok(self.sums)
    }
}

#[inline(always)]
fn add(sums: &mut [u64; 2], item: u64) {
    sums[0] = sums[0].wrapping_add(item);
    sums[1] = sums[1].wrapping_add(item.wrapping_mul(item));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact(items: &[u64]) -> bool {
        let mut ledger = Exact::default();
        items.iter().for_each(|item| ledger.enter(*item));
        ledger.sums().is_ok()
    }

    #[test]
    fn a_loss_a_doubling_and_another_order_are_found() {
        assert!(exact(&[0, 1, 2, 3]));
        assert!(!exact(&[0, 2, 3]) && !exact(&[0, 1, 1, 2]) && !exact(&[0, 2, 1, 3]));
        let mut ledger = Ordered::default();
        [0, 2, 1 << NUMBER_BITS, 3].iter().for_each(|item| ledger.enter(*item));
        assert!(ledger.sums().is_ok());
        ledger.enter(3);
        assert!(ledger.sums().is_err());
    }

    #[test]
    fn consumers_together_have_what_was_put() {
        let tally = |items, sums| Tally { start: 0, end: 1, items, warm_up: 1, sums, sleeps: 0, preempted: 0 };
        let sums = |items: &[u64]| {
            let mut sums = [0; 2];
            items.iter().for_each(|item| add(&mut sums, *item));
            sums
        };
        let put = || tally(2, sums(&[1, 4]));
        let traffic = |got: &[u64]| Traffic::of(&[put(), tally(2, sums(got))], [100.0; 2]);
        assert!(traffic(&[4, 1]).is_ok());
        assert!(traffic(&[2, 3]).is_err() && traffic(&[1, 1]).is_err());
    }
}
