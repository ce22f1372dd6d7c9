//! Tasks of a pool, as its own process sees them: chunks that wait, tasks that were sent, and chunks that a thread has
//! taken out of both for the moment (`hold`).
//!
//! A task that was sent has a *task slot*: the index of its entry in the task table. All of this is under the lock of
//! the pool's state.

use super::job::Job;
use super::protocol::TaskId;
use super::task_table::{TaskState, TaskTable, next_generation};
use crate::segment::transfer::InFlightGuard;
use std::collections::VecDeque;
use std::sync::Arc;

/// Items of a job that are sent as one task.
#[derive(Clone)]
pub(super) struct Chunk {
    pub(super) job: Arc<dyn Job>,
    pub(super) from: usize,
    pub(super) to: usize,
    /// How often it was lost with a worker.
    pub(super) losses: u32,
}

/// Items of a job that wait, to be sent in chunks of `size`.
pub(super) struct PendingChunks {
    items: Chunk,
    size: usize,
}

/// The slot of a task.
#[derive(Default)]
struct InFlightTask {
    generation: u32,
    /// None if the slot is free.
    chunk: Option<Chunk>,
    /// The handles in the message.
    handles: Option<InFlightGuard>,
    /// How many results have come.
    received: usize,
}

pub(super) struct InFlight {
    slots: Vec<InFlightTask>,
    free: Vec<u32>,
    backlog: VecDeque<PendingChunks>,
    /// The length of long messages: the maximum, which decays.
    message_size: usize,
    /// Whether the last task had no room. The supervisor tries again then.
    pub(super) is_refused: bool,
    /// How many threads hold tasks that are neither sent nor in the backlog.
    held: usize,
    /// Jobs and handles of the tasks of a pool that was ended: workers may still read them.
    left: Vec<(Arc<dyn Job>, Option<InFlightGuard>)>,
}

impl InFlight {
    pub(super) fn new(tasks: usize) -> Self {
        InFlight {
            slots: std::iter::repeat_with(InFlightTask::default).take(tasks).collect(),
            free: (0..tasks as u32).rev().collect(),
            backlog: VecDeque::new(),
            message_size: 0,
            is_refused: false,
            held: 0,
            left: Vec::new(),
        }
    }

