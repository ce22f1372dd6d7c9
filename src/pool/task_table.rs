//! The task table and the status pages, in memory that a pool and its workers share: which worker has which task, and
//! how far it is.
//!
//! # Layout
//! Words of 8 bytes:
//! ```text
//! word 0                      entries         one for each task in flight
//!      tasks + i * 16         status pages    one for each worker slot: a cache line of the task, one of counts
//!      after the pages        result buffers  of 8 KiB, one for each worker slot: results that are not sent yet
//! ```
//! An entry is `generation` (24 bits), `worker` (20 bits), `item` (16 bits), `state` (4 bits): free, queued, claimed,
//! begun, ended or overdue. The index of an entry is a *task slot*.
//!
//! A status page has `BEGUN_AT`, the time at which the current item began; `SLOT`, the task slot; `BEGUN` and `KEPT`,
//! how many items were begun and have a result; `BASE` and `LENGTH`, the first item in the result buffer and the
//! buffer's bytes in use; `SENDING`, not 0 while the worker sends handles; `HALT`, not 0 when the pool is about to kill
//! the worker; then the counts.
//!
//! # Protocol
//! 1. The pool writes `queued` into an entry, and then sends the task, which names the entry and its generation.
//! 2. A worker that takes the task writes `claimed` and its number, while the task is still in the ring and the worker
//!    holds the lock of the ring's head. Then the head moves.
//! 3. The worker changes the entry to `begun` before it decodes the task, or skips the task if the pool has taken it
//!    back.
//! 4. After the last item (where items are timed: after each), the worker changes the entry from `begun` to `ended`, or
//!    to `begun` for the next item.
//! 5. A result that is not the task's last goes into the result buffer, and is then counted in **`KEPT`**. If the
//!    buffer is full, the results so far are sent. After the last item, all results that were not sent yet are sent in
//!    one report. A result with handles is sent alone.
//! 6. The pool reads the last results, and gives the entry another generation.
//! 7. Time limit: the supervisor reads `BEGUN_AT` and `SLOT`, then the entry, then both again. It changes `begun` to
//!    `overdue`, and kills the worker.
//! 8. Handles: the worker stores `SENDING`, then loads `HALT`; the pool stores `HALT`, then loads `SENDING`. So a
//!    worker is not killed while it sends handles, which would leak.
//!
//! # Invariants
//! * task_table-B1: a task is run only after the change from `claimed` to `begun` by the worker whose number is in the
//!   entry; so once.
//! * task_table-B2: the pool takes a task back only by a change from `queued` or `claimed` to `free`. It stops a begun
//!   item only by a change to `overdue`, and then kills the worker. In both cases the worker's next change fails, and
//!   the result is never sent.
//! * task_table-B3: the generation of an entry names one sending of one task. A task in the ring with another
//!   generation is stale.
//! * task_table-B4: the status page and the result buffer of a slot belong to one worker, from its start until the pool
//!   has handled its death.
//!
//! # Ordering
//! Entries are changed and read with SeqCst. Steps 7 and 8 compare several words that different processes write. One
//! total order over all of them makes each of these arguments a sequence of steps; Acquire and Release would not order
//! a store before a later load of another word. The rate is a few accesses per item, so the cost does not show. Relaxed
//! are the words that a worker alone writes, before a SeqCst change that publishes them, and the counts, which are
//! statistics.
//!
//! # If a process dies here
//! A worker, before step 3: the task was not begun. If the head has not moved, the task is still in the ring, and
//! another worker may claim it. If none has by the time the death is handled, the pool takes the task back and sends it
//! again under another generation; a copy in the ring is stale (task_table-B3). After step 3: items that are kept, or
//! were sent, are done. The item that was begun and has no result is lost. It is sent again if the pool has retries
//! left; otherwise its result is an error: `WorkerDied`, or `Timeout` if it was overdue. The items after it are sent
//! again. The pool's process: its workers are *bound*, so the kernel kills them.
#![allow(unsafe_code)] // bytes of a result buffer

use crate::sync::atomic_copy;
use crate::{RawArray, SegmentError};
use serde::{Deserialize, Serialize};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

/// How many tasks can be in flight, or two for each worker.
const TASKS: usize = 1024;
/// The words of a status page.
const PAGE: usize = 16;
/// The bytes of a result buffer.
const BUFFER: usize = 8 << 10;
const BUFFER_WORDS: usize = BUFFER / 8;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct TaskTable {
    words: RawArray<u64>,
    tasks: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TaskState {
    Free,
    Queued,
    Claimed,
    Begun,
    Ended,
    Overdue,
}

/// The fields of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TaskEntry {
    pub(super) generation: u32,
    pub(super) worker: u32,
    pub(super) item: u16,
    pub(super) state: TaskState,
}

