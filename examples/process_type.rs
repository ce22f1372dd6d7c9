//! A type of processes: a struct with a method `run`, where Python has a subclass of `Process`.
//!
//! ```text
//! cargo run --example process_type
//! ```

use crossproc::{Process, Result, Value};
use serde::{Deserialize, Serialize};

/// What the process needs. Fields travel by serde; a handle among them is shared, the others are copies.
#[derive(Clone, Serialize, Deserialize)]
struct Downloader {
    file: String,
    parts: u64,
    total: Value<u64>,
}

impl Downloader {
    /// Starts it as a child, as `start()` does in Python.
    fn start(&self) -> Result<Process<Result<u32>>> {
        Ok(Process::builder().name(&self.file).spawn(Downloader::run, (self.clone(),))?)
    }

    /// The body; gives the number of the process that it ran in.
    fn run(mut self) -> Result<u32> {
        let me = std::process::id();
        while self.parts > 0 {
            self.parts -= 1;
            *self.total.lock()? += 1;
        }
        println!("{} was done by process {me}", self.file);
        Ok(me)
    }
}

fn main() -> Result<()> {
    let me = std::process::id();
    let total = Value::new(0)?;
    let new = |file: &str, parts| Downloader { file: file.to_string(), parts, total: total.clone() };
    let downloaders = [new("girl.jpg", 3), new("boy.jpg", 4), new("man.jpg", 5)];

    let children = downloaders.iter().map(Downloader::start).collect::<Result<Vec<_>>>()?;
    for child in children {
        let id = child.id();
        assert_eq!(child.join()??, id);
        assert_ne!(id, me);
    }
    println!("{} parts in all", total.get());
    assert_eq!(total.get(), 12);
    assert_eq!(downloaders[0].parts, 3, "the child counted down a copy");

    // Called directly, the method is a method: it runs here.
    let [first, ..] = downloaders;
    assert_eq!(first.run()?, me);
    assert_eq!(total.get(), 15);
    Ok(())
}
