//! What can go wrong in a pool, and what it costs: one input, never the pool.

use crossproc::{Atomic, Pool, Result, TaskError};
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

fn fragile(n: u32) -> u32 {
    match n {
        2 => panic!("two is too much"),
        3 => std::process::exit(5),
        4 => std::process::abort(),
        5 => loop {
            std::thread::sleep(Duration::from_secs(1)); // hangs
        },
        n => n * 10,
    }
}

fn main() -> Result<()> {
    let pool = Pool::builder().processes(2).task_timeout(Duration::from_secs(1)).build()?;

    // One by one: an input that fails is an error among the results of the others.
    let results: Vec<Result<u32, TaskError>> = pool.imap(fragile, 0..8).collect();
    for (n, result) in results.iter().enumerate() {
        match result {
            Ok(result) => println!("{n}: {result}"),
            Err(error) => println!("{n}: error: {error}"),
        }
    }
    assert!(matches!(&results[2], Err(TaskError::Panicked { message, .. }) if message == "two is too much"));
    assert!(matches!(results[3], Err(TaskError::WorkerDied { exit_code: 5, .. })));
    assert!(matches!(results[4], Err(TaskError::WorkerDied { exit_code: -6, .. }))); // SIGABRT
    assert_eq!(results[5], Err(TaskError::Timeout)); // its worker was killed
    assert_eq!([0, 1, 6, 7].map(|n: usize| results[n].clone()), [Ok(0), Ok(10), Ok(60), Ok(70)]);

    // All at once: a map runs all of them, then says which was the first that failed.
    match pool.map(fragile, [0, 1, 2, 3, 6]) {
        Err(TaskError::Panicked { index: Some(2), location: Some(location), .. }) => println!("panicked at {location}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(pool.map(fragile, [0, 1, 6])?, [0, 10, 60], "and the pool goes on");

    // Errors that the function returns are results like any others: all of them come.
    let inverse = |n: u32| 12_u32.checked_div(n).ok_or_else(|| format!("12 / {n}?"));
    assert_eq!(pool.map(inverse, [3, 0, 4])?, [Ok(4), Err("12 / 0?".to_string()), Ok(3)]);

    // Where a second try may help, the pool tries again.
    let stubborn = Pool::builder().processes(1).retries(1).build()?;
    let tries = Atomic::new(0_u32)?;
    let dies_at_first = |tries: Atomic<u32>| {
        if tries.fetch_add(1, SeqCst) == 0 {
            std::process::abort();
        }
        "done".to_string()
    };
    assert_eq!(stubborn.apply(dies_at_first, (tries.clone(),))?, "done");
    println!("done at try {}", tries.load(SeqCst));
    assert_eq!(tries.load(SeqCst), 2);
    Ok(())
}