/// Worker numbers are below this, and wrap around.
pub(super) const WORKERS: u32 = 1 << 20;
const GENERATIONS: u32 = 1 << 24;

pub(super) fn next_generation(generation: u32) -> u32 {
    (generation + 1) % GENERATIONS
}

impl TaskEntry {
    fn word(self) -> u64 {
        u64::from(self.generation) << 40
            | u64::from(self.worker) << 20
            | u64::from(self.item) << 4
            | match self.state {
                TaskState::Free => 0,
                TaskState::Queued => 1,
                TaskState::Claimed => 2,
                TaskState::Begun => 3,
                TaskState::Ended => 4,
                TaskState::Overdue => 5,
            }
    }

    fn of(word: u64) -> Self {
        TaskEntry {
            generation: (word >> 40) as u32,
            worker: (word >> 20) as u32 % WORKERS,
            item: (word >> 4) as u16,
            state: match word & 15 {
                1 => TaskState::Queued,
                2 => TaskState::Claimed,
                3 => TaskState::Begun,
                4 => TaskState::Ended,
                5 => TaskState::Overdue,
                _ => TaskState::Free,
            },
        }
    }
}

impl TaskTable {
    pub(super) fn new(workers: usize) -> Result<Self, SegmentError> {
        let tasks = workers.saturating_mul(2).max(TASKS);
        let words = workers.checked_mul(PAGE + BUFFER_WORDS).and_then(|words| words.checked_add(tasks));
        let words = RawArray::zeroed(words.ok_or(SegmentError::TooLarge)?)?;
        Ok(TaskTable { words, tasks })
    }

    pub(super) fn words(&self) -> &RawArray<u64> {
        &self.words
    }

    /// How many tasks can be in flight.
    pub(super) fn tasks(&self) -> usize {
        self.tasks
    }

    fn word(&self, slot: u32) -> Option<&AtomicU64> {
        self.words.words().get(..self.tasks)?.get(slot as usize)
    }

    pub(super) fn entry(&self, slot: u32) -> TaskEntry {
        TaskEntry::of(self.word(slot).map_or(0, |word| word.load(SeqCst)))
    }

    /// Step 1 and step 6.
    pub(super) fn set(&self, slot: u32, generation: u32, state: TaskState) {
        if let Some(word) = self.word(slot) {
            word.store(TaskEntry { generation, worker: 0, item: 0, state }.word(), SeqCst);
        }
    }

    /// Changes an entry. False: another process has changed it.
    fn change(&self, slot: u32, from: TaskEntry, to: TaskEntry) -> bool {
        self.word(slot).is_some_and(|word| word.compare_exchange(from.word(), to.word(), SeqCst, SeqCst).is_ok())
    }

    /// Step 2, under the lock of the ring's head: a worker whose number is in the entry died before the head moved.
    /// False: the pool has taken the task back.
    pub(super) fn claim(&self, slot: u32, generation: u32, worker: u32) -> bool {
        loop {
            let entry = self.entry(slot);
            let is_open =
                matches!(entry.state, TaskState::Queued | TaskState::Claimed) && entry.generation == generation;
            if !is_open {
                return false;
            }
            if self.change(slot, entry, TaskEntry { worker, state: TaskState::Claimed, ..entry }) {
                return true;
            }
        }
    }

    /// Step 3. False: the pool has taken the task back.
    pub(super) fn begin(&self, slot: u32, generation: u32, worker: u32) -> bool {
        let claimed = TaskEntry { generation, worker, item: 0, state: TaskState::Claimed };
        self.change(slot, claimed, TaskEntry { state: TaskState::Begun, ..claimed })
    }

    /// Step 4, after this item. False: the item is overdue.
    pub(super) fn end(&self, slot: u32, generation: u32, worker: u32, item: u32, next: Option<u32>) -> bool {
        let begun = TaskEntry { generation, worker, item: item as u16, state: TaskState::Begun };
        let to = match next {
            Some(next) => TaskEntry { item: next as u16, ..begun },
            None => TaskEntry { state: TaskState::Ended, ..begun },
        };
        self.change(slot, begun, to)
    }

    /// Takes a task back that no worker has begun (task_table-B2). False: a worker has begun it.
    pub(super) fn take_back(&self, slot: u32) -> bool {
        loop {
            let entry = self.entry(slot);
            if !matches!(entry.state, TaskState::Queued | TaskState::Claimed) {
                return false;
            }
            if self.take_back_from(slot, entry) {
                return true;
            }
        }
    }

