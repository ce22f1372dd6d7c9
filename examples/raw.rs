//! Shared memory without locks: one writes, others look on, and the last write wins.
//!
//! ```text
//! cargo run --example raw
//! ```

use crossproc::{RawArray, RawValue, Result};
use std::process::Command;
use std::time::Duration;

const STEPS: usize = 20;

/// A thermometer that measures now and then.
fn measure(levels: &RawArray<f32>, progress: &RawValue<u64>) {
    for step in 0..STEPS {
        levels.set(step, 20.0 + step as f32 / 2.0);
        progress.set(step as u64 + 1);
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn main() -> Result<()> {
    if let Some(name) = std::env::args().nth(1) {
        measure(&RawArray::named(&format!("{name}-levels")).open()?, &RawValue::named(&name).open()?);
        return Ok(());
    }
    let name = format!("raw-{}", std::process::id());
    let levels = RawArray::<f32>::named(&format!("{name}-levels")).create_zeroed(STEPS)?;
    let progress = RawValue::<u64>::named(&name).create(0)?;
    let mut child = Command::new(std::env::current_exe()?).arg(&name).spawn()?;
    while child.try_wait()?.is_none() {
        println!("{} of {STEPS} measured", progress.get());
        std::thread::sleep(Duration::from_millis(50));
    }
    let last = levels.get(STEPS - 1);
    println!("the last one: {last:?}");
    assert_eq!((progress.get(), last), (STEPS as u64, Some(29.5)));
    assert_eq!(levels.get(STEPS), None, "there is no such item");
    Ok(())
}
