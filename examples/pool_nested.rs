//! A pool in a worker of a pool: workers are daemons, which have no children, unless they are told to be none.

use crossproc::{Pool, PoolError, Process, Result, SpawnError};

/// Sums the squares of a row with a pool of its own.
fn sum_row(row: Vec<u64>) -> Result<u64> {
    let pool = Pool::new(2)?;
    Ok(pool.map(|x| x * x, row)?.iter().sum())
}

fn main() -> Result<()> {
    let rows = [vec![1, 2, 3], vec![4, 5], vec![6]];

    let daemons = Pool::new(2)?;
    for refused in daemons.map(sum_row, rows.clone())? {
        let error = refused.unwrap_err();
        println!("in a daemon: {error}");
        assert_eq!(error, PoolError::Spawn(SpawnError::DaemonChild).into());
    }

    let pool = Pool::builder().processes(2).daemon(false).build()?;
    let sums = pool.map(sum_row, rows.clone())?.into_iter().collect::<Result<Vec<_>>>()?;
    println!("in workers that are no daemons: {sums:?}");
    assert_eq!(sums, [14, 41, 36]);

    let [row, ..] = rows;
    let sum = Process::spawn(sum_row, (row,))?.join()??;
    println!("in a plain child: {sum}");
    assert_eq!(sum, 14);
    Ok(()) // both pools end here, and so do those in their workers
}