    /// Takes a task back whose entry is this one. False: the entry has changed.
    pub(super) fn take_back_from(&self, slot: u32, entry: TaskEntry) -> bool {
        self.change(slot, entry, TaskEntry { state: TaskState::Free, ..entry })
    }

    /// Takes a task from a worker whose item takes too long (task_table-B2). False: the entry has changed, or the task
    /// is not begun.
    pub(super) fn set_overdue(&self, slot: u32, entry: TaskEntry) -> bool {
        entry.state == TaskState::Begun && self.change(slot, entry, TaskEntry { state: TaskState::Overdue, ..entry })
    }

    pub(super) fn status(&self, slot: usize) -> WorkerStatus<'_> {
        let (_, rest) = self.words.words().split_at(self.tasks);
        let slots = rest.len() / (PAGE + BUFFER_WORDS);
        let slot = slot.min(slots - 1);
        let (pages, buffers) = rest.split_at(slots * PAGE);
        WorkerStatus { words: &pages[slot * PAGE..][..PAGE], buffer: &buffers[slot * BUFFER_WORDS..][..BUFFER_WORDS] }
    }
}

/// The status page and the result buffer of a worker.
#[derive(Clone, Copy)]
pub(super) struct WorkerStatus<'a> {
    words: &'a [AtomicU64],
    buffer: &'a [AtomicU64],
}

// The task's cache line.
const BEGUN_AT: usize = 0;
const BEGUN: usize = 1;
const KEPT: usize = 2;
const BASE: usize = 3;
const LENGTH: usize = 4;
const SLOT: usize = 5;
/// Not 0 while the worker sends handles.
const SENDING: usize = 6;
/// Not 0 when the worker will be killed: it does not begin to send handles then.
const HALT: usize = 7;
// The counts' cache line.
const READY: usize = 8;
const DONE: usize = 9;
const ITEMS: usize = 10;
const WORKING: usize = 11;
const WAITING: usize = 12;
/// The number of a shared value that the worker requested and cannot have.
const REFUSED: usize = 13;

/// How far a worker is with its task.
#[derive(Clone, Copy, Debug)]
pub(super) struct TaskProgress {
    /// How many items were begun.
    pub(super) begun: u32,
    /// How many items have a result.
    pub(super) kept: u32,
    /// The first item whose result is in the result buffer.
    pub(super) base: u32,
}

/// The counts of a worker; times are in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct WorkerCounts {
    pub(super) ready_at: u64,
    pub(super) tasks: u64,
    pub(super) items: u64,
    pub(super) working: u64,
    pub(super) waiting: u64,
}

impl<'a> WorkerStatus<'a> {
    fn set(&self, at: usize, value: u64) {
        self.words[at].store(value, SeqCst);
    }

    fn get(&self, at: usize) -> u64 {
        self.words[at].load(SeqCst)
    }

    /// Clears the page for another worker.
    pub(super) fn clear(&self) {
        self.words.iter().for_each(|word| word.store(0, SeqCst));
    }

    /// Called before handles go into a message: handles leak if the worker is killed before the message is sent. Does
    /// not return if the worker will be killed.
    pub(super) fn begin_sending(&self) {
        self.set(SENDING, 1);
        if self.get(HALT) != 0 {
            self.set(SENDING, 0);
            loop {
                std::thread::park();
            }
        }
    }

    /// Called after the message was sent, or could not be sent.
    pub(super) fn end_sending(&self) {
        if self.get(SENDING) != 0 {
            self.set(SENDING, 0);
        }
    }

    /// From here on the worker does not begin to send handles. Returns whether it is sending some.
    pub(super) fn halt(&self) -> bool {
        self.set(HALT, 1);
        self.get(SENDING) != 0
    }

    pub(super) fn refuse(&self, shared: u64) {
        self.set(REFUSED, shared);
    }

    pub(super) fn is_refused(&self, shared: u64) -> bool {
        self.get(REFUSED) == shared
    }

    /// The worker is ready for tasks.
    pub(super) fn ready(&self, now: u64) {
        self.set(READY, now);
    }

    /// Called before `begin`: no item of this task is done yet.
    pub(super) fn open(&self, slot: u32) {
        for at in [BEGUN, KEPT, BASE, LENGTH] {
            self.words[at].store(0, Relaxed); // published by the change of the entry
        }
        self.words[SLOT].store(u64::from(slot), Relaxed);
    }

    /// The next item begins.
    pub(super) fn begin_item(&self, item: u32, now: u64) {
        self.words[BEGUN_AT].store(now, Relaxed);
        self.set(BEGUN, u64::from(item) + 1);
    }

