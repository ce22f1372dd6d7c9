//! Two workers: how many empty tasks they do in a second, one task at a time, and how long one task takes there and
//! back; how work that takes long is shared out; and how long a pool of eight takes to start.
//!
//! Nothing here is pinned, for a pool shares out the cores as it likes, but for what is to be on one core.

use crate::foreign::{Peer, python};
use crate::measure::{Job, Plan, Row, check, interleave, median};
use crate::own_child::OwnChild;
use crate::process::{cores, now, unpin};
use anyhow::{Context, Result};
use procspawn::Pool;
use rayon::ThreadPoolBuilder;
use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};
use std::collections::VecDeque;
use std::hint::black_box;

const GROUP: &str = "pool";
const WORKERS: usize = 2;
/// A name, what the program calls it, and the module that has it.
const SNAKES: [(&str, &str, &str); 4] = [
    ("Python Pool", "Pool", "multiprocessing"),
    ("ProcessPoolExecutor", "ProcessPoolExecutor", "concurrent.futures"),
    ("loky", "loky", "loky"),
    ("mpire", "mpire", "mpire"),
];

pub fn run(plan: &Plan) -> Result<Vec<Row>> {
    unpin()?;
    // Each has a program of its own: forking beside another pool's threads is not safe in Python.
    let programs = SNAKES.map(|_| python());
    let mut jobs: Vec<_> = SNAKES.iter().zip(&programs).map(|(snake, peer)| snake_job(*snake, plan, peer)).collect();
    jobs.push(own("Pool", plan, ours).ours());
    jobs.push(own("procspawn Pool", plan, processes));
    jobs.push(own("rayon, threads", plan, threads).in_process());
    let mut rows = interleave(GROUP, plan, jobs)?;
    rows.append(&mut interleave(GROUP, plan, other_maps(plan, &programs[0]))?);
    rows.append(&mut interleave(GROUP, plan, trips(plan))?);
    rows.append(&mut interleave(GROUP, plan, long_work(plan))?);
    rows.append(&mut interleave(GROUP, plan, starts(plan, &programs[0]))?);
    Ok(rows)
}

/// Chunks as large as usual, and results that are taken one after the other.
fn other_maps<'a>(plan: &'a Plan, python: &'a Peer) -> Vec<Job<'a>> {
    const CONTESTS: [&str; 3] = ["map, usual chunks", "imap", "imap, unordered"];
    let rows = |name: &str| CONTESTS.map(|contest| (format!("{contest}: {name}"), "k/s")).to_vec();
    let ours = Job::new(rows("Pool"), move || {
        let child = OwnChild::fork(cores()[0], || unpin().and_then(|()| other_maps_of_ours(plan)))?;
        child.join()
    });
    let names: Vec<_> = rows("Python Pool").into_iter().map(|(name, _)| name).collect();
    let snake = python.job_with("multiprocessing", names, |program| {
        let request = format!("other_maps {}", plan.contended_ms);
        Job::new(rows("Python Pool"), move || Ok(program.ask::<3>(&request)?.to_vec()))
    });
    vec![ours.ours(), snake]
}

fn other_maps_of_ours(plan: &Plan) -> Result<Vec<f64>> {
    let pool = crossproc::Pool::new(WORKERS)?;
    let nanoseconds = plan.contended_ms * 1_000_000 / 3;
    let add_one = |n: u64| n + 1;
    Ok(vec![
        steady_rate(nanoseconds, &|tasks| Ok(pool.map(add_one, 0..tasks)?.into_iter().sum()))?,
        steady_rate(nanoseconds, &|tasks| Ok(pool.imap(add_one, 0..tasks).sum::<Result<u64, _>>()?))?,
        steady_rate(nanoseconds, &|tasks| Ok(pool.imap_unordered(add_one, 0..tasks).sum::<Result<u64, _>>()?))?,
    ])
}

