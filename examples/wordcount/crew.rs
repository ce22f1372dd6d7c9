//! The parent's side: starts the workers, watches them, and makes good what a killed one leaves.

use crate::Failure;
use crate::args::Args;
use crate::corpus::Corpus;
use crate::shared::Shared;
use crate::table::{Room, Slot, Sorted};
use crate::worker::work;
use crossproc::bytemuck::Zeroable;
use crossproc::{Array, JoinError, Part, Process};
use indicatif::{ProgressBar, ProgressStyle};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// After so many rounds with a death in each, something is wrong that another round does not cure.
const ROUNDS: usize = 10;

/// SIGINT, on every system that has it.
const INTERRUPT: i32 = 2;
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// From here on an interrupt, or a request to terminate, ends the program in order.
pub fn watch_for_interrupts() -> Result<(), Failure> {
    Ok(ctrlc::set_handler(|| INTERRUPTED.store(true, Relaxed))?)
}

/// Has all files counted: in a first round by all workers, in others, by as many as were killed, what those had taken.
pub fn count(corpus: &Corpus, tables: &Array<Slot>, room: Room, args: &Args) -> Result<(), Failure> {
    let mut shared = Shared::new(corpus, args.repeat, room)?;
    let total = corpus.bytes() * u64::from(args.repeat);
    let bar = progress_bar(total);
    let parts = tables.parts(args.processes() as usize)?;
    let middle = corpus.files.len() as u64 * u64::from(args.repeat) / u64::from(args.processes()) / 2;
    let mut crew = Crew::start(&shared, &parts, 0..args.processes(), args.kill_one.then_some(middle.max(1)))?;
    for _ in 0..ROUNDS {
        let mut empty = Vec::new();
        for number in crew.wait(&shared, &bar)? {
            let items = parts[number as usize].lock_or_repair(|items| items.fill(Zeroable::zeroed()))?;
            // Else it was killed after its work was done and the lock given up: its table is complete.
            empty.extend(Sorted::new(&items, room).is_empty().then_some(number));
        }
        let lost = shared.lost_jobs(&empty);
        if lost.is_empty() {
            bar.finish_and_clear();
            return Ok(());
        }
        bar.suspend(|| eprintln!("a worker was killed: {} files are handed out again", lost.len()));
        shared.hand_out(&lost, total - lost.iter().map(|job| corpus.file(*job).size).sum::<u64>())?;
        crew = Crew::start(&shared, &parts, empty, None)?;
    }
    Err(Failure::Error("the workers are killed again and again".into()))
}

fn progress_bar(total: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}");
    ProgressBar::new(total).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// The workers of one round, by their numbers. Dropped, it kills those that still run.
struct Crew {
    workers: Vec<(u32, Process<Result<(), Failure>>)>,
    /// For `--kill-one`: the first worker is to be killed.
    has_victim: bool,
}

impl Crew {
    /// Starts workers with these numbers. With `stall_at` the first one stalls there.
    fn start(
        shared: &Shared,
        parts: &[Part<Slot>],
        numbers: impl IntoIterator<Item = u32>,
        mut stall_at: Option<u64>,
    ) -> Result<Self, Failure> {
        let mut crew = Crew { workers: Vec::new(), has_victim: stall_at.is_some() };
        for number in numbers {
            let args = (shared.clone(), number, parts[number as usize].clone(), stall_at.take());
            // A daemon: it ends with this process, even if that is killed.
            crew.workers.push((number, Process::builder().daemon(true).spawn(work, args)?));
        }
        Ok(crew)
    }

    /// Waits for all workers, and tells which of them were killed.
    fn wait(&mut self, shared: &Shared, bar: &ProgressBar) -> Result<Vec<u32>, Failure> {
        let mut killed = Vec::new();
        while !self.workers.is_empty() {
            if self.has_victim && shared.stalled.load(Relaxed) != 0 {
                self.has_victim = false;
                self.workers[0].1.kill()?;
            }
            for (number, worker) in self.workers.extract_if(.., |(_, worker)| !worker.is_alive()) {
                match worker.join() {
                    Ok(result) => result?,
                    // An interrupt from the keyboard goes to all, and this process may hear of it last.
                    Err(JoinError::Signaled(INTERRUPT)) => return Err(Failure::Interrupted),
                    Err(JoinError::Signaled(_)) => killed.push(number),
                    Err(error) => return Err(error.into()),
                }
            }
            bar.set_position(shared.bytes_done.load(Relaxed));
            std::thread::sleep(Duration::from_millis(2));
            if INTERRUPTED.load(Relaxed) {
                return Err(Failure::Interrupted);
            }
        }
        Ok(killed)
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        for (_, worker) in &self.workers {
            let _ = worker.kill(); // it may have ended
            worker.wait();
        }
    }
}
