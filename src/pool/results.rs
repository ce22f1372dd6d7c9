//! Results of the workers: the leader reads their reports and hands the results to the jobs. `shared` has the protocol.

use super::in_flight::Chunk;
use super::insights::SlowTask;
use super::job::EncodedResults;
use super::protocol::{TaskId, WorkerReport, watched};
use super::shared::PoolShared;
use crate::messages::codec::{Incoming, Lack};
use crate::ring::RingError;
use crate::sync::Timeout;
use crate::sys::Deadline;
use crate::{CodecError, Sender, TaskError};
use std::sync::PoisonError;
use std::thread::{self, Thread};
use std::time::Duration;

/// A report with results of a task that is in flight.
struct ResultReport {
    incoming: Incoming,
    /// Where the results begin in the message.
    start: usize,
    task: TaskId,
    chunk: Chunk,
    first: usize,
    count: usize,
    took: Option<u64>,
}

/// This thread leads while this lives, also if it panics.
struct LeaderGuard<'a>(&'a PoolShared);

impl Drop for LeaderGuard<'_> {
    fn drop(&mut self) {
        self.0.lock().leadership.resign();
    }
}

impl PoolShared {
    /// Waits until a condition holds, as the leader or next to it. `register` has this thread unparked once the
    /// condition holds, and returns false if it holds already. Returns false when the time is over.
    pub(super) fn wait_until(&self, register: &dyn Fn(Thread) -> bool, deadline: Option<Deadline>) -> bool {
        if self.refusal().is_some() {
            return !register(thread::current());
        }
        let holds = loop {
            let mut state = self.lock();
            if state.leadership.try_lead() {
                drop(state);
                let _guard = LeaderGuard(self);
                break self.lead(&|| !register(thread::current()), deadline);
            }
            let this = thread::current();
            state.leadership.add_waiter(&this);
            drop(state);
            if !register(this) {
                break true;
            }
            if deadline.is_some_and(Deadline::has_passed) {
                break false;
            }
            match deadline {
                None => thread::park(),
                Some(deadline) => thread::park_timeout(deadline.left()),
            }
            if !register(thread::current()) {
                break true;
            }
        };
        let mut state = self.lock();
        state.leadership.remove_waiter(thread::current().id());
        self.notify_leader(&mut state);
        holds
    }

    /// Reads and handles reports until a condition holds, or the time is over.
    fn lead(&self, until: &dyn Fn() -> bool, deadline: Option<Deadline>) -> bool {
        let mut batch = Vec::new();
        let timeout = deadline.map_or(Timeout::Never, Timeout::At);
        loop {
            if until() {
                return true;
            }
            match self.read(&mut batch, timeout) {
                Ok(()) => self.handle(&mut batch),
                Err(RingError::Timeout) => return until(),
                Err(RingError::NoSpace) if deadline.is_some_and(Deadline::has_passed) => return until(),
                Err(RingError::NoSpace) if !self.lock().leadership.gives_up() => {
                    thread::sleep(Duration::from_millis(1));
                }
                Err(RingError::NoSpace) => match self.reports.mail().map(|ring| ring.receive_in_part(&watched)) {
                    // Its start names the task.
                    Ok(Ok(incoming)) if !incoming.value().is_empty() => self.handle(&mut vec![incoming]),
                    Ok(Err(RingError::NotNow)) => {}
                    _ => self.break_down(UNREADABLE),
                },
                Err(_) => self.break_down(UNREADABLE),
            }
        }
    }

