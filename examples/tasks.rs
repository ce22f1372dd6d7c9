//! Workers share tasks through a queue. One of them is killed in the middle of a task; another one does it then.

use crossproc::{JoinableQueue, Process, Result, Value};
use std::time::Duration;

/// Does tasks until there are no more. The victim never comes to the end of its first.
fn work(tasks: JoinableQueue<u64>, sum: Value<u64>, is_victim: bool) -> Result<()> {
    while let Ok(task) = tasks.get_task() {
        if is_victim {
            println!("the victim has task {}", *task);
            std::thread::sleep(Duration::from_secs(1000)); // until it is killed
        }
        if task.deliveries() > 1 {
            println!("task {} is given out for the {}nd time", *task, task.deliveries());
        }
        sum.update(|sum| *sum += *task)?; // an early return would give the task back
        task.done();
    }
    Ok(())
}

fn main() -> Result<()> {
    let (tasks, sum) = (JoinableQueue::new()?, Value::new(0)?);
    tasks.put(1)?;
    let victim = Process::spawn(work, (tasks.clone(), sum.clone(), true))?;
    while !tasks.is_empty() {
        std::thread::yield_now(); // until the victim has it
    }
    let start = || Process::spawn(work, (tasks.clone(), sum.clone(), false));
    let workers = (0..3).map(|_| start()).collect::<std::result::Result<Vec<_>, _>>()?;
    tasks.put_many(2..=100)?;
    victim.kill()?;
    tasks.join()?; // until all is done, that task too
    println!("the tasks add up to {}", sum.get());
    assert_eq!(sum.get(), 5050);
    tasks.close();
    workers.into_iter().try_for_each(|worker| worker.join()?)
}
