//! The crew: a thread that starts workers, sees their ends, and looks at the time.

use super::protocol::WorkerConfig;
use super::shared::{End, PoolShared, locked};
use super::task_table::{Entry, State as Step, WORKERS};
use super::worker::serve;
use crate::process::Process;
use crate::sys::Deadline;
use crate::sys::poll::Poll;
use crate::sys::signals;
use crate::{JoinError, SpawnError, TaskError};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Among the numbers of seats: the bell.
const BELL: u64 = u64::MAX;
/// How long to wait behind a start that failed, at first, and how often to try.
const PAUSE: Duration = Duration::from_millis(10);
const TRIES: u32 = 8;

pub(super) struct Crew {
    hub: Arc<PoolShared>,
    poll: Poll,
    failures: u32,
}

impl PoolShared {
    /// Ends a pool that has no crew.
    pub(super) fn end_all(&self) {
        self.terminate();
        let workers: Vec<_> = self.lock().seats.iter_mut().filter_map(|seat| seat.process.take()).collect();
        for worker in workers {
            locked(&worker).wait();
        }
        self.crew_has_gone();
    }

    /// Starts a worker for a seat.
    fn seat(&self, seat: usize) -> Result<Arc<Mutex<Process>>, SpawnError> {
        let plan = &self.plan;
        let (worker, name) = {
            let mut state = self.lock();
            state.next_worker = (state.next_worker + 1) % WORKERS;
            (state.next_worker, format!("{}-{}", plan.name, seat + 1))
        };
        self.board.sheet(seat).clear();
        let desk = WorkerConfig {
            tasks: self.desk.0.clone(),
            reports: self.desk.1.clone(),
            board: self.board.clone(),
            seat: seat as u32,
            worker,
            most: plan.most_tasks,
            timed: plan.timeout.is_some(),
            initializer: plan.initializer.clone(),
        };
        let started = Deadline::now().as_nanos();
        let builder = Process::builder().name(name.clone()).daemon(plan.daemon).bound(true).start_method(plan.method);
        // The number is known before the worker can have said or done anything.
        let mut state = self.lock();
        let place = &mut state.seats[seat];
        (place.worker, place.is_taken) = (worker, true);
        place.past.begin(started);
        drop(state);
        let process = builder.spawn(serve, (desk,)).inspect_err(|_| self.lock().seats[seat].is_taken = false)?;
        let mut state = self.lock();
        let place = &mut state.seats[seat];
        (place.pid, place.name) = (process.id(), name);
        let process = Arc::new(Mutex::new(process));
        place.process = Some(process.clone());
        if !state.wants_workers() {
            let _ = locked(&process).kill(); // it was not there when the others were
        }
        Ok(process)
    }
}

impl Crew {
    /// Starts the first workers: all, or none.
    pub(super) fn start(hub: Arc<PoolShared>) -> Result<Self, SpawnError> {
        let poll = Poll::new()?;
        poll.add(&hub.bell, BELL)?;
        let crew = Crew { hub, poll, failures: 0 };
        for seat in 0..crew.hub.plan.processes {
            if let Err(error) = crew.fill(seat) {
                crew.hub.end_all();
                return Err(error);
            }
        }
        Ok(crew)
    }

    fn fill(&self, seat: usize) -> Result<(), SpawnError> {
        let process = self.hub.seat(seat)?;
        let process = locked(&process);
        self.poll.add(&*process, seat as u64).inspect_err(|_| {
            // Nobody would see its end.
            let _ = process.kill();
            process.wait();
            self.hub.lock().seats[seat].empty();
        })?;
        Ok(())
    }

    pub(super) fn run(mut self) {
        signals::block_signals(); // they are the program's
        loop {
            let again = self.fill_seats();
            let state = self.hub.lock();
            if !state.wants_workers() && state.seats.iter().all(|seat| seat.process.is_none() && seat.end.is_none()) {
                break;
            }
            drop(state);
            let soon = self.hub.try_again().then(|| Deadline::after(PAUSE));
            let deadline = [again, soon, self.next_look()].into_iter().flatten().min();
            for ready in self.poll.wait(deadline) {
                match ready {
                    BELL => self.hub.bell.acknowledge(),
                    seat => self.see_end(seat as usize),
                }
            }
            self.look_at_the_time();
        }
        self.hub.crew_has_gone();
    }

    /// Gives when to try again, where that makes sense.
    fn fill_seats(&mut self) -> Option<Deadline> {
        let empty: Vec<usize> = {
            let state = self.hub.lock();
            if !state.wants_workers() {
                return None;
            }
            let is_empty = |seat: &usize| state.seats[*seat].process.is_none() && state.seats[*seat].end.is_none();
            (0..state.seats.len()).filter(is_empty).collect()
        };
        for seat in empty {
            match self.fill(seat) {
                Ok(()) => self.failures = 0,
                Err(error) => {
                    self.failures += 1;
                    let alone = self.hub.lock().seats.iter().all(|seat| seat.process.is_none());
                    if alone && self.failures >= TRIES {
                        self.hub.break_down(&format!("no worker can be started: {error}"));
                        return None;
                    }
                    return Some(Deadline::after(PAUSE * 2_u32.pow(self.failures.min(TRIES))));
                }
            }
        }
        None
    }

    fn see_end(&self, seat: usize) {
        let Some(process) = self.hub.lock().seats[seat].process.clone() else { return };
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
        self.hub.tell_death(seat, End { code, panic });
    }

    /// When somebody may have taken too long. Nobody tells when an item begins.
    fn next_look(&self) -> Option<Deadline> {
        let timeout = self.hub.plan.timeout?;
        let slice = (timeout / 8).clamp(Duration::from_millis(1), Duration::from_millis(100));
        self.hub.lock().is_busy().then(|| Deadline::after(slice))
    }

    fn look_at_the_time(&self) {
        let Some(timeout) = self.hub.plan.timeout else { return };
        let now = Deadline::now().as_nanos();
        let most = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
        for seat in 0..self.hub.plan.processes {
            let (sheet, board) = (self.hub.board.sheet(seat), &self.hub.board);
            let Some((slot, since)) = sheet.at_work().filter(|(_, since)| now.saturating_sub(*since) > most) else {
                continue;
            };
            let entry = board.entry(slot);
            let (worker, process) = {
                let state = self.hub.lock();
                (state.seats[seat].worker, state.seats[seat].process.clone())
            };
            // Still the same item, since the time that was read is still there behind the entry.
            let is_it = entry.state == Step::Begun && entry.worker == worker && sheet.at_work() == Some((slot, since));
            if is_it && board.change(slot, entry, Entry { state: Step::Overdue, ..entry }) {
                process.iter().for_each(|process| drop(locked(process).kill()));
            }
        }
    }
}
