//! The life of a child: its name and number, waiting with and without a limit, how it ends, and with which exit code.
//!
//! ```text
//! cargo run --example process_life
//! ```

use crossproc::{JoinError, Process, Result, active_children, current, parent};
use std::time::Duration;

/// The child as it sees itself.
fn introduce() -> (String, u32, Option<u32>) {
    (current().name().to_string(), current().id(), parent().map(|parent| parent.id()))
}

fn sleep_for_long() {
    std::thread::sleep(Duration::from_secs(1000));
}

fn main() -> Result<()> {
    // Children are numbered, unless they get a name.
    for expected in ["Process-1", "Process-2"] {
        let child = Process::spawn(introduce, ())?;
        assert_eq!(child.name(), expected);
        let me = (expected.to_string(), child.id(), Some(std::process::id()));
        assert_eq!(child.join()?, me);
        println!("{} had number {}, and was started by {:?}", me.0, me.1, me.2);
    }

    let mut sleeper = Process::builder().name("sleeper").spawn(sleep_for_long, ())?;
    println!("running: {:?}", active_children());
    assert!(sleeper.is_alive() && sleeper.exit_code().is_none());

    // After the time is up, the child runs still: there is no result yet, and it can be asked again.
    assert_eq!(sleeper.join_timeout(Duration::from_millis(50))?, None);
    sleeper.terminate()?;
    println!("{} ended with {}", sleeper.name(), sleeper.wait());
    assert_eq!(sleeper.exit_code(), Some(-15)); // minus the signal
    assert_eq!(sleeper.join(), Err(JoinError::Signaled(15)));

    // 0 after the end of the function, 101 after a panic, else what the child says.
    let quiet = Process::builder().stderr(crossproc::Stdio::null());
    let children = [
        ("returns", Process::spawn(|| (), ())?, 0),
        ("exits", Process::spawn(|| std::process::exit(3), ())?, 3),
        ("panics", quiet.spawn(|| panic!("oh no"), ())?, 101),
        ("aborts", Process::spawn(|| std::process::abort(), ())?, -6),
    ];
    for (what, child, code) in &children {
        println!("a child that {what}: {}", child.wait());
        assert_eq!(child.wait(), *code);
    }
    assert!(active_children().is_empty());

    // This one is not joined: the program waits for it at its end.
    Process::spawn(|| println!("the last word"), ())?;
    println!("the end of main");
    Ok(())
}
