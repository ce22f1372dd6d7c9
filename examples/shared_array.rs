//! An array and a value in shared memory: what a child writes is what its parent reads.
//!
//! ```text
//! cargo run --example shared_array
//! ```

use crossproc::{Array, Process, Result, Value};

/// The squares go into the array, and their sum into the value.
fn square(numbers: Vec<i32>, squares: Array<i32>, sum: Value<i32>) -> Result<()> {
    for (i, number) in numbers.into_iter().enumerate() {
        squares.set(i, number * number)?;
    }
    sum.set(squares.lock()?.iter().sum())?;
    println!("in the child:  {:?}, sum {}", squares.to_vec()?, sum.get());
    Ok(())
}

/// One lock for all items: no process sees some negated and others not.
fn negate(numbers: Array<i32>) -> Result<()> {
    numbers.lock()?.iter_mut().for_each(|number| *number = -*number);
    Ok(())
}

fn main() -> Result<()> {
    let squares = Array::<i32>::zeroed(4)?;
    let sum = Value::new(10)?;
    println!("at first:      {:?}, sum {}", squares.to_vec()?, sum.get());

    // A clone of a handle is another handle on the same memory; as an argument it takes the memory along.
    let child = Process::spawn(square, (vec![1, 2, 3, 4], squares.clone(), sum.clone()))?;
    child.join()??; // the first `?` is about the process, the second about what the function returned
    println!("in the parent: {:?}, sum {}", squares.to_vec()?, sum.get());
    assert_eq!((squares.to_vec()?, sum.get()), (vec![1, 4, 9, 16], 30));

    let numbers = Array::from_iter(0..10)?;
    Process::spawn(negate, (numbers.clone(),))?.join()??;
    println!("negated:       {:?}", numbers.to_vec()?);
    assert_eq!(numbers.to_vec()?, [0, -1, -2, -3, -4, -5, -6, -7, -8, -9]);
    Ok(())
}
