//! The first child process: a function runs in it, with arguments, and its result comes back.
//!
//! ```text
//! cargo run --example first_process
//! ```

use crossproc::{Process, Result};

/// What the child runs. Its arguments and its result travel between the processes.
fn greet(name: String, times: usize) -> String {
    println!("this is process {}", std::process::id());
    vec![format!("hello {name}"); times].join(", ")
}

fn main() -> Result<()> {
    println!("the program is process {}", std::process::id());

    // The arguments are a tuple, as if `greet` were called with them.
    let child = Process::spawn(greet, ("Bob".to_string(), 2))?;
    println!("it started process {}", child.id());
    assert_ne!(child.id(), std::process::id());

    // `join` waits for the child's end, and gives what the function returned.
    let greeting = child.join()?;
    println!("the child says: {greeting}");
    assert_eq!(greeting, "hello Bob, hello Bob");

    // A closure will do as well. It captures nothing: what it needs comes as an argument, `(n,)` if there is one.
    let children = (1..=4).map(|n| Process::spawn(|n: u64| n * n, (n,))).collect::<Result<Vec<_>, _>>()?;
    // All four run by now, side by side; the results come in the order of the joins.
    let squares = children.into_iter().map(Process::join).collect::<Result<Vec<_>, _>>()?;
    println!("four children squared: {squares:?}");
    assert_eq!(squares, [1, 4, 9, 16]);
    Ok(())
}
