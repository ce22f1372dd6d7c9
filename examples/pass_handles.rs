//! Handles in a message: a child gets shared objects that have no name, over a Unix socket.
//!
//! ```text
//! cargo run --example pass_handles
//! ```

use crossproc::{Array, Error, Part, Result, Value, transfer};
use serde::{Deserialize, Serialize};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

/// A message is any type of serde's, with handles in it.
#[derive(Serialize, Deserialize)]
struct Order {
    title: String,
    total: Value<u64>,
    part: Part<u64>,
}

/// The child: its standard input is the socket.
fn serve() -> Result<()> {
    let stream = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    let order: Order = transfer::recv(&stream)?;
    let items = order.part.lock()?;
    *order.total.lock()? += items.iter().sum::<u64>();
    println!("process {}: {} {:?}", std::process::id(), order.title, order.part.range());

    // Handles go both ways.
    let answer = Array::from_iter(items.iter().map(|item| item * 10))?;
    Ok(transfer::send(&stream, &answer)?)
}

fn main() -> Result<()> {
    if std::env::args().nth(1).is_some() {
        return serve();
    }
    let total = Value::new(0_u64)?;
    let array = Array::from_iter(1..=10_u64)?;
    for (index, part) in array.parts(2)?.into_iter().enumerate() {
        let (here, there) = UnixStream::pair()?;
        let mut child = Command::new(std::env::current_exe()?);
        let mut child = child.arg("child").stdin(Stdio::from(OwnedFd::from(there))).spawn()?;
        let order = Order { title: format!("part {index}"), total: total.clone(), part };
        transfer::send(&here, &order)?;
        let answer: Array<u64> = transfer::recv(&here).map_err(|error| Error::other(format!("no answer: {error}")))?;
        assert!(child.wait()?.success());
        // It lives on, although the process that made it has ended.
        println!("{:?}", answer.to_vec()?);
        assert_eq!(answer.get(0)?, array.get(order.part.range().start)? * 10);
    }
    println!("the total is {}", total.get());
    assert_eq!(total.get(), 55);
    Ok(())
}
