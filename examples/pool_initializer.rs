//! What each worker needs is made once, when it starts: by an initializer, with arguments. A worker ends behind a hundred tasks, in
//! case they leave memory behind; the one that follows is made the same way.

use crossproc::{Pool, Queue, Result};
use std::sync::OnceLock;

/// What tasks share in one worker. Each process has its own.
struct Context {
    words: Vec<String>,
    log: Queue<u32>,
}
static CONTEXT: OnceLock<Context> = OnceLock::new();

fn prepare(log: Queue<u32>, words: Vec<String>) -> Result<()> {
    log.put(std::process::id())?;
    CONTEXT.set(Context { words, log }).map_err(|_| "prepared twice")?;
    Ok(()) // an error here would break the pool, with its reason
}

fn length(i: usize) -> usize {
    let context = CONTEXT.get().expect("the initializer has run");
    context.words[i % context.words.len()].len() + context.log.capacity().unwrap_or(0)
}

fn main() -> Result<()> {
    let log = Queue::new()?;
    let words = ["one", "three", "eleven"].map(String::from).to_vec();
    let builder = Pool::builder().processes(2).initializer(prepare, (log.clone(), words)).max_tasks_per_child(100);
    let pool = builder.build()?;
    let lengths = pool.chunksize(1).map(length, 0..999)?;
    assert_eq!(lengths.iter().sum::<usize>(), (3 + 5 + 6) * 333);
    println!("{} workers were started for 999 tasks", log.len());
    assert!(log.len() >= 10);
    Ok(())
}
