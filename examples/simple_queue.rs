//! Readings of a sensor go to several workers through a queue, in batches.

use crossproc::{Pod, Process, Result, SimpleQueue, Zeroable};

#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[bytemuck(crate = "crossproc::bytemuck")]
#[repr(C)]
struct Reading {
    sensor: u64,
    value: f64,
}

/// Adds up what it gets, until the queue is closed and empty.
fn add(readings: SimpleQueue<Reading>) -> Result<f64> {
    let mut sum = 0.0;
    for reading in &readings {
        sum += reading?.value;
    }
    Ok(sum)
}

fn main() -> Result<()> {
    let readings = SimpleQueue::bounded(1000)?;
    let workers =
        (0..2).map(|_| Process::spawn(add, (readings.clone(),))).collect::<std::result::Result<Vec<_>, _>>()?;
    let count = readings.put_many((0..100_000).map(|i| Reading { sensor: i % 7, value: 0.5 }))?;
    readings.close();
    let mut total = 0.0;
    for worker in workers {
        let sum = worker.join()??;
        println!("a worker has {sum}");
        total += sum;
    }
    println!("{count} readings, {total} in all");
    assert_eq!(total, 50_000.0);
    Ok(())
}
