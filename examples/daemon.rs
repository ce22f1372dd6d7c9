//! Daemons: children that end with their parent, and that may have no children of their own.
//!
//! ```text
//! cargo run --example daemon
//! ```

use crossproc::{Atomic, Error, Process, Result, SpawnError};
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

const TICK: Duration = Duration::from_millis(1);

/// Never returns.
fn beat(beats: Atomic<u64>) {
    loop {
        beats.fetch_add(1, SeqCst);
        std::thread::sleep(TICK);
    }
}

/// Starts a daemon, sees it at work, and ends.
fn parent_of_a_daemon(beats: Atomic<u64>) -> Result<u32> {
    let daemon = Process::builder().name("heart").daemon(true).spawn(beat, (beats.clone(),))?;
    while beats.load(SeqCst) < 10 {
        std::thread::sleep(TICK);
    }
    println!("{daemon:?} beats");
    Ok(daemon.id())
}

/// A daemon may be killed at any moment, and no process would wait for its children.
fn have_a_child() -> Result<()> {
    Process::spawn(|| println!("never printed"), ())?;
    Ok(())
}

fn main() -> Result<()> {
    let beats = Atomic::new(0)?;
    let daemon = Process::spawn(parent_of_a_daemon, (beats.clone(),))?.join()??;
    // The parent has ended, and so has the daemon.
    let heard = beats.load(SeqCst);
    std::thread::sleep(20 * TICK);
    println!("daemon {daemon} has ended after {heard} beats");
    assert_eq!(beats.load(SeqCst), heard);

    let error = Process::builder().daemon(true).spawn(have_a_child, ())?.join()?.unwrap_err();
    println!("a daemon that wants a child: {error}");
    assert_eq!(error, Error::Spawn(SpawnError::DaemonChild));
    assert_eq!(error.to_string(), "daemonic processes are not allowed to have children");
    Ok(())
}
