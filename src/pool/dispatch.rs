//! Sends tasks to the workers, and takes back tasks that were not begun. The protocol is that of `task_table`.

use super::in_flight::Chunk;
use super::job::Job;
use super::protocol::{TaskId, watched};
use super::shared::PoolShared;
use crate::TaskError;
use crate::messages::MessageRing;
use crate::messages::codec::Encoded;
use crate::messages::codec::SendFailure;
use crate::messages::record::Record;
use crate::ring::RingError;
use crate::sync::Timeout;
use std::sync::Arc;

/// Tasks that had no room in the ring.
#[derive(Default)]
struct UnsentTasks {
    /// Their slots, in order.
    slots: Vec<u32>,
    /// The first of them, if its message found the ring empty and yet had no room.
    too_large: Option<u32>,
}

impl PoolShared {
    /// Adds items of a job, to be run in chunks of `size`. A thread that `waits` for them at once can lead.
    pub(super) fn submit(
        &self,
        job: Arc<dyn Job>,
        (from, to): (usize, usize),
        size: usize,
        waits: bool,
    ) -> Result<(), TaskError> {
        if !self.is_owner() {
            return Err(TaskError::PoolClosed);
        }
        let mut state = self.lock();
        state.check()?;
        let was_busy = state.in_flight.is_busy();
        state.in_flight.push_back(Chunk { job, from, to, losses: 0 }, size);
        drop(state);
        if !was_busy && self.config.timeout.is_some() {
            self.supervisor_bell.notify(); // it has to check times from here on
        }
        self.dispatch();
        if !waits {
            self.notify_leader(&mut self.lock());
        }
        Ok(())
    }

    /// Sends as many tasks as have room.
    pub(super) fn dispatch(&self) {
        if self.runs_user_code_here() {
            return; // further up, this thread is in `dispatch` or `handle`, and sends what there is after that
        }
        loop {
            let mut over = Vec::new();
            let mut state = self.lock();
            let batch = state.in_flight.take_batch(&self.table, self.config.processes, &mut over);
            let was_refused = state.in_flight.is_refused;
            if batch.is_empty() {
                state.in_flight.is_refused &= state.in_flight.has_backlog();
                drop(state);
                return; // `over` is dropped without the lock
            }
            drop(state);
            drop(over);
            if !self.send_batch(batch) {
                return;
            }
            if was_refused {
                self.lock().in_flight.is_refused = false;
            }
        }
    }

    /// Sends tasks. False: there is no room for more now.
    fn send_batch(&self, batch: Vec<(TaskId, Chunk)>) -> bool {
        let Ok(ring) = self.tasks.message_ring() else { return false };
        let unsent = self.encode_and_send(ring, batch);
        unsent.slots.is_empty() || self.put_back_unsent(ring, unsent)
    }

    /// Encodes tasks. Long ones are sent at once, the records of short ones together at the end.
    fn encode_and_send(&self, ring: &MessageRing, batch: Vec<(TaskId, Chunk)>) -> UnsentTasks {
        let mut records = Vec::with_capacity(batch.len());
        let mut recorded = Vec::with_capacity(batch.len());
        let mut batch = batch.into_iter();
        let mut unsent = UnsentTasks::default();
        let mark = self.mark_user_code();
        for (task, chunk) in batch.by_ref() {
            let mut record = Record::default();
            let encoded = chunk.job.encode(task, chunk.from, chunk.to, &mut record);
            let kept = encoded.and_then(|mut encoded| {
                let handles = encoded.as_mut().map(Encoded::keep_handles).transpose()?.flatten();
                Ok((encoded, handles))
            });
            match kept {
                Ok((None, _)) => {
                    records.push(record);
                    recorded.push(task.slot);
                }
                Ok((Some(encoded), handles)) => {
                    let mut state = self.lock();
                    state.in_flight.note_message_size(encoded.length());
                    state.in_flight.set_handles(task.slot, handles); // before a worker can have taken the task
                    drop(state);
                    let was_empty = !ring.has_messages();
                    match ring.send_encoded(encoded, Timeout::Now, &watched) {
                        Ok(()) => {}
                        Err(SendFailure::Ring(error)) => {
                            unsent.slots.push(task.slot);
                            unsent.too_large = (error == RingError::NoSpace && was_empty).then_some(task.slot);
                            break;
                        }
                        Err(SendFailure::Codec(error)) => self.fail_slot(task.slot, TaskError::Encode(error)),
                    }
                }
                Err(error) => self.fail_slot(task.slot, TaskError::Encode(error)),
            }
        }
        drop(mark);
        unsent.slots.extend(batch.map(|(task, _)| task.slot));
        let mut sent = 0;
        while sent < records.len() {
            match ring.send_many(&records[sent..], Timeout::Now, &watched) {
                Ok(more) => sent += more,
                Err(_) => break,
            }
        }
        unsent.slots.splice(0..0, recorded.drain(sent..));
        unsent
    }

