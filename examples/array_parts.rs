//! An array in parts: each process works on its own part, in place, and none waits for another.
//!
//! ```text
//! cargo run --example array_parts
//! ```

use crossproc::{Array, Result};
use std::process::Command;

const PARTS: usize = 4;

/// The work of one process: its part's lock is taken once, for all of it.
fn square(array: &Array<u64>, index: usize) -> Result<()> {
    let part = &array.parts(PARTS)?[index];
    let mut items = part.lock()?;
    for item in items.iter_mut() {
        *item *= *item;
    }
    println!("process {} did {:?}", std::process::id(), part.range());
    Ok(())
}

fn main() -> Result<()> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    if let [name, index] = args.as_slice() {
        return square(&Array::named(name).open()?, index.parse().map_err(crossproc::Error::other)?);
    }
    let name = format!("array-parts-{}", std::process::id());
    let numbers: Vec<u64> = (0..1_000_000).collect();
    let array = Array::named(&name).create(&numbers)?;
    let mut children = Vec::new();
    for index in 0..PARTS {
        children.push(Command::new(std::env::current_exe()?).args([&name, &index.to_string()]).spawn()?);
    }
    for child in &mut children {
        assert!(child.wait()?.success());
    }
    // The lock of the whole is the locks of all parts.
    let sum: u64 = array.lock()?.iter().sum();
    println!("the sum of the squares is {sum}");
    assert_eq!(sum, numbers.iter().map(|number| number * number).sum());
    Ok(())
}
