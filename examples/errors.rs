//! How a child can fail, and what its parent learns: a panic, an exit code, a signal, an error that the function
//! returned.
//!
//! ```text
//! cargo run --example errors
//! ```

use crossproc::{Error, JoinError, Os, Process, Result, Stdio};
use serde::{Deserialize, Serialize};

/// The program's own error type: with serde it comes back as it was.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Refused {
    Overdrawn { missing: u32 },
    Closed,
}

fn withdraw(balance: u32, amount: u32) -> Result<u32, Refused> {
    match balance.checked_sub(amount) {
        _ if balance == 0 => Err(Refused::Closed),
        Some(rest) => Ok(rest),
        None => Err(Refused::Overdrawn { missing: amount - balance }),
    }
}

/// With `crossproc::Result`, `?` takes the errors of this crate and of the system; `Error::other` takes the rest.
fn read_number(path: String) -> Result<u64> {
    let text = std::fs::read_to_string(path)?;
    text.trim().parse().map_err(Error::other)
}

fn main() -> Result<()> {
    // A panic: what it said, and where. The child's standard error would show it too.
    let child = Process::builder().stderr(Stdio::null()).spawn(|| panic!("the disk is on fire"), ())?;
    match child.join() {
        Err(JoinError::Panicked { message, location: Some(location), .. }) => {
            println!("it panicked: {message:?} at {location}");
            assert!(message == "the disk is on fire" && location.contains("errors.rs:"));
        }
        other => panic!("{other:?}"),
    }

    // An end before the function has returned, also with code 0, and a signal: there is no result.
    let exits = Process::spawn(|| std::process::exit(7), ())?.join();
    let aborts = Process::spawn(|| std::process::abort(), ())?.join();
    println!("the others: {exits:?}, {aborts:?}");
    assert_eq!((exits, aborts), (Err(JoinError::Exited(7)), Err(JoinError::Signaled(6))));

    // Errors that a function returns are its result, and keep their type.
    let [enough, too_little, none] = [50, 20, 0].map(|balance| Process::spawn(withdraw, (balance, 30)));
    assert_eq!(enough?.join()?, Ok(20));
    assert_eq!(too_little?.join()?, Err(Refused::Overdrawn { missing: 10 }));
    assert_eq!(none?.join()?, Err(Refused::Closed));

    // One `?` for the process, another one for its function.
    let read = |path: &str| -> Result<u64> { Process::spawn(read_number, (path.to_string(),))?.join()? };
    let error = read("/no/such/file").unwrap_err();
    println!("read_number: {error}");
    assert_eq!(error, Error::Os(Os(2)));
    Ok(())
}
