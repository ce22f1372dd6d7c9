//! Children from within an asynchronous program, whose threads a plain fork would lose.
//!
//! ```text
//! cargo run --example tokio
//! ```

use crossproc::{Error, Process, Result, Value};

/// Runs in a process of its own, in which there is no runtime.
fn sum(total: Value<u64>, from: u64, to: u64) -> Result<u64> {
    let part = (from..to).sum();
    *total.lock()? += part;
    Ok(part)
}

/// `join` sleeps, so it has a thread where that is allowed.
async fn in_child(total: Value<u64>, from: u64, to: u64) -> Result<u64> {
    let child = Process::spawn(sum, (total, from, to))?;
    tokio::task::spawn_blocking(move || child.join()?).await.map_err(Error::other)?
}

#[tokio::main]
async fn main() -> Result<()> {
    let total = Value::new(0)?;
    let parts = (0..4).map(|i| tokio::spawn(in_child(total.clone(), i * 250, (i + 1) * 250)));
    for part in parts.collect::<Vec<_>>() {
        println!("a child added {}", part.await.map_err(Error::other)??);
    }
    assert_eq!(total.get(), (0..1000).sum());
    println!("together {}", total.get());
    Ok(())
}
