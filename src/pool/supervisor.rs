//! The supervisor: a thread that starts workers, notices their ends, and checks time limits. When a worker ends, it
//! appends the death to the reports (`worker_death`).

use super::protocol::WorkerConfig;
use super::shared::PoolShared;
use super::worker::serve;
use super::worker_slots::WorkerExit;
use crate::error::locked;
use crate::process::Process;
use crate::sys::Deadline;
use crate::sys::poll::Poll;
use crate::sys::signals;
use crate::{JoinError, SpawnError, TaskError};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The number of the supervisor's event among those of the slots.
const BELL: u64 = u64::MAX;
/// The pause after the first start that failed; it doubles with each.
const PAUSE: Duration = Duration::from_millis(10);
/// How many starts may fail in a row.
const MAX_FAILURES: u32 = 8;

pub(super) struct Supervisor {
    shared: Arc<PoolShared>,
    poll: Poll,
    /// Starts in a row that failed.
    failures: u32,
}

impl PoolShared {
    /// Starts a worker in a slot.
    fn start_worker(&self, slot: usize) -> Result<Arc<Mutex<Process>>, SpawnError> {
        let config = &self.config;
        let (worker, name) = (self.lock().workers.next_worker(), format!("{}-{}", config.name, slot + 1));
        self.table.status(slot).clear();
        let arguments = WorkerConfig {
            tasks: self.worker_ends.0.clone(),
            reports: self.worker_ends.1.clone(),
            table: self.table.clone(),
            worker_slot: slot as u32,
            worker,
            max_tasks: config.max_tasks,
            is_timed: config.timeout.is_some(),
            initializer: config.initializer.clone(),
        };
        let now = Deadline::now().as_nanos();
        let builder =
            Process::builder().name(name.clone()).daemon(config.daemon).bound(true).start_method(config.method);
        // The worker's number is stored before its first report.
        self.lock().workers.at(slot).begin_start(worker, now);
        let process =
            builder.spawn(serve, (arguments,)).inspect_err(|_| self.lock().workers.at(slot).cancel_start())?;
        let mut state = self.lock();
        let pid = process.id();
        let process = Arc::new(Mutex::new(process));
        state.workers.at(slot).set_started(pid, name, process.clone());
        if !state.needs_workers() {
            let _ = locked(&process).kill(); // the pool was ended meanwhile
        }
        Ok(process)
    }
}

impl Supervisor {
    /// Starts the first workers: all, or none.
    pub(super) fn start(shared: Arc<PoolShared>) -> Result<Self, SpawnError> {
        let poll = Poll::new()?;
        poll.add(&shared.supervisor_bell, BELL)?;
        let supervisor = Supervisor { shared, poll, failures: 0 };
        for slot in 0..supervisor.shared.config.processes {
            if let Err(error) = supervisor.fill(slot) {
                supervisor.shared.end_without_supervisor();
                return Err(error);
            }
        }
        Ok(supervisor)
    }

    /// Starts a worker in a slot, and watches it.
    fn fill(&self, slot: usize) -> Result<(), SpawnError> {
        let process = self.shared.start_worker(slot)?;
        let process = locked(&process);
        self.poll.add(&*process, slot as u64).inspect_err(|_| {
            // Its end would not be noticed.
            let _ = process.kill();
            process.wait();
            self.shared.lock().workers.at(slot).cancel_start();
        })?;
        Ok(())
    }

    pub(super) fn run(mut self) {
        signals::block_signals(); // they go to the program's threads
        loop {
            let start_again = self.fill_slots();
            let state = self.shared.lock();
            if !state.needs_workers() && state.workers.are_all_vacant() {
                break;
            }
            drop(state);
            let send_again = self.shared.try_again().then(|| Deadline::after(PAUSE));
            let deadline = [start_again, send_again, self.next_check()].into_iter().flatten().min();
            for ready in self.poll.wait(deadline) {
                match ready {
                    BELL => self.shared.supervisor_bell.acknowledge(),
                    slot => self.handle_end(slot as usize),
                }
            }
            self.check_times();
        }
        self.shared.supervisor_has_ended();
    }

    /// Fills vacant slots. Returns when to try again, if a start failed.
    fn fill_slots(&mut self) -> Option<Deadline> {
        let vacant = {
            let state = self.shared.lock();
            if !state.needs_workers() {
                return None;
            }
            state.workers.vacant()
        };
        for slot in vacant {
            match self.fill(slot) {
                Ok(()) => self.failures = 0,
                Err(error) => {
                    self.failures += 1;
                    let has_none = self.shared.lock().workers.have_no_process();
                    if has_none && self.failures >= MAX_FAILURES {
                        self.shared.break_down(&format!("no worker can be started: {error}"));
                        return None;
                    }
                    return Some(Deadline::after(PAUSE * 2_u32.pow(self.failures.min(MAX_FAILURES))));
                }
            }
        }
        None
    }

    fn handle_end(&self, slot: usize) {
        let Some(process) = self.shared.lock().workers.at(slot).process.clone() else { return };
        let mut process = locked(&process);
        let code = process.wait();
        self.poll.remove(&*process);
        let panic = match process.join_timeout(Duration::ZERO) {
            Err(JoinError::Panicked { message, location, backtrace }) => {
                Some(TaskError::Panicked { message, location, backtrace, index: None })
            }
            _ => None,
        };
        drop(process);
        self.shared.report_death(slot, WorkerExit { code, panic });
    }

    /// When to check the times again: the start of an item causes no event.
    fn next_check(&self) -> Option<Deadline> {
        let timeout = self.shared.config.timeout?;
        let period = (timeout / 8).clamp(Duration::from_millis(1), Duration::from_millis(100));
        self.shared.lock().in_flight.is_busy().then(|| Deadline::after(period))
    }

    /// Kills workers whose item takes longer than the pool's time limit.
    fn check_times(&self) {
        let Some(timeout) = self.shared.config.timeout else { return };
        let now = Deadline::now().as_nanos();
        let limit = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
        let table = &self.shared.table;
        for slot in 0..self.shared.config.processes {
            let status = table.status(slot);
            let Some((task, since)) = status.current_item().filter(|(_, since)| now.saturating_sub(*since) > limit)
            else {
                continue;
            };
            let entry = table.entry(task);
            let (worker, process) = {
                let mut state = self.shared.lock();
                let place = state.workers.at(slot);
                (place.worker, place.process.clone())
            };
            // The entry is of the item with this start, since the start is still the same after the entry was read.
            let is_same_item = entry.worker == worker && status.current_item() == Some((task, since));
            if is_same_item && table.set_overdue(task, entry) {
                process.iter().for_each(|process| drop(locked(process).kill()));
            }
        }
    }
}
