//! One item to the other side and one back, again and again: how long that takes.

use crate::channels::{Consumer, Ends, Producer};
use crate::foreign::Program;
use crate::measure::{Plan, check, median, quantile};
use crate::own_child::OwnChild;
use crate::probe::{distance, is_far};
use crate::process::{Line, Meeting, Shared, now, pin, switches, two_cores};
use anyhow::{Context, Result, anyhow, ensure};
use serde::{Deserialize, Serialize};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// Where the sides are, and what they do before each answer.
#[derive(Clone, Copy)]
pub struct Court {
    pub cores: [usize; 2],
    /// Each side is busy for so many nanoseconds before it puts an item, so that the other one falls asleep meanwhile.
    /// It does not count.
    pub pause: u64,
    /// Round trips between two looks at the clock; 1 if there are pauses.
    chunk: u64,
}

impl Court {
    /// Both spin, or at least can.
    pub fn spinning() -> Result<Self> {
        Ok(Court { cores: two_cores()?, pause: 0, chunk: 500 })
    }

    /// Nobody can spin for the other, since the other needs the core.
    pub fn same_core() -> Result<Self> {
        Ok(Court { cores: [two_cores()?[1]; 2], pause: 0, chunk: 1 })
    }

    /// Longer than anybody spins.
    pub fn idle() -> Result<Self> {
        Ok(Court { cores: two_cores()?, pause: 150_000, chunk: 1 })
    }
}

/// How it went.
pub struct Rally {
    /// The median round trip.
    pub nanoseconds: f64,
    /// What 99 % and 99.9 % do not exceed, each timed by itself, the two looks at the clock included.
    pub tails: [f64; 2],
    /// Context switches that both sides asked for, for each round trip.
    pub sleeps: f64,
    /// Cache-line round trips between the two cores in nanoseconds, the mean of before and after. None on one core.
    pub cache_line: Option<f64>,
}

#[derive(Default)]
struct Board {
    /// Before the first item: one who spins for it would keep the other off the core that it starts on.
    meeting: Line<Meeting>,
    /// How long the answering side was busy with something else this time.
    paused: Line<AtomicU64>,
}

/// No more round trips.
const END: u64 = u64::MAX - 1;
const WARM_UP: u64 = 200;

/// Between processes. Where the cores moved apart it is done again, as often as the plan says.
pub fn between_processes<P: Producer, C: Consumer>(
    name: &str,
    plan: &Plan,
    court: Court,
    make: impl Fn() -> Result<Ends<P, C>>,
) -> Result<Rally> {
    near(name, plan, court, || {
        let board = Shared::new(Board::default())?;
        let (mut there, mut back) = (make()?, make()?);
        let ([a, b], board) = (sides(&mut there, &mut back)?, &*board);
        let one = OwnChild::fork(court.cores[0], || serve(board, plan, court, a))?;
        let other = OwnChild::fork(court.cores[1], || answer(board, court, b))?;
        Ok((one.join()?, other.join()?))
    })
}

/// Between threads of a child that has no other purpose.
pub fn between_threads<P: Producer + Send, C: Consumer + Send>(
    name: &str,
    plan: &Plan,
    court: Court,
    make: impl Fn() -> Result<Ends<P, C>>,
) -> Result<Rally> {
    near(name, plan, court, || {
        let board = Shared::new(Board::default())?;
        let board: &Board = &board;
        let both = || {
            let [a, b] = sides(&mut make()?, &mut make()?)?;
            std::thread::scope(|threads| {
                let other = threads.spawn(|| pin(court.cores[1]).and_then(|()| answer(board, court, b)));
                let served = serve(board, plan, court, a)?;
                Ok((served, other.join().map_err(|_| anyhow!("a side panicked"))??))
            })
        };
        OwnChild::fork(court.cores[0], both)?.join()
    })
}

/// Between processes of another language, which checks what comes back.
pub fn between_foreign(name: &str, plan: &Plan, court: Court, program: &Program, request: &str) -> Result<Rally> {
    let [a, b] = court.cores;
    let request = format!("{request} {} {a} {b}", plan.contended_ms);
    near(name, plan, court, || {
        let [nanoseconds, p99, p999, slept, rounds] = program.ask(&request)?;
        Ok((Served { nanoseconds, tails: [p99, p999], slept: slept as u64, rounds: rounds as u64 }, 0))
    })
}

