//! Workers smooth a row of numbers, each its own part, step by step: no one begins a step before all have done the one
//! before. At the end of each step one of them, whichever comes last, counts it. Then one is killed, and the others
//! hear of it.

use crossproc::{Array, Barrier, BarrierError, Process, Result, Value};

const CELLS: usize = 30;
const WORKERS: usize = 3;
const STEPS: u32 = 200;

fn count(steps: Value<u32>) -> Result<()> {
    Ok(steps.update(|steps| *steps += 1)?)
}

/// Each cell becomes the mean of itself and its neighbours, from one array into the other.
fn smooth(barrier: Barrier, rows: (Array<f64>, Array<f64>), part: usize) -> Result<()> {
    let (mut from, mut to) = rows;
    let mine = part * CELLS / WORKERS..(part + 1) * CELLS / WORKERS;
    for _ in 0..STEPS {
        let old = from.to_vec()?;
        for i in mine.clone() {
            let (left, right) = (old[i.saturating_sub(1)], old[(i + 1).min(CELLS - 1)]);
            to.set(i, (left + old[i] + right) / 3.0)?;
        }
        barrier.wait()?;
        std::mem::swap(&mut from, &mut to);
    }
    Ok(())
}

fn main() -> Result<()> {
    let mut start = vec![0.0; CELLS];
    start[0] = 30.0;
    let rows = (Array::from_slice(&start)?, Array::zeroed(CELLS)?);
    let steps = Value::new(0)?;
    let barrier = Barrier::with_action(WORKERS, count, (steps.clone(),))?;
    let spawn = |part| Process::spawn(smooth, (barrier.clone(), rows.clone(), part));
    let workers = (0..WORKERS).map(spawn).collect::<std::result::Result<Vec<_>, _>>()?;
    workers.into_iter().try_for_each(|worker| worker.join()?)?;
    let cells = rows.0.to_vec()?;
    println!("after {} steps: {:.2} .. {:.2}", steps.get(), cells[0], cells[CELLS - 1]);
    assert_eq!(steps.get(), STEPS);
    assert!((cells.iter().sum::<f64>() - 30.0).abs() < 1e-6, "nothing is lost on the way");

    // A party that is killed while it waits breaks the barrier for all.
    let barrier = Barrier::new(3)?;
    let wait = |barrier: Barrier| barrier.wait().map(drop);
    let (victim, other) = (Process::spawn(wait, (barrier.clone(),))?, Process::spawn(wait, (barrier.clone(),))?);
    while barrier.waiting() < 2 {
        std::thread::yield_now();
    }
    victim.kill()?;
    assert_eq!(other.join()?, Err(BarrierError::Broken));
    println!("one was killed, and the other was told");
    Ok(())
}
