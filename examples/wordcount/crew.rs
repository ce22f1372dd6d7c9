//! The parent's side: starts the workers, watches them, and makes good what a killed one leaves.

use crate::Failure;
use crate::args::Args;
use crate::shared::Shared;
use crate::table::Sorted;
use crate::worker::{self, FULL};
use crossproc::bytemuck::Zeroable;
use indicatif::{ProgressBar, ProgressStyle};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// After so many rounds with a death in each, something is wrong that another round does not cure.
const ROUNDS: usize = 10;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// From here on an interrupt, or a request to terminate, ends the program in order, so that no shared memory stays.
pub fn watch_for_interrupts() -> Result<(), Failure> {
    Ok(ctrlc::set_handler(|| INTERRUPTED.store(true, Relaxed))?)
}

/// Has all files counted: in a first round by all workers, in others, by as many as were killed, what those had taken.
pub fn count(shared: &Shared, args: &Args) -> Result<(), Failure> {
    let corpus = shared.corpus()?;
    let size = |job: u32| corpus.files[job as usize % corpus.files.len()].size;
    let total = corpus.bytes() * u64::from(args.repeat);
    let bar = progress_bar(total);
    // As long as these live, the tables cannot be divided otherwise.
    let parts = shared.tables.parts(args.processes() as usize)?;
    let mut crew = Crew::start(shared, 0..args.processes(), args.kill_one)?;
    for _ in 0..ROUNDS {
        let killed = crew.wait(shared, &bar)?;
        let mut empty = Vec::new();
        for part in killed {
            let items = parts[part as usize].lock_or_repair(|items| items.fill(Zeroable::zeroed()))?;
            // Else it was killed after its work was done and the lock given up: its table is complete.
            empty.extend(Sorted::new(&items, shared.plan.get().room).is_empty().then_some(part));
        }
        let lost = shared.lost_jobs(&empty);
        if lost.is_empty() {
            bar.finish_and_clear();
            return Ok(());
        }
        bar.suspend(|| eprintln!("a worker was killed: {} files are handed out again", lost.len()));
        shared.hand_out(&lost, total - lost.iter().map(|job| size(*job)).sum::<u64>())?;
        crew = Crew::start(shared, empty, false)?;
    }
    Err(Failure::Error("the workers are killed again and again".into()))
}

fn progress_bar(total: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}");
    ProgressBar::new(total).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// The workers of one round. Dropped, it kills those that still run.
struct Crew {
    workers: Vec<(u32, Child)>,
    /// For `--kill-one`: the first worker is to be killed.
    has_victim: bool,
}

impl Crew {
    fn start(shared: &Shared, parts: impl IntoIterator<Item = u32>, has_victim: bool) -> Result<Self, Failure> {
        let mut crew = Crew { workers: Vec::new(), has_victim };
        let plan = shared.plan.get();
        for part in parts {
            let is_victim = has_victim && crew.workers.is_empty();
            let middle = (plan.jobs / u64::from(plan.parts) / 2).max(1);
            crew.workers.push((part, worker::start(shared, part, is_victim.then_some(middle))?));
        }
        Ok(crew)
    }

    /// Waits for all workers, and tells which of them were killed.
    fn wait(&mut self, shared: &Shared, bar: &ProgressBar) -> Result<Vec<u32>, Failure> {
        let mut killed = Vec::new();
        while !self.workers.is_empty() {
            if INTERRUPTED.load(Relaxed) {
                return Err(Failure::Interrupted);
            }
            if self.has_victim && shared.stalled.load(Relaxed) != 0 {
                self.has_victim = false;
                self.workers[0].1.kill()?;
            }
            let mut running = Vec::new();
            for (part, mut child) in self.workers.drain(..) {
                match child.try_wait()? {
                    None => running.push((part, child)),
                    Some(status) => killed.extend(was_killed(status)?.then_some(part)),
                }
            }
            self.workers = running;
            bar.set_position(shared.bytes_done.load(Relaxed));
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(killed)
    }
}

fn was_killed(status: ExitStatus) -> Result<bool, Failure> {
    const FULL_CODE: i32 = FULL as i32;
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(false),
        (Some(FULL_CODE), _) => Err(Failure::Full),
        (None, Some(_)) => Ok(true),
        _ => Err(Failure::Error(format!("a worker failed: {status}"))),
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        for (_, child) in &mut self.workers {
            let _ = child.kill(); // it may have ended
            let _ = child.wait();
        }
    }
}