/// One task alone, there and back, where both sides sleep before; beside a byte that goes there and back.
fn trips(plan: &Plan) -> Vec<Job<'_>> {
    let job = |name: &str, one_core: bool, run: fn(&Plan, u64) -> Result<f64>| {
        // On one core the other side does nothing until this one sleeps, so there need be no pause.
        let pause = if one_core { 0 } else { 200_000 };
        Job::one(name, "us", move || {
            let child = OwnChild::fork(cores()[0], || {
                if !one_core {
                    unpin()?;
                }
                run(plan, pause)
            })?;
            child.join()
        })
    };
    vec![
        job("apply, asleep: Pool", false, apply_trip).ours(),
        job("apply, asleep: SimpleQueue ping-pong", false, queue_trip).ours(),
        job("apply, asleep: pipe(2) ping-pong", false, pipe_trip),
        job("apply, one core: Pool", true, apply_trip).ours(),
        job("apply, one core: SimpleQueue ping-pong", true, queue_trip).ours(),
        job("apply, one core: pipe(2) ping-pong", true, pipe_trip),
    ]
}

/// The median of the trips, in microseconds.
fn trip_after(plan: &Plan, pause: u64, mut trip: impl FnMut(u64) -> Result<u64>) -> Result<f64> {
    let (mut trips, start) = (Vec::new(), now());
    while now() - start < plan.contended_ms * 1_000_000 {
        if pause > 0 {
            std::thread::sleep(std::time::Duration::from_nanos(pause));
        }
        let before = now();
        let answer = trip(trips.len() as u64)?;
        let took = now() - before;
        check("the answer", answer, trips.len() as u64 + 1)?;
        trips.push(took as f64 / 1e3);
    }
    median(&trips).context("no round trips")
}

fn apply_trip(plan: &Plan, pause: u64) -> Result<f64> {
    let pool = crossproc::Pool::new(WORKERS)?;
    pool.map(|n: u64| n, 0..16)?; // they are there
    trip_after(plan, pause, |n| Ok(pool.apply(|n: u64| n + 1, (n,))?))
}

fn queue_trip(plan: &Plan, pause: u64) -> Result<f64> {
    let (there, back) = (crossproc::SimpleQueue::<u64>::bounded(4)?, crossproc::SimpleQueue::<u64>::bounded(4)?);
    let echo = |there: crossproc::SimpleQueue<u64>, back: crossproc::SimpleQueue<u64>| {
        while let Ok(n) = there.get() {
            if back.put(n + 1).is_err() {
                return;
            }
        }
    };
    let child = crossproc::Process::builder().daemon(true).spawn(echo, (there.clone(), back.clone()))?;
    let trip = trip_after(plan, pause, |n| {
        there.put(n)?;
        Ok(back.get()?)
    });
    there.close();
    child.join()?;
    trip
}

fn pipe_trip(plan: &Plan, pause: u64) -> Result<f64> {
    use std::io::{Read, Write};
    let ((mut here, mut answer), (mut question, mut there)) = (std::io::pipe()?, std::io::pipe()?);
    // SAFETY: this process has one thread.
    let child = unsafe {
        crossproc::fork(|| {
            let mut bytes = [0; 8];
            while question.read_exact(&mut bytes).is_ok() && u64::from_ne_bytes(bytes) != u64::MAX {
                let next = u64::from_ne_bytes(bytes) + 1;
                if answer.write_all(&next.to_ne_bytes()).is_err() {
                    return;
                }
            }
        })
    }?;
    let trip = trip_after(plan, pause, |n| {
        there.write_all(&n.to_ne_bytes())?;
        let mut bytes = [0; 8];
        here.read_exact(&mut bytes)?;
        Ok(u64::from_ne_bytes(bytes))
    });
    there.write_all(&u64::MAX.to_ne_bytes())?;
    child.join()?;
    trip
}

/// Some milliseconds of arithmetic, of which nothing can be left out: each step needs the one before. In registers
/// alone, and the same code wherever it is called: how fast a value comes back from the stack depends on where that
/// lies, by a factor of three.
#[inline(never)]
fn toil(seed: u64) -> u64 {
    (0..800_000_u64).fold(seed, |x, step| {
        let x = x.wrapping_mul(x | 1).wrapping_add(step);
        x ^ x >> 7
    })
}

