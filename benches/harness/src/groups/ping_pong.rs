//! Eight bytes there and back.
//!
//! Spinning: two cores, each side answers at once. Same core: the other side needs the core, so one has to sleep for it.
//! Idle: two cores, and each side is busy with something else before each answer, for longer than anybody spins.

use crate::channels::{self, Consumer, Ends, Producer};
use crate::measure::{Job, Plan, Row, interleave};
use crate::process::two_cores;
use crate::rally::{Court, Rally, between_processes, between_threads};
use anyhow::Result;

const GROUP: &str = "ping-pong";

pub fn run(plan: &Plan) -> Result<Vec<Row>> {
    if let Err(error) = two_cores() {
        return Ok(vec![Row::missing(GROUP, "spinning, same core, idle", error)]);
    }
    let mut rows = spinning(plan)?;
    for (name, court) in [("same core", Court::same_core()?), ("idle", Court::idle()?)] {
        rows.append(&mut sleeping(name, plan, court)?);
    }
    Ok(rows)
}

fn spinning(plan: &Plan) -> Result<Vec<Row>> {
    let court = Court::spinning()?;
    let one = || channels::one_by_one(1);
    let jobs = vec![
        job("spinning: SimpleQueue".into(), move |name| between_processes(name, plan, court, one)),
        job("spinning: Queue of a small struct".into(), move |name| {
            between_processes(name, plan, court, || channels::serde_queue(1))
        }),
        job("spinning: Pipe, 64 B".into(), move |name| between_processes(name, plan, court, || channels::copied(64))),
        job("spinning: raw ring".into(), move |name| between_processes(name, plan, court, || channels::ring(1))),
        job("spinning: rtrb, threads".into(), move |name| between_threads(name, plan, court, channels::rtrb)),
        job("spinning: crossbeam bounded, threads".into(), move |name| {
            between_threads(name, plan, court, || channels::crossbeam(1))
        }),
        peer("spinning: iceoryx2, polled".into(), plan, court, channels::iceoryx_polled),
    ];
    interleave(GROUP, plan, jobs)
}

fn sleeping(place: &str, plan: &Plan, court: Court) -> Result<Vec<Row>> {
    let one = || channels::one_by_one(1);
    let named = |peer: &str| format!("{place}: {peer}");
    let mut jobs = vec![
        job(named("SimpleQueue"), move |name| between_processes(name, plan, court, one)),
        job(named("Pipe, 64 B"), move |name| between_processes(name, plan, court, || channels::copied(64))),
        job(named("futex"), move |name| between_processes(name, plan, court, channels::slot)),
        job(named("pipe(2)"), move |name| between_processes(name, plan, court, || channels::pipe(1))),
        job(named("SEQPACKET sockets"), move |name| between_processes(name, plan, court, || channels::seqpacket(1))),
        job(named("crossbeam bounded, threads"), move |name| {
            between_threads(name, plan, court, || channels::crossbeam(1))
        }),
    ];
    jobs.append(&mut vec![
        peer(named("POSIX mq"), plan, court, || channels::mqueue(1)),
        peer(named("ipc-channel"), plan, court, channels::ipc_words),
        peer(named("iceoryx2, woken by its events"), plan, court, channels::iceoryx_woken),
        peer(named("ipmpsc"), plan, court, channels::ipmpsc_words),
        peer(named("interprocess"), plan, court, || channels::interprocess(8)),
        peer(named("raw_sync Event"), plan, court, channels::signalled),
    ]);
    interleave(GROUP, plan, jobs)
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
    let mut rows = vec![(name.clone(), "ns"), (format!("{name}: sleeps"), "each")];
    if !name.starts_with("same core") {
        rows.push((format!("{name}: cache line"), "ns"));
    }
    Job::new(rows, move || {
        let rally = run(&name)?;
        Ok([rally.nanoseconds, rally.sleeps].into_iter().chain(rally.cache_line).collect())
    })
}
