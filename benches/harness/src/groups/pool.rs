//! Two workers: how many empty tasks they do in a second, one task at a time, and how long one task takes there and back.
//!
//! Nothing here is pinned: a pool shares out the cores as it likes.

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
    jobs.push(own("procspawn Pool", plan, processes));
    jobs.push(own("rayon, threads", plan, threads).in_process());
    interleave(GROUP, plan, jobs)
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
    const TASKS: u64 = 256;
    let half = plan.contended_ms * 1_000_000 / 2;
    let rate = |tasks: u64| {
        let start = now();
        let sum = map(tasks)?;
        let took = now() - start;
        check("the sum of the results", sum, tasks * (tasks + 1) / 2)?;
        Ok::<_, anyhow::Error>(tasks as f64 / took as f64)
    };
    rate(TASKS)?;
    let fitting = rate(TASKS)? * half as f64;
    let mapped = rate(TASKS.max(fitting as u64))?;
    let (mut trips, start) = (Vec::new(), now());
    while now() - start < half {
        let before = now();
        let result = apply(trips.len() as u64)?;
        let took = now() - before;
        check("the result", result, trips.len() as u64 + 1)?;
        trips.push(took as f64 / 1e3);
    }
    Ok([mapped * 1e6, median(&trips).context("no round trips")?])
}

/// Each task is a job that another worker may take.
fn threads(plan: &Plan) -> Result<[f64; 2]> {
    let pool = ThreadPoolBuilder::new().num_threads(WORKERS).build()?;
    let map = |tasks: u64| {
        Ok(pool.install(|| (0..tasks as usize).into_par_iter().with_max_len(1).map(|n| black_box(n as u64) + 1).sum()))
    };
    measured(plan, map, |number| Ok(pool.install(|| black_box(number) + 1)))
}

/// As its documentation has it. A worker is free for the next task only when its result was taken, so results are taken in
/// the tasks' order; and each task has four descriptors until then, so not all are there at once.
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
