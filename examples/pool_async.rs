//! Results that come later: many at once, waited for with patience and without, cancelled, and failed.

use crossproc::{Event, NotReady, Pool, Result, TaskError};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

fn foo(i: u32) -> u32 {
    std::thread::sleep(Duration::from_millis(200));
    i + 100
}

/// Returns when it is told to.
fn gated(gate: Event, i: u32) -> u32 {
    gate.wait();
    i + 100
}

fn main() -> Result<()> {
    // Ten tasks, five at a time. What comes is called back with as it comes, and can be asked for in the tasks' order.
    let pool = Pool::new(5)?;
    let start = Instant::now();
    let (to, from) = channel();
    let results: Vec<_> = (0..10)
        .map(|i| {
            let to = to.clone(); // callbacks run in this process, so they may capture
            pool.apply_async(foo, (i,)).on_done(move |result| to.send(*result).unwrap())
        })
        .collect();
    pool.close(); // no more tasks
    pool.join()?; // all results are there, and all callbacks have run
    println!("ten naps of 0.2 s in five workers take {:?}", start.elapsed());
    let in_order = results.into_iter().map(|result| result.get()).collect::<Result<Vec<u32>, _>>()?;
    println!("{in_order:?}");
    assert_eq!(in_order, (100..110).collect::<Vec<_>>());
    let mut called: Vec<u32> = from.try_iter().collect();
    called.sort();
    assert_eq!(called, in_order);

    // A result that is not there yet.
    let (pool, gate) = (Pool::new(1)?, Event::new()?);
    let mut result = pool.apply_async(gated, (gate.clone(), 1));
    let second = pool.apply_async(foo, (2,));
    let moment = Duration::from_millis(10);
    assert!(!result.ready());
    assert_eq!(result.successful(), Err(NotReady));
    assert_eq!(result.get_timeout(moment), Err(TaskError::Timeout));
    assert!(!result.wait_timeout(moment));
    // The only worker is busy, so the second task can be taken back.
    assert!(second.cancel());
    assert_eq!(second.get(), Err(TaskError::Cancelled));
    gate.set();
    result.wait();
    assert_eq!((result.ready(), result.successful(), result.get()), (true, Ok(true), Ok(101)));

    // An error in the worker is the error of `get` here.
    let failed = pool.apply_async(|i: u32| -> u32 { panic!("{i} is no number for me") }, (3,));
    failed.wait();
    assert_eq!(failed.successful(), Ok(false));
    let error = failed.get().unwrap_err();
    println!("{error}");
    assert!(matches!(error, TaskError::Panicked { message, .. } if message == "3 is no number for me"));
    Ok(())
}
