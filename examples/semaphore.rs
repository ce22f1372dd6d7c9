//! At most two workers at a time may use something. One of them is killed inside: its place is free again at once.

use crossproc::{Process, Result, Semaphore, Value};
use std::time::Duration;

fn work(doors: Semaphore, inside: Value<i32>, most: Value<i32>) -> Result<()> {
    let permit = doors.acquire()?;
    let now = inside.update(|inside| {
        *inside += 1;
        *inside
    })?;
    most.update(|most| *most = now.max(*most))?;
    std::thread::sleep(Duration::from_millis(2)); // what may be done by two at a time
    inside.update(|inside| *inside -= 1)?;
    drop(permit);
    Ok(())
}

/// Gets in, and never comes out.
fn stay(doors: Semaphore) {
    let _permit = doors.acquire();
    loop {
        std::thread::sleep(Duration::from_secs(1));
    }
}

fn main() -> Result<()> {
    let (doors, inside, most) = (Semaphore::new(2)?, Value::new(0)?, Value::new(0)?);
    let victim = Process::spawn(stay, (doors.clone(),))?;
    while doors.available() == 2 {
        std::thread::yield_now(); // until it is inside
    }
    let start = |_| Process::spawn(work, (doors.clone(), inside.clone(), most.clone()));
    let workers = (0..8).map(start).collect::<std::result::Result<Vec<_>, _>>()?;
    victim.kill()?; // its permit comes back
    workers.into_iter().try_for_each(|worker| worker.join()?)?;
    println!("never more than {} inside; {} doors are open again", most.get(), doors.available());
    assert!((1..=2).contains(&most.get()));
    assert_eq!(doors.available(), 2);
    Ok(())
}