    /// Puts unsent tasks back to the front of the backlog. One that is too large fails if no message is in the ring
    /// that could make room when it is taken: it will never have room. True: the next tasks can be tried.
    fn put_back_unsent(&self, ring: &MessageRing, unsent: UnsentTasks) -> bool {
        let mut state = self.lock();
        let release = |slot| Some((slot, state.in_flight.release(&self.table, slot)?));
        let chunks: Vec<_> = unsent.slots.into_iter().rev().filter_map(release).collect();
        let hopeless = unsent.too_large.filter(|_| !ring.has_messages());
        let mut failed = None;
        for (slot, chunk) in chunks {
            match hopeless == Some(slot) {
                true => failed = Some(chunk),
                false => state.in_flight.put_back(chunk),
            }
        }
        let is_refused = failed.is_none();
        let was_refused = state.in_flight.is_refused;
        match is_refused {
            true => state.in_flight.is_refused = true,
            false => state.in_flight.hold(),
        }
        drop(state);
        if is_refused && !was_refused {
            self.supervisor_bell.notify(); // the supervisor tries again
        }
        if let Some(chunk) = failed {
            self.fail_held(&chunk, &TaskError::NoSpace);
        }
        hopeless.is_some()
    }

    /// Tries again to send tasks that had no room. True: some still have none.
    pub(super) fn try_again(&self) -> bool {
        let is_refused = || self.lock().in_flight.is_refused;
        if is_refused() {
            self.dispatch();
        }
        is_refused()
    }

    fn fail_slot(&self, slot: u32, error: TaskError) {
        let mut state = self.lock();
        let chunk = state.in_flight.release(&self.table, slot);
        if chunk.is_some() {
            state.in_flight.hold();
        }
        drop(state);
        if let Some(chunk) = chunk {
            self.fail_held(&chunk, &error);
        }
    }

    /// Gives a chunk that this thread holds an error, and ends the hold.
    fn fail_held(&self, chunk: &Chunk, error: &TaskError) {
        let mark = self.mark_user_code();
        chunk.job.fail(chunk.from, chunk.to, error, self);
        drop(mark);
        self.lock().in_flight.end_hold();
        self.release_workers_if_done();
    }

    /// Takes back the tasks of jobs that are over.
    pub(super) fn take_back_over(&self) {
        self.take_back(&|chunk| chunk.job.is_over());
    }

    /// Takes back the items of a job that no worker has begun. Returns whether there were any.
    pub(super) fn cancel(&self, job: &Arc<dyn Job>) -> bool {
        self.take_back(&|chunk| std::ptr::addr_eq(Arc::as_ptr(&chunk.job), Arc::as_ptr(job)))
    }

    fn take_back(&self, which: &dyn Fn(&Chunk) -> bool) -> bool {
        if !self.is_owner() {
            return false;
        }
        let mut state = self.lock();
        let pending = state.in_flight.remove_pending(which);
        let taken = state.in_flight.take_back(&self.table, which);
        let is_idle = state.leadership.has_leader() && !state.in_flight.is_busy();
        drop(state);
        let were_any = !pending.is_empty() || !taken.is_empty();
        drop((pending, taken)); // without the lock: perhaps the last references to jobs
        if is_idle {
            self.wake_leader();
        }
        self.release_workers_if_done();
        were_any
    }
}
