//! Tasks of different functions in one pool: a table of functions, each of which goes to whichever worker is free.

use crossproc::{Pool, Result};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Which process worked, and how long.
type Report = (u32, Duration);

fn timed(name: &str, milliseconds: u64) -> Report {
    println!("Run task {name}-{}", std::process::id());
    let start = Instant::now();
    std::thread::sleep(Duration::from_millis(milliseconds));
    println!("Task {name} runs {:.2} seconds.", start.elapsed().as_secs_f64());
    (std::process::id(), start.elapsed())
}

fn lee() -> Report {
    timed("Lee", 100)
}
fn marlon() -> Report {
    timed("Marlon", 400)
}
fn allen() -> Report {
    timed("Allen", 300)
}
fn frank() -> Report {
    timed("Frank", 200)
}

/// Functions of one signature have one type, so they fit into a table.
const TASKS: [fn() -> Report; 4] = [lee, marlon, allen, frank];

fn main() -> Result<()> {
    let pool = Pool::new(TASKS.len())?;
    println!("Waiting for all subprocesses done...");
    let results = TASKS.map(|task| pool.apply_async(task, ()));
    pool.close();
    pool.join()?;
    println!("All subprocesses done.");

    let reports = results.into_iter().map(|result| result.get()).collect::<Result<Vec<Report>, _>>()?;
    let workers: BTreeSet<u32> = reports.iter().map(|report| report.0).collect();
    assert_eq!(workers.len(), 4, "four tasks at once need four workers");
    assert!(reports[1].1 >= Duration::from_millis(400), "the results are in the order of the table: Marlon is second");
    Ok(())
}
