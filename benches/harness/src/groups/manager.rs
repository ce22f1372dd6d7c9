//! A value by name, in a process that keeps it for others: how long it takes to get it, and to set it.

use crate::foreign::{Redis, python};
use crate::measure::{Job, Plan, Row, check, interleave, median};
use crate::process::{now, pin, two_cores, unpin};
use anyhow::{Context, Result};

const GROUP: &str = "manager";

pub fn run(plan: &Plan) -> Result<Vec<Row>> {
    let cores = match two_cores() {
        Ok(cores) => cores,
        Err(error) => return Ok(vec![Row::missing(GROUP, "same core, other core", error)]),
    };
    let python = python();
    let mut jobs = Vec::new();
    for (place, [server, client]) in [("same core", [cores[1]; 2]), ("other core", cores)] {
        let request = format!("manager {} {server} {client}", plan.contended_ms);
        let dict = names(place, "Python Manager dict");
        jobs.push(python.job(dict.clone(), |program| job(dict, move || program.ask(&request))));
        let socket = names(place, "redis over a unix socket");
        jobs.push(match Redis::start(server) {
            Ok(mut redis) => job(socket, move || measured(&mut redis, plan, client)),
            Err(error) => Job::all_missing(socket, format!("{error:#}")),
        });
    }
    interleave(GROUP, plan, jobs)
}

fn names(place: &str, peer: &str) -> [String; 2] {
    ["get", "set"].map(|what| format!("{what}, {place}: {peer}"))
}

fn job<'a>(names: [String; 2], mut run: impl FnMut() -> Result<[f64; 2]> + 'a) -> Job<'a> {
    Job::new(names.map(|name| (name, "us")).to_vec(), move || Ok(run()?.to_vec()))
}

fn measured(redis: &mut Redis, plan: &Plan, core: usize) -> Result<[f64; 2]> {
    pin(core)?;
    let (mut gets, mut sets, start) = (Vec::new(), Vec::new(), now());
    while now() - start < plan.contended_ms * 1_000_000 {
        let value = format!("{:08}", sets.len());
        let before = now();
        redis.set("key", &value)?;
        let middle = now();
        let got = redis.get("key")?;
        gets.push((now() - middle) as f64 / 1e3);
        sets.push((middle - before) as f64 / 1e3);
        check("the value", got, value)?;
    }
    unpin()?;
    let [get, set] = [gets, sets].map(|all| median(&all).context("no answers"));
    Ok([get?, set?])
}
