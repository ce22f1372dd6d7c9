//! Queues, values and arrays are arguments of tasks like anything else: the workers change the program's data in place.

use crossproc::{Array, Pool, Queue, Result, Value};

fn square(n: u64, squares: Array<u64>, sum: Value<u64>, log: Queue<String>) -> Result<()> {
    squares.set(n as usize - 1, n * n)?;
    *sum.lock()? += n * n; // one worker at a time
    log.put(format!("{n} squared by worker {}", std::process::id()))?;
    Ok(())
}

fn main() -> Result<()> {
    let (squares, sum, log) = (Array::zeroed(4)?, Value::new(0)?, Queue::new()?);
    let pool = Pool::new(2)?;
    // A clone is another handle on the same memory.
    let inputs = (1..=4).map(|n| (n, squares.clone(), sum.clone(), log.clone()));
    pool.starmap(square, inputs)?.into_iter().collect::<Result<()>>()?;

    assert_eq!((squares.to_vec()?, sum.get(), log.len()), (vec![1, 4, 9, 16], 30, 4));
    while let Ok(line) = log.try_get() {
        println!("{line}");
    }
    println!("{:?} add up to {}", squares.to_vec()?, sum.get());
    Ok(())
}
