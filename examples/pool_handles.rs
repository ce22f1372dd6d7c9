//! Queues, values and arrays are arguments of tasks like anything else: the workers change the program's data in place.

use crossproc::{Array, Pool, Queue, Result, Value};

fn square((i, squares, sum, log): (usize, Array<u64>, Value<u64>, Queue<String>)) -> Result<()> {
    let n = i as u64 + 1;
    squares.set(i, n * n)?;
    *sum.lock()? += n * n;
    log.put(format!("{n} squared by worker {}", std::process::id()))?;
    Ok(())
}

fn main() -> Result<()> {
    let (squares, sum, log) = (Array::zeroed(4)?, Value::new(0)?, Queue::new()?);
    let pool = Pool::new(2)?;
    let inputs = (0..4).map(|i| (i, squares.clone(), sum.clone(), log.clone()));
    pool.map(square, inputs)?.into_iter().collect::<Result<()>>()?;
    assert_eq!((squares.to_vec()?, sum.get(), log.len()), (vec![1, 4, 9, 16], 30, 4));
    while let Ok(line) = log.try_get() {
        println!("{line}");
    }
    println!("{:?} add up to {}", squares.to_vec()?, sum.get());
    Ok(())
}