fn long_work(plan: &Plan) -> Vec<Job<'_>> {
    let items = if plan.quick { 48 } else { 192 };
    let job = move |name: &str, run: fn(u64) -> Result<(f64, u64)>| {
        Job::one(name, "items/s", move || {
            let child = OwnChild::fork(cores()[0], || {
                unpin()?;
                let (seconds, sum) = run(items)?;
                check("the sum", sum, (0..items).map(toil).fold(0, u64::wrapping_add))?;
                Ok(items as f64 / seconds)
            })?;
            child.join()
        })
    };
    vec![
        job("long tasks: Pool", long_in_pool).ours(),
        job("long tasks: std threads", long_in_threads).in_process(),
        job("long tasks: rayon", long_in_rayon).in_process(),
    ]
}

fn timed(run: impl FnOnce() -> Result<u64>) -> Result<(f64, u64)> {
    let start = now();
    let sum = run()?;
    Ok(((now() - start) as f64 / 1e9, sum))
}

fn long_in_pool(items: u64) -> Result<(f64, u64)> {
    let pool = crossproc::Pool::new(WORKERS)?;
    pool.map(|n: u64| n, 0..16)?; // they are there
    timed(|| Ok(pool.chunksize(1).map(toil, 0..items)?.into_iter().fold(0, u64::wrapping_add)))
}

fn long_in_threads(items: u64) -> Result<(f64, u64)> {
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
    timed(|| {
        let next = AtomicU64::new(0);
        let work = || {
            let mine = std::iter::from_fn(|| Some(next.fetch_add(1, Relaxed)).filter(|n| *n < items));
            mine.map(toil).fold(0, u64::wrapping_add)
        };
        Ok(std::thread::scope(|threads| {
            let workers: Vec<_> = (0..WORKERS).map(|_| threads.spawn(work)).collect();
            workers.into_iter().filter_map(|worker| worker.join().ok()).fold(0, u64::wrapping_add)
        }))
    })
}

fn long_in_rayon(items: u64) -> Result<(f64, u64)> {
    let pool = ThreadPoolBuilder::new().num_threads(WORKERS).build()?;
    timed(|| {
        let all = || (0..items as usize).into_par_iter().with_max_len(1).map(|n| toil(n as u64));
        Ok(pool.install(|| all().reduce(|| 0, u64::wrapping_add)))
    })
}

/// Until it is made, until its first result, and until it is gone; and how long that last step takes, which terminates
/// and joins.
fn starts<'a>(plan: &'a Plan, python: &'a Peer) -> Vec<Job<'a>> {
    let rows = |name: &str| {
        let name = format!("start of 8: {name}");
        let detail = |what: &str| (format!("{name}: {what}"), "us");
        vec![(name.clone(), "us"), detail("first result"), detail("made, used and gone"), detail("its end alone")]
    };
    let ours = Job::new(rows("Pool"), move || {
        let child = OwnChild::fork(cores()[0], || {
            unpin()?;
            crossproc::Process::spawn(|| (), ())?.join()?; // the fork server is there, as in a program that has children
            let pools = if plan.quick { 10 } else { 30 };
            let mut times = vec![Vec::new(); 4];
            for n in 0..pools {
                let start = now();
                let pool = crossproc::Pool::new(8)?;
                let made = now();
                check("the first result", pool.apply(|n: u64| n + 1, (n,))?, n + 1)?;
                let used = now();
                drop(pool);
                let gone = now();
                let micros = [made - start, used - start, gone - start, gone - used].map(|time| time as f64 / 1e3);
                times.iter_mut().zip(micros).for_each(|(times, time)| times.push(time));
            }
            Ok(times.iter().filter_map(|times| median(times)).collect::<Vec<_>>())
        })?;
        child.join()
    });
    let names = rows("Python Pool").into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    let snake = python.job_with("multiprocessing", names.clone(), |program| {
        let rows = names.iter().map(|name| (name.clone(), "us")).collect();
        Job::new(rows, move || Ok(program.ask::<4>("start_of_pool 8")?.to_vec()))
    });
    vec![ours.ours(), snake]
}

