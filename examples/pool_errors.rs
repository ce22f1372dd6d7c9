//! What can go wrong in a pool, and what it costs: one input, never the pool.

use crossproc::{Pool, Result, TaskError};
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
    let pool = Pool::builder().processes(2).task_timeout(Duration::from_millis(300)).build()?;
    let mut failed = 0;
    for (n, result) in pool.imap(fragile, 0..8).enumerate() {
        match result {
            Ok(result) => assert_eq!(result as usize, n * 10),
            Err(TaskError::Panicked { message, location, .. }) => println!("{n} panicked: {message}, at {location:?}"),
            Err(TaskError::WorkerDied { pid, exit_code, .. }) => println!("{n} took worker {pid} with it: {exit_code}"),
            Err(error) => println!("{n}: {error}"),
        }
        failed += u32::from((2..=5).contains(&n));
    }
    assert_eq!(failed, 4);

    // A map says it once everything has run: the first that failed, with its index.
    match pool.map(fragile, 0..5) {
        Err(TaskError::Panicked { index: Some(2), .. }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(pool.map(fragile, [0, 1])?, [0, 10], "and the pool goes on");

    // Where a second try may help, the pool tries again: the worker takes nothing with it but itself.
    let stubborn = Pool::builder().processes(1).retries(1).build()?;
    let tries = crossproc::Atomic::new(0_u32)?;
    let second_try = |tries: crossproc::Atomic<u32>| {
        if tries.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0 {
            std::process::abort();
        }
        "done".to_string()
    };
    assert_eq!(stubborn.apply(second_try, (tries,))?, "done");
    println!("all the others have their results");
    Ok(())
}
