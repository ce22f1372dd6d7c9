//! The end of a pool: closed, terminated or broken; and what threads wait for at its end.

use super::shared::{PoolPhase, PoolShared};
use crate::TaskError;
use crate::error::locked;
use crate::process::Process;
use crate::sys::Deadline;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Thread;
use std::time::Duration;

impl PoolShared {
    pub(super) fn close(&self) {
        let mut state = self.lock();
        if state.phase == PoolPhase::Running {
            state.phase = PoolPhase::Closed;
        }
        drop(state);
        self.release_workers_if_done();
    }

    /// Lets the workers of a closed pool end, once every task has its result.
    pub(super) fn release_workers_if_done(&self) {
        let state = self.lock();
        if state.phase == PoolPhase::Closed && state.in_flight.is_done() {
            if let Ok(ring) = self.tasks.message_ring() {
                ring.close();
            }
            drop(state);
            self.supervisor_bell.notify();
        }
    }

    pub(super) fn terminate(&self) {
        self.end(PoolPhase::Terminated, &TaskError::Cancelled);
    }

    pub(super) fn break_down(&self, why: &str) {
        self.end(PoolPhase::Broken(why.to_owned()), &TaskError::PoolBroken(why.to_owned()));
    }

    /// Kills the workers, and gives all tasks this error.
    fn end(&self, phase: PoolPhase, error: &TaskError) {
        let mut state = self.lock();
        if !state.phase.is_live() {
            if phase == PoolPhase::Terminated {
                state.phase = phase; // of a broken one
            }
            return;
        }
        state.phase = phase;
        state.in_flight.hold();
        let chunks = state.in_flight.release_all(&self.table);
        let workers = state.workers.processes();
        state.workers.finish_deaths(&self.table);
        drop(state);
        self.kill(workers);
        let mark = self.mark_user_code();
        for chunk in chunks {
            chunk.job.fail(chunk.from, chunk.to, error, self);
        }
        drop(mark);
        self.lock().in_flight.end_hold();
        self.wake_leader();
        self.supervisor_bell.notify();
        self.reader.notify_one();
        self.ended.notify_all();
    }

    /// Kills workers, by their slots. A worker that is sending handles may complete that first, within a limited time.
    fn kill(&self, mut workers: Vec<(usize, Arc<Mutex<Process>>)>) {
        const GRACE: Duration = Duration::from_millis(100);
        let deadline = Deadline::after(GRACE);
        loop {
            workers.retain(|(slot, worker)| {
                let waits = self.table.status(*slot).halt() && !deadline.has_passed() && locked(worker).is_alive();
                if !waits {
                    let _ = locked(worker).kill();
                }
                waits
            });
            if workers.is_empty() {
                return;
            }
            std::thread::sleep(Duration::from_micros(50));
        }
    }

    /// Ends a pool whose supervisor does not run.
    pub(super) fn end_without_supervisor(&self) {
        self.terminate();
        let workers = self.lock().workers.take_processes();
        for worker in workers {
            locked(&worker).wait();
        }
        self.supervisor_has_ended();
    }

    /// There are no workers, and no worker will be started.
    pub(super) fn supervisor_has_ended(&self) {
        let mut state = self.lock();
        state.threads.supervisor_is_gone = true;
        let waiters = state.leadership.take_waiters();
        let left = state.in_flight.take_left();
        let is_live = state.phase.is_live();
        drop(state);
        if !is_live && let Ok(ring) = self.reports.message_ring() {
            ring.discard_all(); // no thread needs these reports
        }
        waiters.iter().for_each(Thread::unpark);
        self.wake_leader();
        self.reader.notify_one();
        self.ended.notify_all();
        let _mark = self.mark_user_code();
        drop(left);
    }

    /// Waits until the threads of the pool have ended; in a callback, all but the callback thread.
    pub(super) fn wait_for_end(&self) {
        let in_callback = self.is_callback_thread();
        let mut state = self.lock();
        while !(state.threads.supervisor_is_gone
            && state.threads.reader_is_gone
            && (in_callback || state.threads.callback_thread_is_gone))
        {
            state = self.ended.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let thread = if in_callback { None } else { state.threads.callback_thread.take() };
        drop(state);
        // A panic in it would be this crate's own; the panic hook has reported it.
        thread.into_iter().for_each(|thread| drop(thread.join()));
    }
}
