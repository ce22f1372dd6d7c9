//! Measures crossproc beside its peers.
//!
//! ```text
//! cargo run --release -p crossproc-bench -- list
//! cargo run --release -p crossproc-bench -- run [GROUP..] [--quick] [--few-peers] [--json FILE] [--targets]
//! cargo run --release -p crossproc-bench -- report FILE --out DIR
//! cargo run --release -p crossproc-bench -- compare BASE NEW
//! ```
//!
//! On a machine with other work, `chrt -f 1 target/release/crossproc-bench run ..` (as root) keeps that off the cores.

mod channels;
mod compare;
mod contest;
mod crowd;
mod duel;
mod foreign;
mod groups;
mod machine;
mod measure;
mod meetings;
mod own_child;
mod peers;
mod probe;
mod process;
mod rally;
mod raw_memory;
mod report;
mod targets;
mod traffic;

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};
use compare::Change;
use groups::{GROUPS, Group};
use machine::Machine;
use measure::Plan;
use report::{Report, tables};
use std::path::PathBuf;
use std::process::ExitCode;
use targets::{Outcome, TARGETS};

#[derive(Parser)]
#[command(about = "Measures crossproc beside its peers", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Shows the groups and the targets
    List,
    /// Measures the groups, or all of them
    Run(RunArguments),
    /// Makes a page with plots of what a run wrote
    Report {
        file: PathBuf,
        /// Where `benchmarks.md` and `benchmarks/` come
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Tells what is slower in a newer run; the exit code is 1 when something is
    Compare { base: PathBuf, new: PathBuf },
    #[command(name = groups::COUNT_LIVE_VALUES, hide = true)]
    CountLiveValues,
    #[command(name = groups::PARENT, hide = true)]
    Parent {
        /// With memory touched and other threads
        #[arg(long)]
        grown: bool,
    },
}

#[derive(clap::Args)]
struct RunArguments {
    groups: Vec<String>,
    /// Short and few repetitions: for ratios, roughly
    #[arg(long)]
    quick: bool,
    /// Only what `compare` needs: our rows, and one of the others in each contest
    #[arg(long)]
    few_peers: bool,
    /// Judges the groups by their targets; the exit code is 1 when one is missed
    #[arg(long)]
    targets: bool,
    /// Writes everything there
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn main() -> Result<ExitCode> {
    // A child of that crate ends here. One of crossproc's never comes so far: its constructor runs before, and neither
    // crate's children have the other's mark.
    procspawn::init();
    process::cores(); // as they are before anything is pinned
    match Arguments::parse().command {
        Command::List => list(),
        Command::Run(arguments) => return run(&arguments),
        Command::Report { file, out } => Report::load(&file)?.publish(&out)?,
        Command::Compare { base, new } => return compare(&Report::load(&base)?, &Report::load(&new)?),
        Command::CountLiveValues => groups::count_live_values()?,
        Command::Parent { grown } => groups::parent(grown)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn list() {
    println!("{}", tables::table(["group", "what"], GROUPS.iter().map(|g| [g.name.into(), g.about.into()])));
    println!("{}", tables::targets(TARGETS));
}

fn run(arguments: &RunArguments) -> Result<ExitCode> {
    let groups = chosen(&arguments.groups)?;
    let machine = Machine::this();
    println!("{}, {} cores, Linux {}, {}", machine.cpu, machine.cores.len(), machine.kernel, machine.rustc);
    if let Some(doubt) = machine.doubt() {
        println!("note: {doubt}");
    }
    let plan = Plan::new(arguments.quick, arguments.few_peers);
    let mut rows = Vec::new();
    for group in &groups {
        eprintln!("{}: {}", group.name, group.about);
        let start = std::time::Instant::now();
        let mut measured = (group.run)(&plan).with_context(|| format!("group {}", group.name))?;
        eprintln!("{}: {:.1} s", group.name, start.elapsed().as_secs_f64());
        process::unpin()?;
        println!("{}", tables::rows(&measured));
        rows.append(&mut measured);
    }
    let mine = TARGETS.iter().filter(|target| groups.iter().any(|group| group.name == target.group));
    let targets: Vec<_> = mine.map(|target| target.judge(&rows)).collect();
    let missed = targets.iter().filter(|verdict| verdict.outcome == Outcome::Missed).count();
    if arguments.targets {
        println!("{}\n{} of {} targets missed", tables::verdicts(&targets), missed, targets.len());
    }
    if let Some(path) = &arguments.json {
        Report { machine, plan, rows, targets }.save(path)?;
    }
    Ok(if arguments.targets && missed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn compare(base: &Report, new: &Report) -> Result<ExitCode> {
    let comparisons = compare::compare(base, new);
    println!("{}", tables::comparisons(&comparisons));
    let slower = comparisons.iter().filter(|row| row.change == Change::Slower).count();
    println!("{slower} of {} rows are slower", comparisons.len());
    Ok(if slower > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn chosen(names: &[String]) -> Result<Vec<&'static Group>> {
    for name in names {
        ensure!(GROUPS.iter().any(|group| group.name == name), "no group {name}; `list` shows them");
    }
    Ok(GROUPS.iter().filter(|group| names.is_empty() || names.iter().any(|name| name == group.name)).collect())
}