    /// The task that the worker is at, and when its current item began; None between two tasks.
    pub(super) fn current_item(&self) -> Option<(u32, u64)> {
        let since = self.get(BEGUN_AT);
        (since != 0).then(|| (self.get(SLOT) as u32, since))
    }

    /// Step 4: appends a result to the result buffer. False: there is no room.
    pub(super) fn keep(&self, item: u32, result: &[u8]) -> bool {
        let from = self.words[LENGTH].load(Relaxed) as usize;
        let room = from.next_multiple_of(8) + result.len().next_multiple_of(8);
        if room > BUFFER {
            return false;
        }
        // Each result begins with a word.
        let at = from.next_multiple_of(8);
        // SAFETY: `at` is a multiple of 8, and `at + result.len()` is at most `room`, which is within the buffer
        // (compared above).
        unsafe { atomic_copy::store(self.buffer.as_ptr().add(at / 8), result.as_ptr(), result.len()) };
        self.words[LENGTH].store((at + result.len()) as u64, Relaxed);
        self.set(KEPT, u64::from(item) + 1);
        true
    }

    /// The results of the first `items` items are sent.
    pub(super) fn sent(&self, items: u32) {
        // In this order: `kept` is never less than `base`, nor than `base` and the results in the buffer together.
        self.set(KEPT, u64::from(items));
        self.set(BASE, u64::from(items));
        self.words[LENGTH].store(0, Relaxed);
    }

    pub(super) fn progress(&self) -> TaskProgress {
        TaskProgress { begun: self.get(BEGUN) as u32, kept: self.get(KEPT) as u32, base: self.get(BASE) as u32 }
    }

    /// A copy of the result buffer, of a worker that died.
    pub(super) fn result_buffer(&self) -> Vec<u8> {
        let mut bytes = vec![0; BUFFER];
        // SAFETY: `buffer` has `BUFFER / 8` words, and `bytes` has `BUFFER` bytes.
        unsafe { atomic_copy::load(self.buffer.as_ptr(), bytes.as_mut_ptr(), BUFFER) };
        bytes
    }

    /// The worker has no task.
    pub(super) fn leave_task(&self) {
        self.words[BEGUN_AT].store(0, Relaxed);
    }

    /// Counts a task that is over.
    pub(super) fn close(&self, items: u32, waited: u64, worked: u64) {
        self.leave_task();
        for (at, more) in [(DONE, 1), (ITEMS, u64::from(items)), (WAITING, waited), (WORKING, worked)] {
            self.words[at].store(self.words[at].load(Relaxed) + more, Relaxed);
        }
    }

    pub(super) fn counts(&self) -> WorkerCounts {
        WorkerCounts {
            ready_at: self.get(READY),
            tasks: self.get(DONE),
            items: self.get(ITEMS),
            working: self.get(WORKING),
            waiting: self.get(WAITING),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_begun_once_and_taken_back_only_before_that() {
        let table = TaskTable::new(2).unwrap();
        table.set(3, 7, TaskState::Queued);
        assert!(!table.claim(3, 6, 1), "stale");
        assert!(table.claim(3, 7, 1) && table.claim(3, 7, 2), "the first died before the head moved");
        assert!(!table.begin(3, 7, 1) && table.begin(3, 7, 2) && !table.begin(3, 7, 2));
        assert!(!table.claim(3, 7, 1), "it has begun");
        assert!(table.end(3, 7, 2, 0, Some(1)) && table.end(3, 7, 2, 1, None));
        table.set(3, 8, TaskState::Queued);
        let entry = table.entry(3);
        assert!(table.claim(3, 8, 4) && !table.change(3, entry, TaskEntry { state: TaskState::Free, ..entry }));
        let entry = table.entry(3);
        assert!(table.change(3, entry, TaskEntry { state: TaskState::Free, ..entry }) && !table.begin(3, 8, 4));
    }

    #[test]
    fn kept_results_are_read_and_a_result_without_room_is_not_kept() {
        let table = TaskTable::new(1).unwrap();
        let page = table.status(0);
        page.open(1);
        page.begin_item(0, 5);
        assert!(page.keep(0, b"123") && page.keep(1, b"abcdefghi") && !page.keep(2, &[0; BUFFER]));
        let progress = page.progress();
        assert_eq!((progress.begun, progress.kept, progress.base, page.current_item()), (1, 2, 0, Some((1, 5))));
        assert_eq!((&page.result_buffer()[..3], &page.result_buffer()[8..17]), (&b"123"[..], &b"abcdefghi"[..]));
        page.sent(2);
        assert_eq!((page.progress().base, page.keep(2, &[1; BUFFER])), (2, true));
    }
}
