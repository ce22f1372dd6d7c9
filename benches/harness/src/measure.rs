//! Jobs, run in turns, and the rows that come out.

use crate::process::busy;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// How thoroughly to measure.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Plan {
    pub quick: bool,
    /// Repetitions of each job, interleaved with the others'.
    pub repetitions: usize,
    /// How long a repetition of a single-process job takes.
    pub batch_ms: u64,
    /// How long a repetition of a contended job takes.
    pub contended_ms: u64,
    /// How often a disturbed repetition is done again.
    pub retries: usize,
    /// Of the others, only those that a comparison of two runs needs.
    #[serde(default)]
    pub few_peers: bool,
}

impl Plan {
    pub fn new(quick: bool, few_peers: bool) -> Self {
        if quick {
            Plan { quick, repetitions: 5, batch_ms: 4, contended_ms: 60, retries: 1, few_peers }
        } else {
            Plan { quick, repetitions: 11, batch_ms: 25, contended_ms: 300, retries: 4, few_peers }
        }
    }
}

/// What a row is in the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Ours,
    /// What the machine allows, without any safety.
    Limit,
    /// Between threads.
    InProcess,
    /// Between processes.
    Peer,
    /// Something else about the row before.
    Detail,
}

/// One measured thing; the samples of a group's rows belong together by their index.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    pub group: String,
    /// What comes before `: ` is the contest that it takes part in.
    pub name: String,
    pub unit: String,
    pub role: Role,
    /// How much work it was, where that grows.
    pub at: Option<f64>,
    pub samples: Vec<f64>,
    /// Why there are no samples.
    pub missing: Option<String>,
}

impl Row {
    pub fn new(group: &str, name: &str, unit: &str) -> Self {
        Row {
            group: group.into(),
            name: name.into(),
            unit: unit.into(),
            role: Role::Peer,
            at: None,
            samples: Vec::new(),
            missing: None,
        }
    }

    pub fn missing(group: &str, name: &str, reason: impl std::fmt::Display) -> Self {
        Row { missing: Some(reason.to_string()), ..Row::new(group, name, "") }
    }

    pub fn median(&self) -> Option<f64> {
        median(&self.samples)
    }

    /// Minimum and maximum.
    pub fn spread(&self) -> Option<(f64, f64)> {
        let min = self.samples.iter().copied().reduce(f64::min)?;
        Some((min, self.samples.iter().copied().reduce(f64::max)?))
    }
}