fn ours(plan: &Plan) -> Result<[f64; 2]> {
    let pool = crossproc::Pool::new(WORKERS)?;
    let map = |tasks: u64| Ok(pool.chunksize(1).map(|n: u64| n + 1, 0..tasks)?.into_iter().sum());
    measured(plan, map, |number| Ok(pool.apply(|n: u64| n + 1, (number,))?))
}

fn names(name: &str) -> [String; 2] {
    ["map", "apply"].map(|what| format!("{what}: {name}"))
}

fn job<'a>(name: &str, run: impl Fn() -> Result<[f64; 2]> + 'a) -> Job<'a> {
    let rows = names(name).into_iter().zip(["k/s", "us"]);
    Job::new(rows.collect(), move || Ok(run()?.to_vec()))
}

fn snake_job<'a>((name, pool, module): (&str, &str, &str), plan: &Plan, peer: &'a Peer) -> Job<'a> {
    let request = format!("pool {pool} {}", plan.contended_ms);
    peer.job_with(module, names(name), |program| job(name, move || program.ask(&request)))
}

/// In a child that has no other purpose, since these pools have threads: thousands of tasks per second, microseconds.
fn own<'a>(name: &str, plan: &'a Plan, run: fn(&Plan) -> Result<[f64; 2]>) -> Job<'a> {
    job(name, move || {
        let child = OwnChild::fork(cores()[0], || unpin().and_then(|()| run(plan)))?;
        child.join()
    })
}

/// `map` gives the sum of the results for so many tasks, `apply` the result of one; each adds one to its number.
fn measured(plan: &Plan, map: impl Fn(u64) -> Result<u64>, apply: impl Fn(u64) -> Result<u64>) -> Result<[f64; 2]> {
    let half = plan.contended_ms * 1_000_000 / 2;
    let mapped = steady_rate(half, &map)?;
    let (mut trips, start) = (Vec::new(), now());
    while now() - start < half {
        let before = now();
        let result = apply(trips.len() as u64)?;
        let took = now() - before;
        check("the result", result, trips.len() as u64 + 1)?;
        trips.push(took as f64 / 1e3);
    }
    Ok([mapped, median(&trips).context("no round trips")?])
}

/// Thousands of tasks in a second, of one map that takes about so long.
fn steady_rate(nanoseconds: u64, map: &impl Fn(u64) -> Result<u64>) -> Result<f64> {
    const TASKS: u64 = 256;
    let rate = |tasks: u64| {
        let start = now();
        let sum = map(tasks)?;
        let took = now() - start;
        check("the sum of the results", sum, tasks * (tasks + 1) / 2)?;
        Ok::<_, anyhow::Error>(tasks as f64 / took as f64)
    };
    rate(TASKS)?;
    let fitting = rate(TASKS)? * nanoseconds as f64;
    Ok(rate(TASKS.max(fitting as u64))? * 1e6)
}

/// Each task is a job that another worker may take.
fn threads(plan: &Plan) -> Result<[f64; 2]> {
    let pool = ThreadPoolBuilder::new().num_threads(WORKERS).build()?;
    let map = |tasks: u64| {
        Ok(pool.install(|| (0..tasks as usize).into_par_iter().with_max_len(1).map(|n| black_box(n as u64) + 1).sum()))
    };
    measured(plan, map, |number| Ok(pool.install(|| black_box(number) + 1)))
}

/// As its documentation has it. A worker is free for the next task only when its result was taken, so results are taken
/// in the tasks' order; and each task has four descriptors until then, so not all are there at once.
fn processes(plan: &Plan) -> Result<[f64; 2]> {
    const AT_ONCE: u64 = 64;
    let pool = Pool::new(WORKERS)?;
    let start = |number: u64| pool.spawn(number, |number| number + 1);
    let map = |tasks: u64| {
        let mut handles: VecDeque<_> = (0..tasks.min(AT_ONCE)).map(start).collect();
        let (mut next, mut sum) = (handles.len() as u64, 0);
        while let Some(handle) = handles.pop_front() {
            sum += handle.join()?;
            if next < tasks {
                handles.push_back(start(next));
                next += 1;
            }
        }
        Ok(sum)
    };
    measured(plan, map, |number| Ok(start(number).join()?))
}
