//! A process is killed with two locks held: no process hangs, and what it left is known.
//!
//! ```text
//! cargo run --example killed_holder
//! ```

use crossproc::{Array, LockError, Result, Value};
use std::process::Command;
use std::time::Duration;

/// Takes both locks, changes a bit of both, and goes no further.
fn victim(value: &Value<u64>, array: &Array<u64>) -> Result<()> {
    let mut number = value.lock()?;
    let mut items = array.lock()?;
    *number = 99;
    items[0] = 99;
    loop {
        std::thread::sleep(Duration::from_secs(1));
    }
}

fn main() -> Result<()> {
    if let Some(name) = std::env::args().nth(1) {
        return victim(&Value::named(&name).open()?, &Array::named(&format!("{name}-array")).open()?);
    }
    let name = format!("killed-holder-{}", std::process::id());
    let value = Value::named(&name).create(1_u64)?;
    let array = Array::named(&format!("{name}-array")).create(&[1_u64, 1, 1])?;
    let mut child = Command::new(std::env::current_exe()?).arg(&name).spawn()?;
    while array.holder() != Some(child.id()) {
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(Duration::from_millis(20)); // time to change both
    child.kill()?;
    child.wait()?;

    // A Value: its changes are gone as a whole, so there is nothing to repair.
    let number = value.lock()?;
    println!("the value is {}, recovered from {:?}", *number, number.recovered_from());
    assert_eq!((*number, number.recovered_from()), (1, Some(child.id())));

    // An Array is changed in place: it may be half-done, and each lock says so until a process repairs it.
    let error = array.lock().unwrap_err();
    println!("the array: {error}");
    assert_eq!(error, LockError::OwnerDied { pid: child.id() });
    let items = array.lock_or_repair(|items| {
        println!("it left {items:?}");
        items.fill(1);
    })?;
    assert_eq!(*items, [1, 1, 1]);
    drop(items);
    assert_eq!(array.lock()?.len(), 3);
    Ok(())
}