/// What that share of the samples does not exceed (the nearest rank); not a number without samples.
pub fn quantile(samples: &mut [f64], share: f64) -> f64 {
    samples.sort_unstable_by(f64::total_cmp);
    let rank = (samples.len() as f64 * share).ceil() as usize;
    samples.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// Repetition by repetition: both sides of each were measured right after each other.
pub fn ratios(metric: &Row, reference: &Row) -> Vec<f64> {
    metric.samples.iter().zip(&reference.samples).map(|(a, b)| a / b).collect()
}

/// Whether more is better.
pub fn is_rate(unit: &str) -> bool {
    unit.ends_with("/s") || unit == "%"
}

pub fn median(samples: &[f64]) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        n if n % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

/// One repetition of a job: a sample for each of its rows.
pub type Run<'a> = Box<dyn FnMut() -> Result<Vec<f64>> + 'a>;

/// Something to measure, or the reason why it cannot be.
pub struct Job<'a> {
    role: Role,
    rows: Vec<(String, &'static str)>,
    run: Result<Run<'a>, String>,
}

impl<'a> Job<'a> {
    /// `rows` are names and units, for the values that `run` gives. Those that begin with the first one's name and `: `
    /// are details of it.
    pub fn new(rows: Vec<(String, &'static str)>, run: impl FnMut() -> Result<Vec<f64>> + 'a) -> Self {
        Job { role: Role::Peer, rows, run: Ok(Box::new(run)) }
    }

    /// One of a peer, unless it is said what else it is.
    pub fn role(self, role: Role) -> Self {
        Job { role, ..self }
    }

    pub fn ours(self) -> Self {
        self.role(Role::Ours)
    }

    pub fn limit(self) -> Self {
        self.role(Role::Limit)
    }

    pub fn in_process(self) -> Self {
        self.role(Role::InProcess)
    }

    pub fn one(name: &str, unit: &'static str, mut run: impl FnMut() -> Result<f64> + 'a) -> Self {
        Job::new(vec![(name.into(), unit)], move || Ok(vec![run()?]))
    }

    /// Time for each operation in nanoseconds; `body` does so many, never sleeps, and fails when its result is wrong.
    /// It is the time of this process on its core, so that others who want the core do not count.
    pub fn per_op(name: &str, plan: &Plan, mut body: impl FnMut(u64) -> Result<()> + 'a) -> Self {
        let batch = plan.batch_ms * 1_000_000;
        let mut count = 0;
        Job::one(name, "ns", move || {
            if count == 0 {
                count = fitting(batch, &mut body)?;
            }
            Ok(time(count, &mut body)? as f64 / count as f64)
        })
    }

    /// A peer's job, or the reason why there can be none on this machine.
    pub fn if_made<T>(name: &str, made: Result<T>, job: impl FnOnce() -> Self) -> Self {
        match made {
            Ok(_) => job(),
            Err(error) => Job::missing(name, format_args!("{error:#}")),
        }
    }

    pub fn missing(name: &str, reason: impl std::fmt::Display) -> Self {
        Job::all_missing([name], reason)
    }

    /// One that would have had several rows.
    pub fn all_missing(names: impl IntoIterator<Item = impl Into<String>>, reason: impl std::fmt::Display) -> Self {
        Job {
            role: Role::Peer,
            rows: names.into_iter().map(|name| (name.into(), "")).collect(),
            run: Err(reason.to_string()),
        }
    }
}

fn time(count: u64, body: &mut impl FnMut(u64) -> Result<()>) -> Result<u64> {
    let start = busy();
    body(count)?;
    Ok(busy() - start)
}

/// How many operations take about that many nanoseconds.
fn fitting(batch: u64, body: &mut impl FnMut(u64) -> Result<()>) -> Result<u64> {
    let mut count = 1;
    loop {
        let took = time(count, body)?;
        if took >= batch / 4 {
            return Ok((count as f64 * batch as f64 / took as f64) as u64 + 1);
        }
        count *= 2;
    }
}

/// Runs every job once for warming up, then all of them in turns. The order changes from turn to turn, so that nobody
/// always follows the same other one.
pub fn interleave(group: &str, plan: &Plan, mut jobs: Vec<Job<'_>>) -> Result<Vec<Row>> {
    if plan.few_peers {
        keep_yardsticks(&mut jobs);
    }
    let mut rows: Vec<Vec<Row>> = jobs.iter().map(|job| empty_rows(group, job)).collect();
    let n = jobs.len();
    for turn in 0..=plan.repetitions {
        for at in (0..n).map(|place| (place + turn) % n) {
            let Ok(run) = &mut jobs[at].run else { continue };
            let values = run().with_context(|| format!("{group}: {}", rows[at][0].name))?;
            if turn > 0 {
                rows[at].iter_mut().zip(values).for_each(|(row, value)| row.samples.push(value));
            }
        }
    }
    Ok(rows.into_iter().flatten().collect())
}

/// Removes all jobs of others but one for each contest: the one that `Contest::yardstick` takes.
fn keep_yardsticks(jobs: &mut Vec<Job<'_>>) {
    let contest = |job: &Job<'_>| job.rows[0].0.split(": ").next().map(str::to_owned);
    let mut best: HashMap<_, (u8, usize)> = HashMap::new();
    for (at, job) in jobs.iter().enumerate() {
        let rank = match job.role {
            Role::Limit => 0,
            Role::InProcess => 1,
            Role::Peer => 2,
            Role::Ours | Role::Detail => continue,
        };
        if job.run.is_ok() {
            let best = best.entry(contest(job)).or_insert((rank, at));
            *best = (*best).min((rank, at));
        }
    }
    let mut at = 0;
    jobs.retain(|job| {
        at += 1;
        matches!(job.role, Role::Ours | Role::Detail) || best.values().any(|(_, best)| *best == at - 1)
    });
}

fn empty_rows(group: &str, job: &Job<'_>) -> Vec<Row> {
    let row = |(name, unit): &(String, &'static str)| {
        let row = match &job.run {
            Ok(_) => Row::new(group, name, unit),
            Err(reason) => Row::missing(group, name, reason),
        };
        let is_detail = name.strip_prefix(&job.rows[0].0).is_some_and(|rest| rest.starts_with(": "));
        Row { role: if is_detail { Role::Detail } else { job.role }, ..row }
    };
    job.rows.iter().map(row).collect()
}

/// Fails the run when a result is wrong: a fast lock that loses counts is worth nothing.
pub fn check<T: PartialEq + std::fmt::Debug>(what: &str, got: T, expected: T) -> Result<()> {
    anyhow::ensure!(got == expected, "wrong result: {what} is {got:?}, not {expected:?}");
    Ok(())
}
