//! The same function over many inputs: in a loop, and spread over a pool of workers.

use crossproc::{Pool, Result, cpu_count};
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
    const INPUTS: std::ops::Range<u64> = 1..300_000;

    let start = Instant::now();
    let serial: Vec<u32> = INPUTS.map(collatz).collect();
    println!("a loop takes {:?}", start.elapsed());

    let pool = Pool::new(cpu_count())?;
    let start = Instant::now();
    let parallel = pool.map(collatz, INPUTS)?; // in the order of the inputs
    println!("{} workers take {:?}", pool.workers().len(), start.elapsed());
    assert_eq!(parallel, serial);

    // Functions of several arguments take tuples; closures must not capture, so what they need is an argument, or shared.
    assert_eq!(pool.starmap(u64::pow, [(1, 2), (2, 3)])?, [1, 8]);
    let weights = vec![0.5, 1.5, 2.5];
    assert_eq!(pool.map_with(&weights, |weights, i: usize| weights[i] * 2.0, 0..3)?, [1.0, 3.0, 5.0]);
    println!("{}", pool.insights());
    Ok(())
}