    fn sent(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn has_backlog(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// Whether tasks are sent or wait to be sent.
    pub(super) fn is_busy(&self) -> bool {
        self.sent() > 0 || self.has_backlog()
    }

    /// Whether every task has its result.
    pub(super) fn is_done(&self) -> bool {
        !self.is_busy() && self.held == 0
    }

    /// This thread takes tasks that are neither sent nor wait; they count as not done until `end_hold`.
    pub(super) fn hold(&mut self) {
        self.held += 1;
    }

    pub(super) fn end_hold(&mut self) {
        self.held -= 1;
    }

    /// Notes the length of a long message.
    pub(super) fn note_message_size(&mut self, length: usize) {
        self.message_size = length.max(self.message_size - self.message_size / 16);
    }

    /// How many tasks may be sent at a time, so that their messages need a limited amount of memory.
    fn window(&self, processes: usize) -> usize {
        const MEMORY: usize = 32 << 20;
        (MEMORY / self.message_size.max(1)).min(self.slots.len()).max(2 * processes)
    }

    /// Appends items, to be sent in chunks of `size`.
    pub(super) fn push_back(&mut self, items: Chunk, size: usize) {
        self.backlog.push_back(PendingChunks { items, size });
    }

    /// Prepends a chunk, to be sent in one piece.
    pub(super) fn put_back(&mut self, chunk: Chunk) {
        let size = chunk.to - chunk.from;
        self.backlog.push_front(PendingChunks { items: chunk, size });
    }

    /// The next chunk. Items of jobs that are over go to `over`, to be dropped without the lock.
    fn next_chunk(&mut self, over: &mut Vec<PendingChunks>) -> Option<Chunk> {
        loop {
            let pending = self.backlog.front_mut()?;
            let Chunk { job, from, to, losses } = pending.items.clone();
            if job.is_over() {
                over.extend(self.backlog.pop_front());
                continue;
            }
            let end = to.min(from.saturating_add(pending.size));
            pending.items.from = end;
            if end == to {
                self.backlog.pop_front();
            }
            return Some(Chunk { job, from, to: end, losses });
        }
    }

    /// Gives slots to the next chunks, as many as may be sent now, and marks them as queued in the table (step 1).
    pub(super) fn take_batch(
        &mut self,
        table: &TaskTable,
        processes: usize,
        over: &mut Vec<PendingChunks>,
    ) -> Vec<(TaskId, Chunk)> {
        const BATCH: usize = 64;
        let room = self.window(processes).saturating_sub(self.sent()).min(BATCH);
        let mut batch = Vec::new();
        while batch.len() < room
            && !self.free.is_empty()
            && let Some(chunk) = self.next_chunk(over)
            && let Some(slot) = self.free.pop()
        {
            let task = &mut self.slots[slot as usize];
            task.chunk = Some(chunk.clone());
            table.set(slot, task.generation, TaskState::Queued);
            batch.push((TaskId { slot, generation: task.generation }, chunk));
        }
        batch
    }

    /// The chunk of a task, unless that is over.
    pub(super) fn chunk(&self, task: TaskId) -> Option<Chunk> {
        self.slots.get(task.slot as usize).filter(|slot| slot.generation == task.generation)?.chunk.clone()
    }

    /// The slots that have a task, with its generation and the number of results that have come.
    pub(super) fn tasks(&self) -> Vec<(TaskId, usize)> {
        let slots = (0..).zip(&self.slots).filter(|(_, task)| task.chunk.is_some());
        slots.map(|(slot, task)| (TaskId { slot, generation: task.generation }, task.received)).collect()
    }

    pub(super) fn set_handles(&mut self, slot: u32, handles: Option<InFlightGuard>) {
        self.slots[slot as usize].handles = handles;
    }

    pub(super) fn set_received(&mut self, slot: u32, received: usize) {
        self.slots[slot as usize].received = received;
    }

    /// Frees a slot, under another generation (step 6). Returns its chunk; None if the slot was free.
    pub(super) fn release(&mut self, table: &TaskTable, slot: u32) -> Option<Chunk> {
        let task = self.slots.get_mut(slot as usize)?;
        let chunk = task.chunk.take()?;
        task.handles = None;
        task.generation = next_generation(task.generation);
        task.received = 0;
        table.set(slot, task.generation, TaskState::Free);
        self.free.push(slot);
        Some(chunk)
    }

    /// Frees all slots and empties the backlog of a pool that ends. What its workers may still read is kept until
    /// `take_left`.
    pub(super) fn release_all(&mut self, table: &TaskTable) -> Vec<Chunk> {
        let mut chunks = Vec::new();
        for slot in 0..self.slots.len() as u32 {
            let handles = self.slots[slot as usize].handles.take();
            if let Some(chunk) = self.release(table, slot) {
                self.left.push((chunk.job.clone(), handles));
                chunks.push(chunk);
            }
        }
        chunks.extend(self.backlog.drain(..).map(|pending| pending.items));
        chunks
    }

    /// What `release_all` kept.
    pub(super) fn take_left(&mut self) -> Vec<(Arc<dyn Job>, Option<InFlightGuard>)> {
        std::mem::take(&mut self.left)
    }

    /// Removes items from the backlog, to be dropped without the lock.
    pub(super) fn remove_pending(&mut self, which: &dyn Fn(&Chunk) -> bool) -> VecDeque<PendingChunks> {
        let (removed, left) = self.backlog.drain(..).partition::<VecDeque<_>, _>(|pending| which(&pending.items));
        self.backlog = left;
        removed
    }

    /// Takes back sent tasks that no worker has begun (task_table-B2). Their chunks are to be dropped without the lock.
    pub(super) fn take_back(&mut self, table: &TaskTable, which: &dyn Fn(&Chunk) -> bool) -> Vec<Chunk> {
        let mut taken = Vec::new();
        for slot in 0..self.slots.len() as u32 {
            if !self.slots[slot as usize].chunk.as_ref().is_some_and(which) {
                continue;
            }
            if table.take_back(slot) {
                taken.extend(self.release(table, slot));
            }
        }
        taken
    }
}
