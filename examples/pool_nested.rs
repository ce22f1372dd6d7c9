//! A pool in a worker of a pool: workers are daemons, which have no children, unless they are told to be none.

use crossproc::{Pool, PoolError, Result, SpawnError};

/// Sums a row with a pool of its own.
fn sum_row(row: Vec<u64>) -> Result<u64, PoolError> {
    let pool = Pool::new(2)?;
    Ok(pool.map(|x| x * x, row).map_or(0, |squares| squares.iter().sum()))
}

fn main() -> Result<()> {
    let rows = [vec![1, 2, 3], vec![4, 5], vec![6]];

    let daemons = Pool::new(2)?;
    let refused = daemons.map(sum_row, rows.clone())?;
    assert!(refused.iter().all(|result| *result == Err(PoolError::Spawn(SpawnError::DaemonChild))));
    println!("daemons: {}", PoolError::Spawn(SpawnError::DaemonChild));

    let pool = Pool::builder().processes(2).daemon(false).build()?;
    let sums = pool.map(sum_row, rows)?;
    println!("not daemons: {sums:?}");
    assert_eq!(sums, [Ok(14), Ok(41), Ok(36)]);
    Ok(()) // both pools end here, and so do those in their workers
}
