//! The death of a worker: which of its items are done, which died with it, and which run again. The
//! protocol is that of `task_table`.

use super::in_flight::Chunk;
use super::job::EncodedResults;
use super::protocol::{WorkerReport, watched};
use super::shared::{PoolPhase, PoolShared, PoolState};
use super::task_table::TaskState;
use super::worker_slots::WorkerExit;
use crate::TaskError;
use crate::sync::Timeout;

/// A worker that died, and its slot.
struct DeadWorker {
    slot: usize,
    pid: u32,
    exit: WorkerExit,
}

/// A task that was begun by a worker that died.
struct LostTask {
    chunk: Chunk,
    /// How many of its results have come.
    received: usize,
    is_overdue: bool,
}

impl PoolShared {
    /// A worker has ended. The leader is to handle that after all reports of the worker.
    pub(super) fn report_death(&self, slot: usize, exit: WorkerExit) {
        let mut state = self.lock();
        let is_live = state.phase.is_live();
        let place = state.workers.at(slot);
        let worker = place.worker;
        place.process = None;
        if !is_live {
            return place.finish(self.table.status(slot).counts());
        }
        place.exit = Some(exit);
        state.workers.unhandled_deaths += 1;
        self.notify_leader(&mut state);
        drop(state);
        if let Ok(ring) = self.worker_ends.1.message_ring() {
            let _ = ring.send_value(&WorkerReport::Died { worker_slot: slot as u32, worker }, Timeout::Never, &watched);
        }
    }

    /// Handles the death of a worker, all of whose reports were handled before. The slot is refilled only after this
    /// (task_table-B4); `end` handles all deaths at once, so then there is nothing to do.
    pub(super) fn handle_death(&self, slot: usize, worker: u32) {
        let mut state = self.lock();
        let Some(exit) = state.workers.exit_of(slot, worker) else { return };
        state.workers.unhandled_deaths = state.workers.unhandled_deaths.saturating_sub(1);
        state.in_flight.hold();
        let dead = DeadWorker { slot, pid: state.workers.at(slot).pid, exit };
        let lost = self.collect_tasks(&mut state, worker);
        let broken = self.count_failure(&mut state, &dead, lost.is_empty());
        drop(state);
        let mark = self.mark_user_code();
        for task in lost {
            self.complete_lost(task, &dead);
        }
        drop(mark);
        let mut state = self.lock();
        state.workers.at(slot).finish(self.table.status(slot).counts());
        state.in_flight.end_hold();
        drop(state);
        if let Some(why) = broken {
            self.break_down(&why);
        }
        self.supervisor_bell.notify();
    }

    /// Frees the slots of the worker's tasks. Those that it had begun are returned; the others go back to the backlog.
    fn collect_tasks(&self, state: &mut PoolState, worker: u32) -> Vec<LostTask> {
        let mut lost = Vec::new();
        for (task, received) in state.in_flight.tasks() {
            let entry = self.table.entry(task.slot);
            if entry.generation != task.generation || entry.worker != worker {
                continue;
            }
            match entry.state {
                // Unless another worker has claimed it since: the task was still in the ring.
                TaskState::Claimed => {
                    if self.table.take_back_from(task.slot, entry)
                        && let Some(chunk) = state.in_flight.release(&self.table, task.slot)
                    {
                        state.in_flight.put_back(chunk);
                    }
                }
                TaskState::Begun | TaskState::Ended | TaskState::Overdue => {
                    if let Some(chunk) = state.in_flight.release(&self.table, task.slot) {
                        lost.push(LostTask { chunk, received, is_overdue: entry.state == TaskState::Overdue });
                    }
                }
                TaskState::Free | TaskState::Queued => {}
            }
        }
        lost
    }

    /// Counts workers in a row that ended before they did anything. Returns why the pool is broken, if there are too
    /// many.
    fn count_failure(&self, state: &mut PoolState, dead: &DeadWorker, had_no_task: bool) -> Option<String> {
        const MAX_FAILURES: usize = 10;
        let exit = &dead.exit;
        let was_ready = self.table.status(dead.slot).counts().ready_at != 0;
        // It had no task, and nothing required it to end.
        let gave_up =
            exit.code == 0 && had_no_task && self.config.max_tasks.is_none() && state.phase == PoolPhase::Running;
        let failures = if was_ready && !gave_up { 0 } else { state.workers.failures + 1 };
        state.workers.failures = failures;
        let initializer_exited = !was_ready && exit.code >= 0 && self.config.initializer.is_some();
        if !initializer_exited && failures <= MAX_FAILURES + 2 * self.config.processes {
            return None;
        }
        Some(match &exit.panic {
            Some(panic) => panic.to_string(),
            None if gave_up => {
                "no worker can take the next task: there is no memory or no descriptor for it, or it is damaged".into()
            }
            None => format!("the workers end before they have done anything, the last with exit code {}", exit.code),
        })
    }

    /// Completes a task that a worker had begun: items with a result are done, the item that it was working at is lost,
    /// the items after that are to be run.
    fn complete_lost(&self, task: LostTask, dead: &DeadWorker) {
        let LostTask { chunk: Chunk { job, from, to, losses }, received, is_overdue } = task;
        let status = self.table.status(dead.slot);
        let progress = status.progress();
        let (kept, base, begun) = (progress.kept as usize, progress.base as usize, progress.begun as usize);
        let done = kept.max(received).min(to - from);
        if kept.min(to - from) > received && base <= received {
            let buffer = status.result_buffer();
            job.accept(from + received, done - received, EncodedResults::Buffer(&buffer, received - base), self);
        }
        let mut next = from + done;
        if begun > done && next < to {
            if !is_overdue && losses < self.config.retries {
                let chunk = Chunk { job: job.clone(), from: next, to: next + 1, losses: losses + 1 };
                self.lock().in_flight.put_back(chunk);
            } else {
                let error = match &dead.exit.panic {
                    _ if is_overdue => TaskError::Timeout,
                    Some(panic) => panic.clone(),
                    None => TaskError::WorkerDied { pid: dead.pid, exit_code: dead.exit.code, index: None },
                };
                job.fail(next, next + 1, &error, self);
            }
            next += 1;
        }
        if next < to {
            self.lock().in_flight.put_back(Chunk { job, from: next, to, losses: 0 });
        }
    }
}