    /// Reads reports; waits for the first.
    fn read(&self, batch: &mut Vec<Incoming>, timeout: Timeout) -> Result<(), RingError> {
        const BATCH: usize = 64;
        let ring = self.reports.mail().map_err(|_| RingError::Corrupt)?;
        ring.wait_for_message(timeout, &watched)?;
        let short = ring.receive_short(BATCH, &mut |record| {
            batch.push(Incoming::short(*record));
            true
        })?;
        if short == 0 {
            match ring.receive_incoming(Timeout::Now, &mut |_| (), &watched) {
                Ok(incoming) => batch.push(incoming),
                Err(RingError::NotNow) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Handles reports in their order (pool-H2): results that came before another report are accepted before that one
    /// is handled.
    fn handle(&self, batch: &mut Vec<Incoming>) {
        let mut results = Vec::with_capacity(batch.len());
        let shows_enough = batch.iter().any(Incoming::shows_enough);
        let mut state = self.lock();
        for incoming in batch.drain(..) {
            let Some((report, start)) = parse(&incoming) else {
                incoming.discard();
                continue;
            };
            if let WorkerReport::Results { slot, generation, first, count, took } = report {
                state.in_flight.note_message_size(incoming.value().len());
                let task = TaskId { slot, generation };
                match state.in_flight.chunk(task) {
                    Some(chunk) => {
                        let (first, count) = (first as usize, count as usize);
                        results.push(ResultReport { incoming, start, task, chunk, first, count, took });
                    }
                    None => incoming.discard(),
                }
                continue;
            }
            drop(state);
            self.accept(&mut results);
            self.handle_other(incoming, report);
            state = self.lock();
        }
        if shows_enough {
            state.leadership.reset_give_up();
        }
        drop(state);
        self.accept(&mut results);
        self.dispatch();
        self.release_workers_if_done();
    }

    /// Hands results to their jobs, and then frees the slots of the tasks that are over.
    fn accept(&self, results: &mut Vec<ResultReport>) {
        if results.is_empty() {
            return;
        }
        let mut accepted = Vec::with_capacity(results.len());
        let mark = self.mark_user_code();
        for report in results.drain(..) {
            accepted.push((report.task.slot, report.first + report.count, report.took.is_some()));
            self.accept_one(report);
        }
        let mut over = Vec::with_capacity(accepted.len());
        let mut state = self.lock();
        for (slot, received, is_over) in accepted {
            match is_over {
                true => over.extend(state.in_flight.release(&self.table, slot)),
                false => state.in_flight.set_received(slot, received),
            }
        }
        drop(state);
        drop(over); // perhaps the last references to jobs, with the program's results
        drop(mark);
    }

    fn accept_one(&self, report: ResultReport) {
        let ResultReport { incoming, start, task, chunk, first, count, took } = report;
        let has_handles = incoming.has_handles();
        let (from, to) = (chunk.from + first, chunk.from + first + count);
        if let Some(took) = took {
            self.note_duration(&chunk, task.slot, took);
        }
        if let Some(lack) = incoming.lack() {
            incoming.discard();
            chunk.job.fail(from, to.min(chunk.to), &lack_error(lack), self);
        } else if to <= chunk.to {
            chunk.job.accept(from, count, EncodedResults::Message(incoming, start), self);
        }
        if has_handles && let Ok(ring) = self.reports.mail() {
            ring.tidy_satchel();
        }
        if took.is_some() && to < chunk.to {
            let error = TaskError::Decode(CodecError("an input before it could not be decoded".into()));
            chunk.job.fail(to, chunk.to, &error, self);
        }
    }

    /// Adds a task to the slowest ones, if it is one of them.
    fn note_duration(&self, chunk: &Chunk, slot: u32, took: u64) {
        if !self.lock().slowest.includes(took) {
            return;
        }
        let input = chunk.job.input(chunk.from);
        let index = chunk.job.is_map().then_some(chunk.from);
        let worker = self.table.entry(slot).worker;
        let mut state = self.lock();
        let worker = state.workers.pid_of(worker);
        let (duration, items) = (Duration::from_nanos(took), chunk.to - chunk.from);
        state.slowest.add(SlowTask { duration, index, items, worker, input });
    }

    #[cold]
    fn handle_other(&self, incoming: Incoming, report: WorkerReport) {
        match report {
            WorkerReport::Died { worker_slot, worker } => self.handle_death(worker_slot as usize, worker),
            WorkerReport::NotReady { worker, why } => {
                if self.lock().workers.find(worker).is_some() {
                    self.break_down(&format!("the initializer failed: {why}"));
                }
            }
            WorkerReport::Request { shared, worker } => self.handle_request(incoming, shared, worker),
            WorkerReport::Results { .. } | WorkerReport::Wake => {}
        }
    }

    /// A worker requests a shared value. If its pipe cannot be received, it is refused.
    fn handle_request(&self, incoming: Incoming, shared: u64, worker: u32) {
        let job = self.lock().values.job(shared);
        let lack = incoming.lack();
        let request = match incoming.unpack::<(WorkerReport, Sender<()>)>() {
            Ok((_, sender)) => Ok(sender),
            Err(error) => {
                let slot = self.lock().workers.find(worker);
                slot.into_iter().for_each(|slot| self.table.status(slot).refuse(shared));
                Err(lack.map_or(error, |_| CodecError(NO_DESCRIPTOR.into())))
            }
        };
        if let Some(job) = job {
            job.request_value(request);
        }
        if let Ok(ring) = self.reports.mail() {
            ring.tidy_satchel();
        }
    }

    /// The reader's life: it leads while no other thread does.
    pub(super) fn run_reader(&self) {
        let mut state = self.lock();
        loop {
            if state.needs_leader() && state.leadership.try_lead() {
                drop(state);
                let guard = LeaderGuard(self);
                self.lead(&|| !self.lock().needs_leader(), None);
                drop(guard);
                state = self.lock();
            } else if state.threads.supervisor_is_gone && state.in_flight.is_done() {
                state.threads.reader_is_gone = true;
                drop(state);
                self.callback_thread.notify_one();
                return self.ended.notify_all();
            } else {
                state = self.reader.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

const NO_DESCRIPTOR: &str = "no descriptor is left for the memory of a handle";
const UNREADABLE: &str = "the reports of its workers cannot be read";

fn lack_error(lack: Lack) -> TaskError {
    match lack {
        Lack::Memory => TaskError::NoSpace,
        Lack::Descriptors => TaskError::Decode(CodecError(NO_DESCRIPTOR.into())),
    }
}

/// A report, and where its results begin.
fn parse(incoming: &Incoming) -> Option<(WorkerReport, usize)> {
    let bytes = incoming.value();
    let (report, rest) = postcard::take_from_bytes::<WorkerReport>(bytes).ok()?;
    Some((report, bytes.len() - rest.len()))
}
