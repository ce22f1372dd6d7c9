//! A global is not shared: each process has its own, and only what is in shared memory is common to all.
//!
//! ```text
//! cargo run --example globals
//! ```

use crossproc::{Array, Process, Result};
use std::sync::{Mutex, MutexGuard, PoisonError};

static RESULT: Mutex<Vec<i32>> = Mutex::new(Vec::new());

fn result() -> MutexGuard<'static, Vec<i32>> {
    RESULT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Changes the global of the process that it runs in, and returns a copy.
fn square_into_global(numbers: Vec<i32>) -> Vec<i32> {
    result().extend(numbers.iter().map(|number| number * number));
    println!("the global in process {}: {:?}", std::process::id(), result());
    result().clone()
}

fn square_into_array(numbers: Array<i32>) -> Result<()> {
    numbers.lock()?.iter_mut().for_each(|number| *number *= *number);
    Ok(())
}

fn main() -> Result<()> {
    // A child begins with globals as they are at the start of the program, also those that its parent has changed.
    result().push(100);
    for _ in 0..2 {
        let child = Process::spawn(square_into_global, (vec![1, 2, 3, 4],))?;
        assert_eq!(child.join()?, [1, 4, 9, 16]); // one way out: the result
    }
    println!("the global in the parent: {:?}", result());
    assert_eq!(*result(), [100]);

    // The other way: shared memory.
    let numbers = Array::from_slice(&[1, 2, 3, 4])?;
    Process::spawn(square_into_array, (numbers.clone(),))?.join()??;
    println!("the shared array in the parent: {:?}", numbers.to_vec()?);
    assert_eq!(numbers.to_vec()?, [1, 4, 9, 16]);
    Ok(())
}
