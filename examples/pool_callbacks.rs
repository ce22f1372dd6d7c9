//! Callbacks: the results of tasks are put into a container as they come, and what failed is noted beside it.

use crossproc::{Pool, Result};
use std::process::id;
use std::sync::{Arc, Mutex};

const TASKS: [&str; 7] = ["听音乐", "吃饭", "睡觉", "打游戏", "学习", "看电影", "跑步"];

/// Runs in a worker.
fn work(name: String) -> String {
    println!("开始做任务:{name}, {}", id());
    std::thread::sleep(std::time::Duration::from_millis(50));
    format!("完成任务:{name}, {}", id())
}

fn main() -> Result<()> {
    let pool = Pool::new(5)?;
    // Callbacks run in this process, in a thread of the pool's. So they may capture, and what they change is changed
    // here.
    let container = Arc::new(Mutex::new(Vec::new()));
    for name in TASKS {
        let container = container.clone();
        pool.apply_async(work, (name.to_string(),)).on_done(move |text| container.lock().unwrap().push(text.clone()));
    }
    // The other callback is for the error that may come instead of a result.
    let failures = Arc::new(Mutex::new(Vec::new()));
    let noted = failures.clone();
    pool.apply_async(|| std::process::exit(3), ())
        .on_done(|()| unreachable!("there is no result"))
        .on_error(move |error| noted.lock().unwrap().push(error.to_string()));

    pool.close();
    pool.join()?; // after this, all callbacks have run
    let container = container.lock().unwrap();
    container.iter().for_each(|text| println!("{text}"));
    println!("{:?}", failures.lock().unwrap());
    println!("over!");

    assert_eq!(container.len(), 7);
    let is_done =
        |name: &&str| container.iter().filter(|text| text.starts_with(&format!("完成任务:{name}"))).count() == 1;
    assert!(TASKS.iter().all(is_done), "each once, in any order");
    assert!(failures.lock().unwrap().iter().all(|error| error.ends_with("died with exit code 3")));
    assert_eq!(failures.lock().unwrap().len(), 1);
    Ok(())
}
