//! The state of a pool in the program's own process, which its threads share.
//!
//! # Protocol
//! A thread that waits for a result *leads*, unless another one does: it reads the reports of the workers, and hands
//! out the results, its own and those of others. So a single task needs two wake-ups (worker, waiting thread), without
//! one for a thread in between. If no thread waits, the *reader*, a thread of the pool, leads while tasks are in flight
//! or deaths are not handled. A leader that stops notifies a successor.
//! Callbacks run in a thread of their own, the *callback thread*, from the first callback on: results are read however
//! long callbacks take.
//!
//! # Invariants
//! * pool-H1: while tasks are in flight or deaths are not handled, a thread leads, or was notified to.
//! * pool-H2: one thread leads at a time, and reads reports in order: the reports of a worker come before its death.
//! * pool-H3: no lock is held while the program's code runs: encoding and decoding, destructors, callbacks and wakers.
//! * pool-H4: such code, where the pool runs it, does not wait for the pool: a thread that leads or sends would wait
//!   for itself. A callback may wait for the pool: it runs in the callback thread, for which neither the leader nor a
//!   sender waits.
//!
//! # If a process dies here
//! See `task_table` for a worker. All of this is private memory, and ends with the program.

use super::completion::Callback;
use super::in_flight::InFlight;
use super::leadership::Leadership;
use super::progress::MapProgress;
use super::protocol::{WorkerReport, watched};
use super::reentrancy::{UserCodeMark, is_callback_thread_of, runs_user_code_of};
use super::shared_values::SharedValues;
use super::stats::SlowestTasks;
use super::task_table::TaskTable;
use super::worker_slots::WorkerSlots;
use crate::entry::BoundCall;
use crate::error::locked;
use crate::process::StartMethod;
use crate::sync::Timeout;
use crate::sys::poll::EventFd;
use crate::sys::process_id;
use crate::{PoolError, Receiver, Sender, TaskError, channel};
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

/// The settings of a pool.
pub(super) struct PoolConfig {
    pub(super) processes: usize,
    pub(super) initializer: Option<BoundCall>,
    pub(super) max_tasks: Option<u64>,
    pub(super) method: StartMethod,
    pub(super) name: String,
    pub(super) daemon: bool,
    pub(super) timeout: Option<Duration>,
    pub(super) retries: u32,
    pub(super) progress: bool,
}

pub(super) struct PoolShared {
    pub(super) owner: process_id::ProcessId,
    pub(super) config: PoolConfig,
    pub(super) table: TaskTable,
    /// Tasks to the workers.
    pub(super) tasks: Sender<()>,
    /// The workers' ends: of tasks, and of reports.
    pub(super) worker_ends: (Receiver<()>, Sender<()>),
    pub(super) reports: Receiver<()>,
    pub(super) state: Mutex<PoolState>,
    /// Wakes the reader.
    pub(super) reader: Condvar,
    /// Wakes the callback thread.
    pub(super) callback_thread: Condvar,
    /// Wakes threads that wait for the end of the pool.
    pub(super) ended: Condvar,
    /// Wakes the supervisor.
    pub(super) supervisor_bell: EventFd,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PoolPhase {
    Running,
    Closed,
    Terminated,
    Broken(String),
}

impl PoolPhase {
    /// Whether the tasks that the pool has are still run.
    pub(super) fn is_live(&self) -> bool {
        matches!(self, PoolPhase::Running | PoolPhase::Closed)
    }
}

pub(super) struct PoolState {
    pub(super) phase: PoolPhase,
    pub(super) in_flight: InFlight,
    pub(super) workers: WorkerSlots,
    pub(super) leadership: Leadership,
    pub(super) values: SharedValues,
    pub(super) threads: PoolThreads,
    pub(super) slowest: SlowestTasks,
}

/// The threads of a pool, and what the callback thread is to run.
pub(super) struct PoolThreads {
    pub(super) callbacks: VecDeque<Callback>,
    pub(super) callback_thread: Option<JoinHandle<()>>,
    /// Also true before the thread was started.
    pub(super) callback_thread_is_gone: bool,
    pub(super) supervisor_is_gone: bool,
    pub(super) reader_is_gone: bool,
}

impl PoolState {
    /// Whether there may be reports to read.
    pub(super) fn needs_leader(&self) -> bool {
        self.in_flight.is_busy() || self.workers.unhandled_deaths > 0
    }

