//! A value with a name: programs that know nothing of each other find it.
//!
//! Run it in two terminals at the same time: both add to the same number. It is gone when the last one ends.
//!
//! ```text
//! cargo run --example named_value
//! ```

use crossproc::{Result, SegmentError, Value};
use std::time::Duration;

const NAME: &str = "example-visits";

fn main() -> Result<()> {
    // The first one makes it, the others find it with what is in it.
    let visits = Value::<u64>::named(NAME).open_or_create(0)?;
    for _ in 0..5 {
        let number = visits.update(|visits| {
            *visits += 1;
            *visits
        })?;
        println!("process {}: visit {number}", std::process::id());
        std::thread::sleep(Duration::from_millis(250));
    }

    // Another handle is the same value, and what the name stands for is checked.
    let same = Value::<u64>::named(NAME).open()?;
    assert!(same.get() >= 5);
    assert_eq!(Value::<f64>::named(NAME).open().unwrap_err(), SegmentError::WrongType);
    assert_eq!(Value::<u64>::named(NAME).create(0).unwrap_err(), SegmentError::AlreadyExists);
    Ok(())
}
