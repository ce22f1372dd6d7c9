//! Inputs without end: taken only as they are needed, from an iterator that borrows, with results in order or as they
//! come.

use crossproc::{Pool, Result, TaskError};
use std::cell::Cell;
use std::time::Duration;

fn is_prime(n: u64) -> Option<u64> {
    let smallest = (2..).take_while(|d| d * d <= n).find(|d| n.is_multiple_of(*d));
    (n > 1 && smallest.is_none()).then_some(n)
}

fn main() -> Result<()> {
    let pool = Pool::new(4)?;
    let taken = Cell::new(0);
    let numbers = (0_u64..).inspect(|_| taken.set(taken.get() + 1));
    let primes: Vec<u64> = pool
        .imap(is_prime, numbers)
        .chunksize(8) // eight numbers for each message
        .buffer(64) // at most so many ahead of the results
        .filter_map(Result::transpose)
        .take(100)
        .collect::<Result<_, TaskError>>()?;
    println!("the hundredth prime is {}, and {} numbers were taken", primes[99], taken.get());
    assert_eq!((primes[99], taken.get() <= 542 + 64), (541, true));

    // Whatever is done first comes first.
    let naps = [60, 1, 30].map(Duration::from_millis);
    let nap = |time: Duration| {
        std::thread::sleep(time);
        time
    };
    let as_they_come = pool.imap_unordered(nap, naps).collect::<Result<Vec<_>, _>>()?;
    println!("{as_they_come:?}");
    assert_eq!(as_they_come.iter().sum::<Duration>(), Duration::from_millis(91));

    // A caller that does not want to wait gives a time limit.
    let mut slow = pool.imap(nap, [Duration::from_millis(200)]);
    assert!(slow.next_timeout(Duration::from_millis(1)).is_some_and(|result| result.is_err_and(|e| e.is_timeout())));
    assert!(slow.next().is_some_and(|result| result.is_ok()));
    Ok(())
}
