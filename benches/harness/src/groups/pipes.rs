//! Messages of 64 bytes to 1 MiB from one process to another: copied in and out, and made and read in place.

use crate::channels::{self, Consumer, Ends, Producer};
use crate::foreign::{Peer, boost, python};
use crate::measure::{Job, Plan, Row, check, interleave};
use crate::process::{busy, cores, pin, two_cores, unpin};
use crate::traffic::Places::Apart;
use crate::traffic::{Traffic, between_foreign, between_processes};
use anyhow::Result;
use std::hint::black_box;

const GROUP: &str = "pipes";
const LENGTHS: [(&str, usize); 5] =
    [("64 B", 64), ("1 KiB", 1 << 10), ("16 KiB", 16 << 10), ("64 KiB", 64 << 10), ("1 MiB", 1 << 20)];
/// Where the peers are measured, too.
const PEERS_AT: [usize; 3] = [64, 64 << 10, 1 << 20];

pub fn run(plan: &Plan) -> Result<Vec<Row>> {
    let (boost, python) = (boost(), python());
    let mut rows = Vec::new();
    for (title, length) in LENGTHS {
        let mut jobs = vec![
            job(format!("{title} copied: Pipe"), length, move |name| {
                between_processes(name, plan, Apart, || channels::copied(length))
            })
            .ours(),
            job(format!("{title} copied: raw ring"), length, move |name| {
                between_processes(name, plan, Apart, || channels::byte_ring(length, true))
            })
            .limit(),
            job(format!("{title} in place: Pipe"), length, move |name| {
                between_processes(name, plan, Apart, || channels::in_place(length))
            })
            .ours(),
            job(format!("{title} in place: raw ring"), length, move |name| {
                between_processes(name, plan, Apart, || channels::byte_ring(length, false))
            })
            .limit(),
            memcpy(format!("{title} copied: memcpy alone"), length).limit(),
        ];
        if PEERS_AT.contains(&length) {
            let places = channels::room(length) / length;
            let request = format!("messages 1 {length} {places}");
            jobs.push(foreign(format!("{title} copied: Boost message_queue"), length, plan, &boost, request));
            jobs.push(foreign(
                format!("{title} copied: Python Pipe"),
                length,
                plan,
                &python,
                format!("bytes {length}"),
            ));
            jobs.append(&mut peers(title, length, plan));
        }
        rows.append(&mut interleave(GROUP, plan, jobs)?);
    }
    Ok(rows)
}

fn peers<'a>(title: &str, length: usize, plan: &'a Plan) -> Vec<Job<'a>> {
    let copied = |peer: &str| format!("{title} copied: {peer}");
    vec![
        peer(copied("pipe(2)"), length, plan, channels::pipe_of_bytes),
        peer(copied("unix stream sockets"), length, plan, channels::sockets),
        peer(copied("ipc-channel"), length, plan, channels::ipc_bytes),
        peer(copied("iceoryx2"), length, plan, channels::iceoryx_copied),
        peer(copied("ipmpsc"), length, plan, channels::ipmpsc_bytes),
        peer(format!("{title} in place: iceoryx2"), length, plan, channels::iceoryx_in_place),
    ]
}

fn peer<'a, P: Producer, C: Consumer>(
    name: String,
    length: usize,
    plan: &'a Plan,
    make: impl Fn(usize) -> Result<Ends<P, C>> + 'a,
) -> Job<'a> {
    Job::if_made(&name.clone(), make(length), || {
        job(name, length, move |name| between_processes(name, plan, Apart, || make(length)))
    })
}

fn job<'a>(name: String, length: usize, run: impl Fn(&str) -> Result<Traffic> + 'a) -> Job<'a> {
    if let Err(error) = two_cores() {
        return Job::missing(&name, error);
    }
    let rows = vec![
        (name.clone(), "GB/s"),
        (format!("{name}: messages"), "M/s"),
        (format!("{name}: sleeps"), "per 1,000"),
        (format!("{name}: cache line"), "ns"),
    ];
    Job::new(rows, move || {
        let traffic = run(&name)?;
        let (rate, sleeps) = (traffic.million_per_second(), 1000.0 * traffic.sleeps as f64 / traffic.items as f64);
        let [before, after] = traffic.round_trips;
        Ok(vec![rate * length as f64 / 1e3, rate, sleeps, before.max(after)])
    })
}

fn foreign<'a>(name: String, length: usize, plan: &'a Plan, peer: &'a Peer, request: String) -> Job<'a> {
    peer.job([name.clone()], move |program| {
        job(name, length, move |name| between_foreign(name, plan, 1, program, &request))
    })
}

/// One process, from one buffer to another one.
fn memcpy(name: String, length: usize) -> Job<'static> {
    const BYTES: usize = 256 << 20;
    let (from, mut to) = (vec![7_u8; length], vec![0_u8; length]);
    Job::one(&name, "GB/s", move || {
        pin(cores()[0])?;
        let start = busy();
        for _ in 0..BYTES / length {
            to.copy_from_slice(black_box(&from));
            black_box(&mut to);
        }
        let took = busy() - start;
        unpin()?;
        check("the copy", to[length - 1], 7)?;
        Ok(BYTES as f64 / took as f64)
    })
}