    /// Whether vacant worker slots are to be filled.
    pub(super) fn needs_workers(&self) -> bool {
        match self.phase {
            PoolPhase::Running => true,
            PoolPhase::Closed => !self.in_flight.is_done(),
            PoolPhase::Terminated | PoolPhase::Broken(_) => false,
        }
    }

    pub(super) fn check(&self) -> Result<(), TaskError> {
        match &self.phase {
            PoolPhase::Running => Ok(()),
            PoolPhase::Closed | PoolPhase::Terminated => Err(TaskError::PoolClosed),
            PoolPhase::Broken(why) => Err(TaskError::PoolBroken(why.clone())),
        }
    }
}

impl PoolShared {
    pub(super) fn new(config: PoolConfig) -> Result<Self, PoolError> {
        let table = TaskTable::new(config.processes)?;
        let (tasks, tasks_out) = channel(4 * table.tasks())?;
        let (reports_in, reports) = channel(4 * table.tasks())?;
        let supervisor_bell = EventFd::new().map_err(|error| PoolError::Segment(error.into()))?;
        let state = PoolState {
            phase: PoolPhase::Running,
            in_flight: InFlight::new(table.tasks()),
            workers: WorkerSlots::new(config.processes),
            leadership: Leadership::default(),
            values: SharedValues::default(),
            threads: PoolThreads {
                callbacks: VecDeque::new(),
                callback_thread: None,
                callback_thread_is_gone: true,
                supervisor_is_gone: false,
                reader_is_gone: false,
            },
            slowest: SlowestTasks::default(),
        };
        Ok(PoolShared {
            owner: process_id::ProcessId::current(),
            config,
            table,
            tasks,
            worker_ends: (tasks_out, reports_in),
            reports,
            state: Mutex::new(state),
            reader: Condvar::new(),
            callback_thread: Condvar::new(),
            ended: Condvar::new(),
            supervisor_bell,
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, PoolState> {
        locked(&self.state)
    }

    /// False in a fork of the pool's process: it has a copy of this state, and no workers.
    pub(super) fn is_owner(&self) -> bool {
        self.owner == process_id::ProcessId::current()
    }

    pub(super) fn check(&self) -> Result<(), TaskError> {
        if self.is_owner() { self.lock().check() } else { Err(TaskError::PoolClosed) }
    }

    /// The number under which a thread marks that it works for this pool.
    pub(super) fn number(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Marks that this thread runs the program's code for the pool (pool-H4).
    pub(super) fn mark_user_code(&self) -> UserCodeMark {
        UserCodeMark::set(self.number())
    }

    pub(super) fn runs_user_code_here(&self) -> bool {
        runs_user_code_of(self.number())
    }

    pub(super) fn is_callback_thread(&self) -> bool {
        is_callback_thread_of(self.number())
    }

    /// Why this thread cannot wait for the pool, if so.
    pub(super) fn refusal(&self) -> Option<TaskError> {
        match self.is_owner() {
            false => Some(TaskError::PoolClosed),
            true => self.runs_user_code_here().then_some(TaskError::Deadlock),
        }
    }

    /// Notifies a thread that is to lead, if none does and one is needed (pool-H1).
    pub(super) fn notify_leader(&self, state: &mut PoolState) {
        if !state.leadership.has_leader() && state.needs_leader() {
            match state.leadership.pop_waiter() {
                Some(waiter) => waiter.unpark(),
                None => self.reader.notify_one(),
            }
        }
    }

    /// Wakes the leader, which then checks what it waits for.
    pub(super) fn wake_leader(&self) {
        if let Ok(ring) = self.worker_ends.1.message_ring() {
            let _ = ring.send_value(&WorkerReport::Wake, Timeout::Now, &watched);
        }
    }

    /// The progress bar of a map, if the pool shows one.
    pub(super) fn progress(&self, items: Option<usize>) -> Option<MapProgress> {
        MapProgress::start(self.config.progress, items)
    }
}
