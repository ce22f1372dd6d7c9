//! What each worker needs is made once, when it starts: by an initializer, with arguments.

use crossproc::{Pool, Queue, Result, TaskError};
use std::sync::OnceLock;

/// What all tasks in one worker use. A static is of its process: this program's own stays empty.
static WORDS: OnceLock<Vec<String>> = OnceLock::new();

/// Stands for what takes long: to read a model, to open a database.
fn prepare(words: Vec<String>, log: Queue<u32>) -> Result<()> {
    WORDS.set(words).map_err(|_| "prepared twice")?;
    log.put(std::process::id())?;
    Ok(())
}

fn length(i: usize) -> usize {
    let words = WORDS.get().expect("the initializer has run");
    words[i % words.len()].len()
}

fn main() -> Result<()> {
    let log = Queue::new()?;
    let words = ["one", "three", "eleven"].map(String::from).to_vec();
    // A worker ends after a hundred tasks, in case they leak memory. The next one is prepared the same way.
    let builder = Pool::builder().processes(2).max_tasks_per_child(100);
    let pool = builder.initializer(prepare, (words, log.clone())).build()?;
    let lengths = pool.chunksize(1).map(length, 0..999)?;
    assert_eq!(lengths.iter().sum::<usize>(), (3 + 5 + 6) * 333);
    println!("{} workers were started for 999 tasks", log.len());
    assert!(log.len() >= 10 && WORDS.get().is_none());

    // Without what they need, no workers: the first task says why.
    let broken = Pool::builder().processes(2).initializer(|| -> Result<()> { Err("no license".into()) }, ()).build()?;
    let error = broken.map(length, 0..3).unwrap_err();
    println!("{error}");
    assert!(matches!(error, TaskError::PoolBroken(why) if why.contains("no license")));
    Ok(())
}
