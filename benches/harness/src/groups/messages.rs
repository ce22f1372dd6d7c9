//! Items of eight bytes through queues, as fast as they go: one producer and one consumer on a core each, and two of
//! each on two cores, once mixed and once with the producers on one core.

use crate::channels::{self, BATCH, CAPACITY, Consumer, Ends, Producer};
use crate::foreign::{Peer, Program, boost, python};
use crate::measure::{Job, Plan, Row, interleave};
use crate::process::two_cores;
use crate::traffic::Places::{self, Apart, Mixed};
use crate::traffic::{Traffic, between_foreign, between_processes, between_threads};
use anyhow::Result;

const GROUP: &str = "messages";
/// In bytes, where any length would do.
const ITEM: usize = 8;
/// How many items a ring's side passes before it publishes its index, where the brakes are off.
const SELDOM: u64 = 32;

pub fn run(plan: &Plan) -> Result<Vec<Row>> {
    let (boost, python) = (boost(), python());
    let mut all = one_to_one(plan, &boost, &python);
    all.append(&mut peers(plan));
    let mut rows = interleave(GROUP, plan, all)?;
    rows.append(&mut interleave(GROUP, plan, batched(plan, &python))?);
    rows.append(&mut interleave(GROUP, plan, two_to_two(plan, &boost))?);
    Ok(rows)
}

fn one_to_one<'a>(plan: &'a Plan, boost: &'a Peer, python: &'a Peer) -> Vec<Job<'a>> {
    vec![
        job("1:1: SimpleQueue", |name| between_processes(name, plan, Apart, || channels::one_by_one(1))).ours(),
        job("1:1: Queue of a small struct", |name| between_processes(name, plan, Apart, || channels::serde_queue(1)))
            .ours(),
        job("1:1: raw ring, index each time", |name| between_processes(name, plan, Apart, || channels::ring(1)))
            .limit(),
        job("1:1: raw ring, index every 32", |name| between_processes(name, plan, Apart, || channels::ring(SELDOM)))
            .limit(),
        job("1:1: crossbeam bounded, threads", |name| between_threads(name, plan, Apart, || channels::crossbeam(1)))
            .in_process(),
        job("1:1: rtrb, threads", |name| between_threads(name, plan, Apart, channels::rtrb)).in_process(),
        job("1:1: pipe(2)", |name| between_processes(name, plan, Apart, || channels::pipe(1))),
        job("1:1: SEQPACKET sockets", |name| between_processes(name, plan, Apart, || channels::seqpacket(1))),
        boost.job(["1:1: Boost message_queue"], |program| boosted("1:1: Boost message_queue", plan, 1, program)),
        snake("1:1: Python Queue", plan, python, "Queue"),
        snake("1:1: Python SimpleQueue", plan, python, "SimpleQueue"),
        snake("1:1: faster-fifo", plan, python, FASTER_FIFO),
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

fn batched<'a>(plan: &'a Plan, python: &'a Peer) -> Vec<Job<'a>> {
    vec![
        job("1:1, 256 at once: SimpleQueue", |name| between_processes(name, plan, Apart, || channels::batched(1)))
            .ours(),
        job("1:1, 256 at once: raw ring", |name| between_processes(name, plan, Apart, || channels::ring(BATCH)))
            .limit(),
        snake("1:1, 256 at once: faster-fifo get_many", plan, python, "get_many"),
    ]
}

fn two_to_two<'a>(plan: &'a Plan, boost: &'a Peer) -> Vec<Job<'a>> {
    vec![
        job("2:2: SimpleQueue", |name| between_processes(name, plan, Mixed, || channels::one_by_one(2))).ours(),
        job("2:2: Vyukov ring", |name| between_processes(name, plan, Mixed, || channels::vyukov(2))).limit(),
        job("2:2: crossbeam bounded, threads", |name| between_threads(name, plan, Mixed, || channels::crossbeam(2)))
            .in_process(),
        job("2:2: pipe(2)", |name| between_processes(name, plan, Mixed, || channels::pipe(2))),
        peer("2:2: POSIX mq", plan, Mixed, || channels::mqueue(2)),
        job("2:2 apart: SimpleQueue", |name| between_processes(name, plan, Apart, || channels::one_by_one(2))).ours(),
        job("2:2 apart: Vyukov ring", |name| between_processes(name, plan, Apart, || channels::vyukov(2))).limit(),
        job("2:2 apart: crossbeam bounded, threads", |name| {
            between_threads(name, plan, Apart, || channels::crossbeam(2))
        })
        .in_process(),
        boost.job(["2:2: Boost message_queue"], |program| boosted("2:2: Boost message_queue", plan, 2, program)),
    ]
}

fn boosted<'a>(name: &'static str, plan: &'a Plan, pairs: usize, program: &'a Program) -> Job<'a> {
    job(name, move |name| {
        between_foreign(name, plan, pairs, program, &format!("messages {pairs} {} {CAPACITY}", size_of::<u64>()))
    })
}

const FASTER_FIFO: &str = "faster_fifo";

/// `queue` is what the program calls it.
fn snake<'a>(name: &'static str, plan: &'a Plan, python: &'a Peer, queue: &'static str) -> Job<'a> {
    let module = if name.contains("faster-fifo") { FASTER_FIFO } else { "multiprocessing" };
    python.job_with(module, [name], |program| {
        job(name, move |name| between_foreign(name, plan, 1, program, &format!("messages {queue}")))
    })
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
