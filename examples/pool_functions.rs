//! Tasks of different functions in one pool, and what they leave in the container of a callback.

use crossproc::{Pool, Result};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

fn timed(name: &str, milliseconds: u64) -> String {
    println!("Run task {name}-{}", std::process::id());
    let start = Instant::now();
    std::thread::sleep(Duration::from_millis(milliseconds));
    format!("Task {name} runs {:.2} seconds.", start.elapsed().as_secs_f64())
}

fn lee() -> String {
    timed("Lee", 10)
}
fn marlon() -> String {
    timed("Marlon", 40)
}
fn allen() -> String {
    timed("Allen", 30)
}
fn frank() -> String {
    timed("Frank", 20)
}
fn named(name: String) -> String {
    format!("完成任务:{name}, {}", std::process::id())
}

fn main() -> Result<()> {
    let pool = Pool::new(4)?;
    let container = Arc::new(Mutex::new(Vec::new()));
    let keep = || {
        let container = container.clone();
        move |text: &String| container.lock().unwrap().push(text.clone())
    };
    for task in [lee as fn() -> String, marlon, allen, frank] {
        pool.apply_async(task, ()).on_done(keep());
    }
    for name in ["听音乐", "吃饭", "睡觉"] {
        pool.apply_async(named, (name.to_string(),)).on_done(keep());
    }
    println!("Waiting for all subprocesses done...");
    pool.close();
    pool.join()?;
    let container = container.lock().unwrap();
    container.iter().for_each(|text| println!("{text}"));
    assert_eq!(container.len(), 7);
    println!("All subprocesses done.");
    Ok(())
}
