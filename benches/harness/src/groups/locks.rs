//! Lock, add one, unlock.

use crate::duel::{Duel, duel, foreign_duel};
use crate::foreign::{Peer, boost, python};
use crate::measure::{Job, Plan, Row, check, interleave};
use crate::peers::{
    Counter, FetchAdd, FutexWord, LockAndCell, ParkingLot, Pthread, RawSync, SpinWord, Std, ValueGuard,
};
use crate::process::{cores, pin, two_cores};
use anyhow::Result;

const GROUP: &str = "locks";

pub fn run(plan: &Plan) -> Result<Vec<Row>> {
    let foreign = [("Boost interprocess_mutex", boost()), ("Python Value", python())];
    let mut rows = contended(plan, &foreign)?;
    pin(cores()[0])?; // after the duels: children of a pinned process begin pinned
    let mut alone = alone(plan, &foreign)?;
    alone.append(&mut rows);
    Ok(alone)
}

/// Programs, and what they have.
type Foreign = [(&'static str, Peer)];

fn alone(plan: &Plan, foreign: &Foreign) -> Result<Vec<Row>> {
    let mut jobs = vec![
        solo("spin word", plan, SpinWord::new).limit(),
        solo("futex word", plan, FutexWord::new).limit(),
        solo("std::sync::Mutex", plan, || Ok(Std(std::sync::Mutex::new(0)))).in_process(),
        solo("parking_lot::Mutex", plan, || Ok(ParkingLot(parking_lot::Mutex::new(0)))).in_process(),
        solo("pthread pshared", plan, || Pthread::new(false)),
        solo("pthread robust pshared", plan, || Pthread::new(true)),
        solo("raw_sync Mutex", plan, RawSync::new),
        solo("Value guard", plan, ValueGuard::new).ours(),
        solo("Lock", plan, LockAndCell::new).ours(),
    ];
    jobs.extend(foreign.iter().map(|(name, peer)| foreign_solo(name, plan, peer)));
    interleave(GROUP, plan, jobs)
}

/// Each repetition takes another counter: where one lies within its page may collide with the stack or the thread's own
/// lines (loads wait for stores to the same place of another page), which no one place shall decide for all.
fn solo<'a, C: Counter + 'a>(name: &str, plan: &Plan, make: impl Fn() -> Result<C>) -> Job<'a> {
    const PLACES: usize = 16;
    let name = format!("alone: {name}");
    let counters = match (0..PLACES).map(|_| make()).collect::<Result<Vec<_>>>() {
        Ok(counters) => counters,
        Err(error) => return Job::missing(&name, format!("{error:#}")),
    };
    let mut turn = 0;
    Job::per_op(&name.clone(), plan, move |count| {
        turn += 1;
        let counter = &counters[turn % PLACES];
        let expected = counter.count() + count;
        for _ in 0..count {
            counter.bump();
        }
        check(&name, counter.count(), expected)
    })
}

fn foreign_solo<'a>(name: &str, plan: &Plan, peer: &'a Peer) -> Job<'a> {
    let title = format!("alone: {name}");
    let request = format!("lock {} {core} {core}", plan.batch_ms, core = cores()[0]);
    peer.job([&title], |program| {
        Job::one(&title, "ns", move || {
            let [nanoseconds] = program.ask(&request)?;
            Ok(nanoseconds)
        })
    })
}

fn contended(plan: &Plan, foreign: &Foreign) -> Result<Vec<Row>> {
    let mut jobs = vec![
        pair("fetch_add", plan, FetchAdd::new()).limit(),
        pair("futex word", plan, FutexWord::new()).limit(),
        pair("pthread pshared", plan, Pthread::new(false)),
        pair("pthread robust pshared", plan, Pthread::new(true)),
        pair("raw_sync Mutex", plan, RawSync::new()),
        pair("Value guard", plan, ValueGuard::new()).ours(),
        pair("Lock", plan, LockAndCell::new()).ours(),
    ];
    jobs.extend(foreign.iter().map(|(name, peer)| foreign_pair(name, plan, peer)));
    interleave(GROUP, plan, jobs)
}

fn pair<'a, C: Counter + 'a>(name: &'static str, plan: &'a Plan, counter: Result<C>) -> Job<'a> {
    let title = format!("two processes: {name}");
    let counter = match two_cores().and(counter) {
        Ok(counter) => counter,
        Err(error) => return Job::missing(&title, format!("{error:#}")),
    };
    fought(title, move || {
        let mut expected = counter.count();
        duel(
            name,
            plan,
            || counter.bump(),
            |duel| {
                expected += duel.total();
                check(name, counter.count(), expected)
            },
        )
    })
}

fn foreign_pair<'a>(name: &'static str, plan: &'a Plan, peer: &'a Peer) -> Job<'a> {
    let title = format!("two processes: {name}");
    match two_cores() {
        Ok(_) => peer.job([title.clone()], |program| fought(title, move || foreign_duel(name, plan, program))),
        Err(error) => Job::missing(&title, error),
    }
}

fn fought<'a>(title: String, run: impl Fn() -> Result<Duel> + 'a) -> Job<'a> {
    let rows = vec![
        (title.clone(), "M/s"),
        (format!("{title}: slower side"), "%"),
        (format!("{title}: sleeps"), "per 1,000"),
        (format!("{title}: cache line"), "ns"),
    ];
    Job::new(rows, move || {
        let duel = run()?;
        let sleeps = 1000.0 * duel.sleeps as f64 / duel.total() as f64;
        let [before, after] = duel.round_trips;
        Ok(vec![duel.million_per_second(), duel.slower_share(), sleeps, before.max(after)])
    })
}
