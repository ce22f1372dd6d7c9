//! What it costs as the work grows: more participants, longer messages, more objects, more children.

use crate::channels;
use crate::crowd;
use crate::measure::{Job, Plan, Row, interleave};
use crate::peers::{Counter, Pthread, ValueGuard};
use crate::process::{busy, now, two_cores, unpin};
use crate::raw_memory::Mapping;
use crate::traffic::Places::{Apart, Mixed};
use crate::traffic::{Traffic, between_processes, between_threads};
use anyhow::{Context, Result, ensure};
use crossproc::{Event, Process, Value};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const GROUP: &str = "scaling";

pub fn run(plan: &Plan) -> Result<Vec<Row>> {
    let plan = Plan { repetitions: 5, contended_ms: plan.contended_ms.min(100), retries: 1, ..*plan };
    let mut rows = Vec::new();
    // A quick run takes two steps at once, and leaves out what is largest.
    let mut grow = |points: Growth, jobs: &dyn Fn(usize) -> Vec<Job<'static>>| {
        for at in points.take(plan.quick) {
            let measured = interleave(GROUP, &plan, jobs(at))?;
            rows.extend(measured.into_iter().map(|row| Row { at: Some(at as f64), ..row }));
        }
        anyhow::Ok(())
    };
    if two_cores().is_ok() {
        grow(Growth { from: 2, factor: 2, to: 64 }, &|participants| queues(plan, participants / 2))?;
        grow(Growth { from: 1, factor: 2, to: 64 }, &|participants| locks(plan, participants))?;
        grow(Growth { from: 8, factor: 8, to: 64 << 20 }, &|length| messages(plan, length))?;
    }
    unpin()?;
    grow(Growth { from: 1, factor: 10, to: 1_000_000 }, &|count| objects(count))?;
    grow(Growth { from: 1, factor: 10, to: 1_000 }, &|count| children(count))?;
    Ok(rows)
}

/// How the work grows.
struct Growth {
    from: usize,
    factor: usize,
    to: usize,
}

impl Growth {
    fn take(self, quick: bool) -> impl Iterator<Item = usize> {
        let Growth { from, factor, to } = self;
        let (factor, to) = if quick { (factor * factor, to / factor) } else { (factor, to) };
        std::iter::successors(Some(from), move |at| Some(at * factor)).take_while(move |at| *at <= to)
    }
}

/// As many producers as consumers, through one queue.
fn queues(plan: Plan, pairs: usize) -> Vec<Job<'static>> {
    let job = |name: &str, run: fn(&str, &Plan, usize) -> Result<Traffic>| {
        let name = format!("producers and consumers: {name}");
        Job::one(&name.clone(), "M/s", move || Ok(run(&name, &plan, pairs)?.million_per_second()))
    };
    vec![
        job("SimpleQueue", |name, plan, pairs| between_processes(name, plan, Mixed, || channels::one_by_one(pairs)))
            .ours(),
        job("crossbeam bounded, threads", |name, plan, pairs| {
            between_threads(name, plan, Mixed, || channels::crossbeam(pairs))
        })
        .in_process(),
        job("pipe(2)", |name, plan, pairs| between_processes(name, plan, Mixed, || channels::pipe(pairs))),
    ]
}

/// All at one lock.
fn locks(plan: Plan, participants: usize) -> Vec<Job<'static>> {
    fn job<C: Counter + 'static>(name: &str, plan: Plan, participants: usize, counter: Result<C>) -> Job<'static> {
        let name = format!("processes at one lock: {name}");
        let time = Duration::from_millis(plan.contended_ms);
        match counter {
            Ok(counter) => Job::one(&name, "M/s", move || crowd::million_per_second(&counter, participants, time)),
            Err(error) => Job::missing(&name, format!("{error:#}")),
        }
    }
    vec![
        job("Value guard", plan, participants, ValueGuard::new()).ours(),
        job("pthread pshared", plan, participants, Pthread::new(false)),
        job("pthread robust pshared", plan, participants, Pthread::new(true)),
    ]
}

/// Copied in and out.
fn messages(plan: Plan, length: usize) -> Vec<Job<'static>> {
    let job = |name: &str, run: fn(&str, &Plan, usize) -> Result<Traffic>| {
        let name = format!("bytes of a message: {name}");
        Job::one(&name.clone(), "GB/s", move || {
            Ok(run(&name, &plan, length)?.million_per_second() * length as f64 / 1e3)
        })
    };
    vec![
        job("Pipe", |name, plan, length| between_processes(name, plan, Apart, || channels::copied(length))).ours(),
        job("Pipe, in place", |name, plan, length| between_processes(name, plan, Apart, || channels::in_place(length)))
            .ours(),
        job("raw ring", |name, plan, length| {
            between_processes(name, plan, Apart, || channels::byte_ring(length, true))
        })
        .limit(),
    ]
}

/// All alive at once, then dropped: nanoseconds for each.
fn objects(count: usize) -> Vec<Job<'static>> {
    fn job<T>(name: &str, count: usize, make: impl Fn(usize) -> Result<T> + 'static) -> Job<'static> {
        let at_least = 1_000;
        Job::one(&format!("objects at once: {name}"), "ns", move || {
            let times = at_least / count.min(at_least);
            let start = busy();
            for _ in 0..times {
                drop((0..count).map(&make).collect::<Result<Vec<_>>>()?);
            }
            Ok((busy() - start) as f64 / (count * times) as f64)
        })
    }
    let values = job("Value", count, |i| Ok(Value::new(i as u64)?)).ours();
    let threads = job("Arc<Mutex>, threads", count, |i| Ok(Arc::new(Mutex::new(i as u64)))).in_process();
    let files = match count {
        0..=100 => job("memfd, mapped", count, |_| Mapping::of_memfd(4096)),
        _ => Job::missing("objects at once: memfd, mapped", "a descriptor and a mapping for each"),
    };
    vec![values, threads, files]
}

/// All alive at once, until they are told to end: microseconds for each.
fn children(count: usize) -> Vec<Job<'static>> {
    fn job(name: &str, count: usize, run: impl Fn(usize) -> Result<()> + 'static) -> Job<'static> {
        Job::one(&format!("children at once: {name}"), "us", move || {
            let start = now();
            run(count)?;
            Ok((now() - start) as f64 / 1e3 / count as f64)
        })
    }
    vec![job("Process", count, processes).ours(), job("Command of cat", count, commands)]
}

fn processes(count: usize) -> Result<()> {
    fn wait_for_the_end(end: Event) -> bool {
        end.wait();
        end.is_set()
    }
    let end = Event::new()?;
    let spawn = |_| Ok(Process::spawn(wait_for_the_end, (end.clone(),))?);
    let children = (0..count).map(spawn).collect::<Result<Vec<_>>>()?;
    end.set();
    for child in children {
        ensure!(child.join()?, "a child saw something else than the end");
    }
    Ok(())
}

fn commands(count: usize) -> Result<()> {
    let (reader, writer) = std::io::pipe()?;
    let spawn = |_| Ok(Command::new("cat").stdin(reader.try_clone()?).stdout(Stdio::null()).spawn()?);
    let children = (0..count).map(spawn).collect::<Result<Vec<_>>>().context("cat")?;
    drop(writer);
    for mut child in children {
        let status = child.wait()?;
        ensure!(status.success(), "cat: {status}");
    }
    Ok(())
}
