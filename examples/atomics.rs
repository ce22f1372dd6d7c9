//! Integers that processes change by single instructions, with the operations and orderings of `std::sync::atomic`.
//!
//! ```text
//! cargo run --example atomics
//! ```

use crossproc::{Atomic, Result};
use std::process::Command;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

const TASKS: u32 = 1000;

/// Takes tasks until there are none: each is taken once, by whoever comes first.
fn work(next: &Atomic<u32>, sum: &Atomic<u64>, largest: &Atomic<u32>) {
    loop {
        let task = next.fetch_add(1, Relaxed);
        if task >= TASKS {
            return;
        }
        sum.fetch_add(task.into(), Relaxed);
        largest.fetch_max(task, Relaxed);
    }
}

fn main() -> Result<()> {
    if let Some(name) = std::env::args().nth(1) {
        let (next, sum) = (Atomic::named(&name).open()?, Atomic::named(&format!("{name}-sum")).open()?);
        work(&next, &sum, &Atomic::named(&format!("{name}-largest")).open()?);
        return Ok(());
    }
    let name = format!("atomics-{}", std::process::id());
    let next = Atomic::named(&name).create(0)?;
    let sum = Atomic::named(&format!("{name}-sum")).create(0)?;
    let largest = Atomic::named(&format!("{name}-largest")).create(0)?;
    let mut child = Command::new(std::env::current_exe()?).arg(&name).spawn()?;
    work(&next, &sum, &largest);
    assert!(child.wait()?.success());
    println!("{TASKS} tasks, sum {}, largest {}", sum.load(Relaxed), largest.load(Relaxed));
    assert_eq!((sum.load(Relaxed), largest.load(Relaxed)), (499_500, TASKS - 1));

    // Without a name, between threads here; `as_std` is the atomic as std knows it.
    let ready = Atomic::new(0_u8)?;
    std::thread::scope(|scope| {
        scope.spawn(|| ready.store(1, Release));
        while ready.compare_exchange(1, 2, Acquire, Relaxed).is_err() {
            std::hint::spin_loop();
        }
    });
    assert_eq!(ready.as_std().fetch_nand(2, Relaxed), 2);
    Ok(())
}
