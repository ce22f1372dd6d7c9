//! A counter that threads and another process add to: no update is lost.
//!
//! ```text
//! cargo run --example counter
//! ```

use crossproc::{Result, Value};
use std::process::Command;

fn count(counter: &Value<u64>) -> Result<()> {
    for _ in 0..10_000 {
        *counter.lock()? += 1;
    }
    Ok(())
}

fn main() -> Result<()> {
    // Started with a name, this is the other process.
    if let Some(name) = std::env::args().nth(1) {
        return count(&Value::named(&name).open()?);
    }
    let name = format!("counter-{}", std::process::id());
    let counter = Value::named(&name).create(0)?;
    let mut other = Command::new(std::env::current_exe()?).arg(&name).spawn()?;
    std::thread::scope(|scope| {
        let threads = [(); 2].map(|()| scope.spawn(|| count(&counter)));
        threads.into_iter().try_for_each(|thread| thread.join().expect("no panic"))
    })?;
    assert!(other.wait()?.success());
    println!("2 threads and process {} counted to {}", other.id(), counter.get());
    assert_eq!(counter.get(), 30_000);
    Ok(())
}
