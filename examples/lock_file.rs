//! A `Lock` for what is not in shared memory: four processes add to a number in a file.
//!
//! ```text
//! cargo run --example lock_file
//! ```

use crossproc::{Error, Lock, Result};
use std::fs;
use std::path::Path;
use std::process::Command;

const PROCESSES: u32 = 4;
const TIMES: u32 = 200;

/// Without the lock two could read the same number.
fn add(lock: &Lock, file: &Path) -> Result<()> {
    for _ in 0..TIMES {
        let _held = lock.lock()?;
        let number: u32 = fs::read_to_string(file)?.parse().map_err(Error::other)?;
        fs::write(file, (number + 1).to_string())?;
    }
    Ok(())
}

fn main() -> Result<()> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    if let [name, file] = args.as_slice() {
        return add(&Lock::named(name).open()?, file.as_ref());
    }
    let name = format!("lock-file-{}", std::process::id());
    let file = std::env::temp_dir().join(&name);
    fs::write(&file, "0")?;
    let lock = Lock::named(&name).create()?;
    let mut children = Vec::new();
    for _ in 0..PROCESSES {
        children.push(Command::new(std::env::current_exe()?).arg(&name).arg(&file).spawn()?);
    }
    for child in &mut children {
        assert!(child.wait()?.success());
    }
    let number = fs::read_to_string(&file)?;
    fs::remove_file(&file)?;
    println!("{PROCESSES} processes, {TIMES} times each: {number}");
    assert_eq!(number, (PROCESSES * TIMES).to_string());
    assert_eq!(lock.holder(), None);
    Ok(())
}
