//! Runners wait for the start. All go at once.

use crossproc::{Event, Process, Result};
use std::time::Duration;

fn run(start: Event, finish: Event) -> bool {
    start.wait(); // asleep, at no cost
    finish.set(); // the first one; that others do it again changes nothing
    start.is_set()
}

fn main() -> Result<()> {
    let (start, finish) = (Event::new()?, Event::new()?);
    let spawn = |_| Process::spawn(run, (start.clone(), finish.clone()));
    let runners = (0..4).map(spawn).collect::<std::result::Result<Vec<_>, _>>()?;

    assert!(!finish.wait_timeout(Duration::from_millis(50)), "no process runs before the start");
    println!("go!");
    start.set();
    finish.wait();
    for runner in runners {
        assert!(runner.join()?);
    }
    println!("all have run");

    // A race more, with the same event.
    start.clear();
    assert!(!start.is_set());
    Ok(())
}
