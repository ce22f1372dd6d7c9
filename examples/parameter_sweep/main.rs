//! A parameter sweep that can be killed: prices an option by Monte Carlo at each point of a grid, with a pool of
//! workers.
//!
//! ```text
//! cargo run --release --example parameter_sweep -- [--processes N] [--output FILE] [--paths N] [--grid N]
//! ```
//!
//! Each point has a generator of its own, seeded by its number, so that the results are the same to the last bit for
//! any number of workers. Each result is a line of the output, with a checksum. Kill the program at any moment, by
//! `kill -9` or by pulling the plug, and start it again with the same output: what is there is not done again, a line
//! that was cut off is, and the digest at the end is what it would have been. Kill a worker, and its point is tried
//! again.
//!
//! Without `--output` the results go into a file of their own that is removed at the end.

mod ledger;
mod model;

use clap::Parser;
use crossproc::{Pool, Result};
use indicatif::{ProgressBar, ProgressStyle};
use ledger::Ledger;
use model::{Point, price};
use std::path::PathBuf;

#[derive(Parser)]
struct Args {
    /// How many workers.
    #[arg(long, default_value_t = crossproc::cpu_count())]
    processes: usize,
    /// Where the results are, and go.
    #[arg(long)]
    output: Option<PathBuf>,
    /// How many paths are simulated for each point.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(2..))]
    paths: u32,
    /// How many strikes, and how many volatilities.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1000))]
    grid: u32,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let path = args
        .output
        .clone()
        .unwrap_or_else(|| std::env::temp_dir().join(format!("parameter-sweep-{}.txt", std::process::id())));
    let points: Vec<Point> = Point::grid(args.grid, args.paths);
    let mut ledger = Ledger::open(&path)?;
    let left: Vec<Point> = points.iter().filter(|point| ledger.get(point).is_none()).copied().collect();
    println!("{} points, {} are there already", points.len(), points.len() - left.len());

    // A point whose worker is killed is tried again.
    let pool = Pool::builder().processes(args.processes).retries(3).build()?;
    let bar = ProgressBar::new(left.len() as u64);
    bar.set_style(
        ProgressStyle::with_template("{bar:40} {pos}/{len} {per_sec} eta {eta}").map_err(crossproc::Error::other)?,
    );
    // Unordered: what is done is in the file at once, not when all before it are done.
    for result in pool.imap_unordered(|point| (point, price(&point)), left) {
        let (point, price) = result?;
        ledger.add(&point, price)?;
        bar.inc(1);
    }
    bar.finish_and_clear();

    // The first and the last point once more, here and without a pool: the same to the last bit, whoever did it and
    // when.
    for point in points.first().into_iter().chain(points.last()) {
        assert_eq!(ledger.get(point).map(f64::to_bits), Some(price(point).to_bits()), "{point:?}");
    }
    println!("digest {}", ledger.digest(&points)?);
    if args.output.is_none() {
        std::fs::remove_file(&path)?;
    }
    Ok(())
}
