//! The same function over many inputs: in a loop, and spread over a pool of workers.
//!
//! ```text
//! cargo run --release --example pool_map
//! ```

use crossproc::{Pool, Result, cpu_count};
use std::collections::BTreeSet;
use std::time::Instant;

/// How many steps it takes to come to 1.
fn collatz(start: u64) -> u32 {
    let (mut n, mut steps) = (start, 0);
    while n != 1 {
        n = if n.is_multiple_of(2) { n / 2 } else { 3 * n + 1 };
        steps += 1;
    }
    steps
}

fn main() -> Result<()> {
    let pool = Pool::new(cpu_count())?;
    for count in [1, 2, 10, 300_000] {
        let start = Instant::now();
        let serial: Vec<u32> = (1..=count).map(collatz).collect();
        let by_loop = start.elapsed();
        let start = Instant::now();
        let parallel = pool.map(collatz, 1..=count)?; // in the order of the inputs
        println!("{count} inputs: a loop takes {by_loop:?}, {} workers {:?}", pool.workers().len(), start.elapsed());
        assert_eq!(parallel, serial);
    }

    // Functions of several arguments take tuples. A closure captures nothing: what it needs is an argument, or shared,
    // that is, sent to each worker once.
    assert_eq!(pool.starmap(u64::pow, [(1, 2), (2, 3)])?, [1, 8]);
    let weights = vec![0.5, 1.5, 2.5];
    assert_eq!(pool.map_with(&weights, |weights, i: usize| weights[i] * 2.0, 0..3)?, [1.0, 3.0, 5.0]);
    println!("{}", pool.insights());

    // A pool that leaves one processor to others: its tasks are in no more processes than that.
    let workers = cpu_count().saturating_sub(1).max(1);
    let modest = Pool::new(workers)?;
    let ids: BTreeSet<u32> = modest.chunksize(1).map(|_| std::process::id(), 0..100)?.into_iter().collect();
    println!("a hundred tasks ran in {} of {workers} workers", ids.len());
    assert!((1..=workers).contains(&ids.len()));
    Ok(())
}