/// For each side where it puts and where it gets.
fn sides<P, C>(there: &mut Ends<P, C>, back: &mut Ends<P, C>) -> Result<[(P, C); 2]> {
    let both = |put: &mut Ends<P, C>, get: &mut Ends<P, C>| Some((put.producers.pop()?, get.consumers.pop()?));
    let a = both(there, back).context("no ends")?;
    Ok([a, both(back, there).context("no ends")?])
}

/// What the side that has the clock knows.
#[derive(Serialize, Deserialize)]
struct Served {
    nanoseconds: f64,
    tails: [f64; 2],
    slept: u64,
    rounds: u64,
}

fn near(name: &str, plan: &Plan, court: Court, run: impl Fn() -> Result<(Served, u64)>) -> Result<Rally> {
    for attempt in 0.. {
        let apart = court.cores[0] != court.cores[1];
        let look = || if apart { distance(court.cores).map(Some) } else { Ok(None) };
        let before = look()?;
        let (served, others) = run().with_context(|| name.to_string())?;
        let Served { nanoseconds, tails, slept, rounds } = served;
        let round_trips = before.zip(look()?);
        let far = round_trips.is_some_and(|(before, after)| is_far([before, after]));
        let cache_line = round_trips.map(|(before, after)| f64::midpoint(before, after));
        let sleeps = (slept + others) as f64 / rounds as f64;
        eprintln!(
            "  {name:<40} {nanoseconds:>8.0} ns, {sleeps:.3} sleeps each, cache line {:.0} ns{}",
            cache_line.unwrap_or(0.0),
            if far { " (far)" } else { "" }
        );
        if !far || attempt == plan.retries {
            return Ok(Rally { nanoseconds, tails, sleeps, cache_line });
        }
    }
    unreachable!()
}

/// The side that begins, and has the clock.
fn serve(
    board: &Board,
    plan: &Plan,
    court: Court,
    (mut put, mut get): (impl Producer, impl Consumer),
) -> Result<Served> {
    board.meeting.0.meet(2)?;
    let mut next = 0;
    let mut chunk = |rounds: u64| -> Result<f64> {
        let mut outside = 0;
        let start = now();
        for number in next..next + rounds {
            outside += stay_busy(court.pause);
            put.put(number..number + 1)?;
            let mut got = END;
            get.get(|item| got = item)?;
            ensure!(got == number, "wrong result: {got} came back, not {number}");
            outside += board.paused.0.load(Relaxed);
        }
        next += rounds;
        Ok((now() - start).saturating_sub(outside) as f64 / rounds as f64)
    };
    chunk(WARM_UP)?;
    let mut chunks = Vec::new();
    let before = switches();
    let start = now();
    while now() - start < plan.contended_ms * 1_000_000 {
        chunks.push(chunk(court.chunk)?);
    }
    let nanoseconds = median(&chunks).context("no round trips")?;
    if court.chunk > 1 {
        chunks.clear();
        let start = now();
        while now() - start < plan.contended_ms * 500_000 {
            chunks.push(chunk(1)?);
        }
    }
    let slept = switches().0 - before.0;
    let rounds = next - WARM_UP;
    put.put(END..END + 1)?;
    Ok(Served { nanoseconds, tails: [quantile(&mut chunks, 0.99), quantile(&mut chunks, 0.999)], slept, rounds })
}

/// The side that sends back what it gets: how often it slept.
fn answer(board: &Board, court: Court, (mut put, mut get): (impl Producer, impl Consumer)) -> Result<u64> {
    board.meeting.0.meet(2)?;
    let mut before = 0;
    for expected in 0.. {
        let mut got = 0;
        get.get(|item| got = item)?;
        if got == END {
            break;
        }
        check("the item", got, expected)?;
        if court.pause > 0 {
            board.paused.0.store(stay_busy(court.pause), Relaxed);
        }
        if got + 1 == WARM_UP {
            before = switches().0;
        }
        put.put(got..got + 1)?;
    }
    let slept = switches().0 - before;
    Ok(slept)
}

/// For so long, and says how long it was.
fn stay_busy(nanoseconds: u64) -> u64 {
    if nanoseconds == 0 {
        return 0;
    }
    let start = now();
    while now() - start < nanoseconds {}
    now() - start
}
