//! Kills a process at every instruction of every operation on locks, values, arrays, memory, messages and tasks, and of
//! the start of a child, and sees whether the survivors cope.
//!
//! `cargo test` runs a short pass, which takes every n-th point. All points:
//!
//! ```text
//! cargo test --test kill -- --full                         or KILL=full in the environment
//! cargo test --test kill -- --full array                   only scenarios whose names contain "array"
//! cargo test --release --test kill -- --full               the code as users run it
//! ```
//!
//! The scenarios are divided between as many processes as there are processors, or `KILL_JOBS`. Besides,
//! `KILL_POINTS=n` chooses how many points of each scenario the short pass visits, and `KILL_PATIENCE_MS` how
//! long a survivor is waited for, 10,000 if not said otherwise; `KILL_ENOUGH=n` ends it all after n violations.
//! `mutants.sh` uses these, and shows that the suite finds what it is there for.
//!
//! A job forks its victims and has one thread, so the program is its own harness. It takes the arguments of the usual
//! one.

mod arena_peer;
mod array;
mod common;
mod handle;
mod jobs;
mod lock;
mod meet;
mod memory;
mod message;
mod named;
mod nested;
mod peers;
mod pool;
mod ring;
mod spawn;
mod stepper;
mod task;
mod travel;
mod value;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;
use stepper::{Pass, Report, Scenario};

/// Points of each scenario in the short pass, about.
const SHORT_PASS: u32 = if cfg!(debug_assertions) { 16 } else { 24 };
/// Steps on the ways to all points of a scenario in the short pass: below a second.
const SHORT_WAYS: u32 = 20_000;
/// Violations of one scenario that are printed.
const SHOWN: usize = 5;

/// What the command line says, as far as it means something here.
#[derive(Default)]
struct Arguments {
    full: bool,
    list: bool,
    exact: bool,
    ignored: bool,
    quiet: bool,
    /// The number of this job, and how many there are.
    job: Option<(usize, usize)>,
    only: Vec<String>,
    skip: Vec<String>,
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> Self {
        let mut this = Self { full: std::env::var("KILL").is_ok_and(|kill| kill == "full"), ..Self::default() };
        while let Some(word) = words.next() {
            match word.as_str() {
                "--full" => this.full = true,
                "--list" => this.list = true,
                "--exact" => this.exact = true,
                "--ignored" => this.ignored = true,
                "-q" | "--quiet" => this.quiet = true,
                "--skip" => this.skip.extend(words.next()),
                "--test-threads" | "--color" | "--format" | "--logfile" | "--shuffle-seed" | "-Z" => {
                    words.next();
                }
                "--job" => this.job = words.next().as_deref().and_then(jobs::parse),
                word if word.starts_with("--skip=") => this.skip.push(word["--skip=".len()..].into()),
                word if word.starts_with('-') => {}
                word => this.only.push(word.into()),
            }
        }
        this
    }

    fn wants(&self, name: &str) -> bool {
        let fits = |pattern: &String| if self.exact { name == *pattern } else { name.contains(pattern.as_str()) };
        !self.ignored && (self.only.is_empty() || self.only.iter().any(fits)) && !self.skip.iter().any(fits)
    }
}

fn scenarios() -> Vec<Scenario> {
    [
        lock::scenarios(),
        value::scenarios(),
        array::scenarios(),
        nested::scenarios(),
        memory::scenarios(),
        travel::scenarios(),
        named::scenarios(),
        ring::scenarios(),
        message::scenarios(),
        peers::scenarios(),
        handle::scenarios(),
        task::scenarios(),
        pool::scenarios(),
        meet::scenarios(),
        spawn::scenarios(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// How many violations are proof enough; the rest is left out then.
fn enough() -> usize {
    common::number("KILL_ENOUGH").map_or(usize::MAX, |enough| enough as usize)
}

/// Runs one scenario; a panic of the harness is a violation too, for it means that a world could not be built.
fn run(scenario: &Scenario, full: bool) -> Report {
    let points = common::number("KILL_POINTS");
    let pass = match points {
        _ if full => Pass::FULL,
        Some(points) => Pass::about(points, u32::MAX),
        None => Pass::about(SHORT_PASS, SHORT_WAYS),
    };
    let pass = pass.until(enough());
    catch_unwind(AssertUnwindSafe(|| stepper::run(scenario, pass))).unwrap_or_else(|_| Report {
        name: scenario.name().into(),
        violations: vec!["the scenario itself panicked, see above".into()],
        ..Report::default()
    })
}

fn show(report: &Report, quiet: bool) {
    if !quiet || !report.is_clean() {
        println!("{report}, {:.1} s", report.elapsed.as_secs_f64());
    }
    report.violations.iter().take(SHOWN).for_each(|violation| println!("    {violation}"));
    if report.violations.len() > SHOWN {
        println!("    and {} more", report.violations.len() - SHOWN);
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse(std::env::args().skip(1));
    let mut scenarios = scenarios();
    scenarios.retain(|scenario| arguments.wants(scenario.name()));
    if arguments.list {
        scenarios.iter().for_each(|scenario| println!("{}: test", scenario.name()));
        return ExitCode::SUCCESS;
    }
    // Not so in a short pass: `cargo test NAME` gives NAME to all test programs.
    if scenarios.is_empty() && !arguments.only.is_empty() && arguments.full {
        eprintln!("no scenario has a name that contains one of {:?}: see --list", arguments.only);
        return ExitCode::FAILURE;
    }
    let number = jobs::number(scenarios.len());
    if arguments.job.is_none() && number > 1 {
        return exit_code(jobs::run(number));
    }
    if let Some((job, number)) = arguments.job {
        scenarios = scenarios.into_iter().skip(job).step_by(number).collect();
    }
    exit_code(run_all(&scenarios, &arguments))
}

fn exit_code(total: jobs::Total) -> ExitCode {
    println!("{total}");
    if total.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs the scenarios one after the other, in this process.
fn run_all(scenarios: &[Scenario], arguments: &Arguments) -> jobs::Total {
    if !scenarios.is_empty() {
        common::settle(arguments.full);
        stepper::require_ptrace();
    }
    let begun = Instant::now();
    let mut total = jobs::Total { scenarios: scenarios.len(), ..jobs::Total::default() };
    for scenario in scenarios {
        let report = run(scenario, arguments.full);
        show(&report, arguments.quiet);
        total.points += report.points as usize;
        total.violations += report.violations.len();
        if total.violations >= enough() {
            break;
        }
    }
    total.seconds = begun.elapsed().as_secs_f64();
    total
}
