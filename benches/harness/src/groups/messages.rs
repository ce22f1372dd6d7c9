//! Items of eight bytes through queues, as fast as they go: one producer and one consumer on a core each, and two of each on
//! two cores, once mixed and once with the producers on one core.

use crate::channels::{self, BATCH, Consumer, Ends, Producer};
use crate::measure::{Job, Plan, Row, interleave};
use crate::process::two_cores;
use crate::traffic::Places::{self, Apart, Mixed};
use crate::traffic::{Traffic, between_processes, between_threads};
use anyhow::Result;

const GROUP: &str = "messages";
/// In bytes, where any length would do.
const ITEM: usize = 8;
/// How many items a ring's side passes before it publishes its index, where the brakes are off.
const SELDOM: u64 = 32;

pub fn run(plan: &Plan) -> Result<Vec<Row>> {
    let mut all = one_to_one(plan);
    all.append(&mut peers(plan));
    let mut rows = interleave(GROUP, plan, all)?;
    rows.append(&mut interleave(GROUP, plan, batched(plan))?);
    rows.append(&mut interleave(GROUP, plan, two_to_two(plan))?);
    Ok(rows)
}

fn one_to_one(plan: &Plan) -> Vec<Job<'_>> {
    vec![
        job("1:1: SimpleQueue", |name| between_processes(name, plan, Apart, || channels::one_by_one(1))),
        job("1:1: Queue of a small struct", |name| between_processes(name, plan, Apart, || channels::serde_queue(1))),
        job("1:1: raw ring, index each time", |name| between_processes(name, plan, Apart, || channels::ring(1))),
        job("1:1: raw ring, index every 32", |name| between_processes(name, plan, Apart, || channels::ring(SELDOM))),
        job("1:1: crossbeam bounded, threads", |name| between_threads(name, plan, Apart, || channels::crossbeam(1))),
        job("1:1: rtrb, threads", |name| between_threads(name, plan, Apart, channels::rtrb)),
        job("1:1: pipe(2)", |name| between_processes(name, plan, Apart, || channels::pipe(1))),
        job("1:1: SEQPACKET sockets", |name| between_processes(name, plan, Apart, || channels::seqpacket(1))),
    ]
}

/// One to one, too: processes, each with its way to wait.
fn peers(plan: &Plan) -> Vec<Job<'_>> {
    vec![
        peer("1:1: unix stream sockets", plan, Apart, || channels::sockets(ITEM)),
        peer("1:1: POSIX mq", plan, Apart, || channels::mqueue(1)),
        peer("1:1: ipc-channel", plan, Apart, channels::ipc_words),
        peer("1:1: iceoryx2, polled", plan, Apart, channels::iceoryx_polled),
        peer("1:1: ipmpsc", plan, Apart, channels::ipmpsc_words),
        peer("1:1: interprocess", plan, Apart, || channels::interprocess(ITEM)),
    ]
}

fn batched(plan: &Plan) -> Vec<Job<'_>> {
    vec![
        job("1:1, 256 at once: SimpleQueue", |name| between_processes(name, plan, Apart, || channels::batched(1))),
        job("1:1, 256 at once: raw ring", |name| between_processes(name, plan, Apart, || channels::ring(BATCH))),
    ]
}

fn two_to_two(plan: &Plan) -> Vec<Job<'_>> {
    vec![
        job("2:2: SimpleQueue", |name| between_processes(name, plan, Mixed, || channels::one_by_one(2))),
        job("2:2: Vyukov ring", |name| between_processes(name, plan, Mixed, || channels::vyukov(2))),
        job("2:2: crossbeam bounded, threads", |name| between_threads(name, plan, Mixed, || channels::crossbeam(2))),
        job("2:2: pipe(2)", |name| between_processes(name, plan, Mixed, || channels::pipe(2))),
        peer("2:2: POSIX mq", plan, Mixed, || channels::mqueue(2)),
        job("2:2 apart: SimpleQueue", |name| between_processes(name, plan, Apart, || channels::one_by_one(2))),
        job("2:2 apart: Vyukov ring", |name| between_processes(name, plan, Apart, || channels::vyukov(2))),
        job("2:2 apart: crossbeam bounded, threads", |name| {
            between_threads(name, plan, Apart, || channels::crossbeam(2))
        }),
    ]
}

fn peer<'a, P: Producer, C: Consumer>(
    name: &'static str,
    plan: &'a Plan,
    places: Places,
    make: impl Fn() -> Result<Ends<P, C>> + 'a,
) -> Job<'a> {
    Job::if_made(name, make(), || job(name, move |name| between_processes(name, plan, places, &make)))
}

fn job<'a>(name: &'static str, run: impl Fn(&str) -> Result<Traffic> + 'a) -> Job<'a> {
    if let Err(error) = two_cores() {
        return Job::missing(name, error);
    }
    let rows =
        vec![(name.into(), "M/s"), (format!("{name}: sleeps"), "per 1,000"), (format!("{name}: cache line"), "ns")];
    Job::new(rows, move || {
        let traffic = run(name)?;
        let sleeps = 1000.0 * traffic.sleeps as f64 / traffic.items as f64;
        let [before, after] = traffic.round_trips;
        Ok(vec![traffic.million_per_second(), sleeps, before.max(after)])
    })
}
