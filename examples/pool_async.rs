//! Results that come later: asked for, waited for, called back with, cancelled.

use crossproc::{NotReady, Pool, Result, TaskError};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

fn foo(i: u32) -> u32 {
    std::thread::sleep(Duration::from_millis(200));
    i + 100
}

fn main() -> Result<()> {
    let pool = Pool::new(5)?;
    let start = Instant::now();
    let (to, from) = channel();
    let results: Vec<_> = (0..10)
        .map(|i| {
            let to = to.clone(); // callbacks run in this process, so they may capture
            pool.apply_async(foo, (i,)).on_done(move |result| to.send(*result).unwrap())
        })
        .collect();

    let mut impatient = pool.apply_async(foo, (10,));
    assert!(!impatient.ready());
    assert_eq!(impatient.successful(), Err(NotReady));
    assert_eq!(impatient.get_timeout(Duration::from_millis(1)), Err(TaskError::Timeout));
    if impatient.cancel() {
        assert_eq!(impatient.get(), Err(TaskError::Cancelled)); // it waited behind the others
    }

    pool.close(); // no more tasks
    pool.join()?; // all results are there, and all callbacks have run
    println!("ten naps of 0.2 s in five workers take {:?}", start.elapsed());
    let mut called: Vec<u32> = from.try_iter().collect();
    called.sort();
    assert_eq!(called, (100..110).collect::<Vec<_>>());
    let in_order: Vec<u32> = results.into_iter().map(|result| result.get()).collect::<Result<_, TaskError>>()?;
    println!("{in_order:?}");
    assert_eq!(in_order, called);
    Ok(())
}
