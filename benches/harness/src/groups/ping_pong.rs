//! Eight bytes there and back.
//!
//! Spinning: two cores, each side answers at once. Same core: the other side needs the core, so one has to sleep for
//! it. Idle: two cores, and each side is busy with something else before each answer, for longer than anybody spins.

use crate::channels::{self, Consumer, Ends, Producer};
use crate::foreign::{Peer, boost, python};
use crate::measure::{Job, Plan, Row, interleave};
use crate::process::two_cores;
use crate::rally::{Court, Rally, between_foreign, between_processes, between_threads};
use anyhow::Result;

const GROUP: &str = "ping-pong";

pub fn run(plan: &Plan) -> Result<Vec<Row>> {
    if let Err(error) = two_cores() {
        return Ok(vec![Row::missing(GROUP, "spinning, same core, idle", error)]);
    }
    let foreign = (boost(), python());
    let mut rows = spinning(plan)?;
    for (name, court) in [("same core", Court::same_core()?), ("idle", Court::idle()?)] {
        rows.append(&mut sleeping(name, plan, court, &foreign)?);
    }
    Ok(rows)
}

fn spinning(plan: &Plan) -> Result<Vec<Row>> {
    let court = Court::spinning()?;
    let one = || channels::one_by_one(1);
    let jobs = vec![
        job("spinning: SimpleQueue".into(), move |name| between_processes(name, plan, court, one)).ours(),
        job("spinning: Queue of a small struct".into(), move |name| {
            between_processes(name, plan, court, || channels::serde_queue(1))
        })
        .ours(),
        job("spinning: Pipe, 64 B".into(), move |name| between_processes(name, plan, court, || channels::copied(64)))
            .ours(),
        job("spinning: raw ring".into(), move |name| between_processes(name, plan, court, || channels::ring(1)))
            .limit(),
        job("spinning: rtrb, threads".into(), move |name| between_threads(name, plan, court, channels::rtrb))
            .in_process(),
        job("spinning: crossbeam bounded, threads".into(), move |name| {
            between_threads(name, plan, court, || channels::crossbeam(1))
        })
        .in_process(),
        peer("spinning: iceoryx2, polled".into(), plan, court, channels::iceoryx_polled),
    ];
    interleave(GROUP, plan, jobs)
}

fn sleeping(place: &str, plan: &Plan, court: Court, (boost, python): &(Peer, Peer)) -> Result<Vec<Row>> {
    let one = || channels::one_by_one(1);
    let named = |peer: &str| format!("{place}: {peer}");
    let mut jobs = vec![
        job(named("SimpleQueue"), move |name| between_processes(name, plan, court, one)).ours(),
        job(named("Pipe, 64 B"), move |name| between_processes(name, plan, court, || channels::copied(64))).ours(),
        job(named("futex"), move |name| between_processes(name, plan, court, channels::slot)).limit(),
        job(named("pipe(2)"), move |name| between_processes(name, plan, court, || channels::pipe(1))),
        job(named("SEQPACKET sockets"), move |name| between_processes(name, plan, court, || channels::seqpacket(1))),
        job(named("crossbeam bounded, threads"), move |name| {
            between_threads(name, plan, court, || channels::crossbeam(1))
        })
        .in_process(),
        foreign(named("Boost message_queue"), plan, court, boost, format!("pong {}", court.pause)),
    ];
    jobs.append(&mut vec![
        peer(named("POSIX mq"), plan, court, || channels::mqueue(1)),
        peer(named("ipc-channel"), plan, court, channels::ipc_words),
        peer(named("iceoryx2, woken by its events"), plan, court, channels::iceoryx_woken),
        peer(named("ipmpsc"), plan, court, channels::ipmpsc_words),
        peer(named("interprocess"), plan, court, || channels::interprocess(8)),
        peer(named("raw_sync Event"), plan, court, channels::signalled),
    ]);
    if court.pause == 0 {
        jobs.push(foreign(named("Python Pipe"), plan, court, python, "pong".into()));
    }
    interleave(GROUP, plan, jobs)
}

fn foreign<'a>(name: String, plan: &'a Plan, court: Court, peer: &'a Peer, request: String) -> Job<'a> {
    peer.job([name.clone()], move |program| {
        job(name, move |name| between_foreign(name, plan, court, program, &request))
    })
}

fn peer<'a, P: Producer, C: Consumer>(
    name: String,
    plan: &'a Plan,
    court: Court,
    make: impl Fn() -> Result<Ends<P, C>> + 'a,
) -> Job<'a> {
    Job::if_made(&name.clone(), make(), || job(name, move |name| between_processes(name, plan, court, &make)))
}

fn job<'a>(name: String, run: impl Fn(&str) -> Result<Rally> + 'a) -> Job<'a> {
    let detail = |what: &str| format!("{name}: {what}");
    let mut rows =
        vec![(name.clone(), "ns"), (detail("p99"), "ns"), (detail("p99.9"), "ns"), (detail("sleeps"), "each")];
    if !name.starts_with("same core") {
        rows.push((detail("cache line"), "ns"));
    }
    Job::new(rows, move || {
        let rally = run(&name)?;
        let [p99, p999] = rally.tails;
        Ok([rally.nanoseconds, p99, p999, rally.sleeps].into_iter().chain(rally.cache_line).collect())
    })
}
