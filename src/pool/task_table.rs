//! What a pool and its workers write down for each other: who has which task, and how far it is with it.
//!
//! # Layout
//! Words of 8 bytes:
//! ```text
//! word 0                      entries    one for each task that is on its way
//!      tasks + seat * 16      sheets     one for each worker's seat, in two lines: the task's, and the counts
//!      behind the sheets      scratches  of 8 KiB, one for each seat: results that are not sent yet
//! ```
//! An entry is `generation` (24 bits), `worker` (20 bits), `item` (16 bits), `state` (4 bits).
//!
//! # Protocol
//! 1. The pool writes `queued` into an entry, and then sends the task, which names the entry and its generation.
//! 2. A worker that takes the task writes `claimed` and its number, while the task is still in the ring and the ring's head is
//!    its own; then the head moves.
//! 3. It changes that to `begun` before it looks at the task, or lets it be if the pool has taken it back.
//! 4. In a task of several items: each result goes into the scratch, then into the count of those that are **kept**.
//! 5. `begun` becomes `ended` (or, where items are timed, `begun` for the next item); behind that the result is sent.
//! 6. The pool reads the result and gives the entry another generation.
//!
//! # Invariants
//! * B1: a task is run only behind the change from `claimed` to `begun` by the worker whose number is there; so once.
//! * B2: the pool takes a task back only by a change from `queued` or `claimed`, or from `begun` to `overdue`: then its
//!   worker's next change fails, and its result is never sent.
//! * B3: an entry's generation names one sending of one task: what is in the ring under another one is of the past.
//! * B4: the sheet and the scratch of a seat are one worker's from its birth until the pool has dealt with its death.
//!
//! # If a process dies here
//! A worker, before step 2's move of the head: the task is in the ring still, and who takes it next writes its own number.
//! Behind it and before step 3: it was not begun, and is sent again under another generation. Behind that: its items that are
//! kept, or were sent, are done; the first that is not, if it was begun, died with the worker; the others are sent again. The
//! pool: its workers die with it.
#![allow(unsafe_code)] // bytes of a scratch

use crate::sync::atomic_copy;
use crate::{RawArray, SegmentError};
use serde::{Deserialize, Serialize};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

/// So many tasks can be on their way at once, or two for each worker.
const TASKS: usize = 1024;
const SHEET: usize = 16;
/// Bytes.
pub(super) const SCRATCH: usize = 8 << 10;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Board {
    words: RawArray<u64>,
    tasks: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Free,
    Queued,
    Claimed,
    Begun,
    Ended,
    Overdue,
}

/// An entry, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) generation: u32,
    pub(super) worker: u32,
    pub(super) item: u16,
    pub(super) state: State,
}

/// Workers are counted up to here, and then anew.
pub(super) const WORKERS: u32 = 1 << 20;
const GENERATIONS: u32 = 1 << 24;

pub(super) fn next_generation(generation: u32) -> u32 {
    (generation + 1) % GENERATIONS
}

impl Entry {
    fn word(self) -> u64 {
        u64::from(self.generation) << 40
            | u64::from(self.worker) << 20
            | u64::from(self.item) << 4
            | match self.state {
                State::Free => 0,
                State::Queued => 1,
                State::Claimed => 2,
                State::Begun => 3,
                State::Ended => 4,
                State::Overdue => 5,
            }
    }

    fn of(word: u64) -> Self {
        Entry {
            generation: (word >> 40) as u32,
            worker: (word >> 20) as u32 % WORKERS,
            item: (word >> 4) as u16,
            state: match word & 15 {
                1 => State::Queued,
                2 => State::Claimed,
                3 => State::Begun,
                4 => State::Ended,
                5 => State::Overdue,
                _ => State::Free,
            },
        }
    }
}

impl Board {
    /// For so many seats.
    pub(super) fn new(seats: usize) -> Result<Self, SegmentError> {
        let tasks = seats.saturating_mul(2).max(TASKS);
        let words = seats.checked_mul(SHEET + SCRATCH / 8).and_then(|words| words.checked_add(tasks));
        let words = RawArray::zeroed(words.ok_or(SegmentError::TooLarge)?)?;
        Ok(Board { words, tasks })
    }

    pub(super) fn words(&self) -> &RawArray<u64> {
        &self.words
    }

    /// How many tasks can be on their way.
    pub(super) fn tasks(&self) -> usize {
        self.tasks
    }

    fn word(&self, slot: u32) -> Option<&AtomicU64> {
        self.words.words().get(..self.tasks)?.get(slot as usize)
    }

    pub(super) fn entry(&self, slot: u32) -> Entry {
        Entry::of(self.word(slot).map_or(0, |word| word.load(SeqCst)))
    }

    /// Step 1, and step 6.
    pub(super) fn set(&self, slot: u32, generation: u32, state: State) {
        if let Some(word) = self.word(slot) {
            word.store(Entry { generation, worker: 0, item: 0, state }.word(), SeqCst);
        }
    }

    /// One change of an entry, unless somebody else has changed it.
    pub(super) fn change(&self, slot: u32, from: Entry, to: Entry) -> bool {
        self.word(slot).is_some_and(|word| word.compare_exchange(from.word(), to.word(), SeqCst, SeqCst).is_ok())
    }

    /// Step 2, under the lock of the ring's head: whoever else is written down took it, and died before the head moved. False:
    /// the pool has taken it back.
    pub(super) fn claim(&self, slot: u32, generation: u32, worker: u32) -> bool {
        loop {
            let entry = self.entry(slot);
            let is_in = matches!(entry.state, State::Queued | State::Claimed) && entry.generation == generation;
            if !is_in {
                return false;
            }
            if self.change(slot, entry, Entry { worker, state: State::Claimed, ..entry }) {
                return true;
            }
        }
    }

    /// Step 3. False: the pool has taken it back.
    pub(super) fn begin(&self, slot: u32, generation: u32, worker: u32) -> bool {
        let claimed = Entry { generation, worker, item: 0, state: State::Claimed };
        self.change(slot, claimed, Entry { state: State::Begun, ..claimed })
    }

    /// Step 5, behind that item. False: it is overdue.
    pub(super) fn end(&self, slot: u32, generation: u32, worker: u32, item: u32, next: Option<u32>) -> bool {
        let begun = Entry { generation, worker, item: item as u16, state: State::Begun };
        let to = match next {
            Some(next) => Entry { item: next as u16, ..begun },
            None => Entry { state: State::Ended, ..begun },
        };
        self.change(slot, begun, to)
    }

    pub(super) fn sheet(&self, seat: usize) -> WorkerStatus<'_> {
        let (_, rest) = self.words.words().split_at(self.tasks);
        let seats = rest.len() / (SHEET + SCRATCH / 8);
        let seat = seat.min(seats - 1);
        let (sheets, scratches) = rest.split_at(seats * SHEET);
        WorkerStatus {
            words: &sheets[seat * SHEET..][..SHEET],
            scratch: &scratches[seat * (SCRATCH / 8)..][..SCRATCH / 8],
        }
    }
}

/// What a worker writes down.
#[derive(Clone, Copy)]
pub(super) struct WorkerStatus<'a> {
    words: &'a [AtomicU64],
    scratch: &'a [AtomicU64],
}

// The task's line.
const BEGUN_AT: usize = 0;
const BEGUN: usize = 1;
const KEPT: usize = 2;
const BASE: usize = 3;
const LENGTH: usize = 4;
const SLOT: usize = 5;
/// Not 0 while the worker sends handles, and when it is not to begin that any more, since it will be killed.
const SENDING: usize = 6;
const HALT: usize = 7;
// The counts' line.
const READY: usize = 8;
const DONE: usize = 9;
const ITEMS: usize = 10;
const WORKING: usize = 11;
const WAITING: usize = 12;
/// The number of a shared value that the worker asked for and cannot have.
const REFUSED: usize = 13;

/// How far a task is, as its worker left it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    /// So many of its items were begun.
    pub(super) begun: u32,
    /// So many have a result.
    pub(super) kept: u32,
    /// The first of them whose result is in the scratch.
    pub(super) base: u32,
}

/// Counts of a worker, in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
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

    /// For another worker.
    pub(super) fn clear(&self) {
        self.words.iter().for_each(|word| word.store(0, SeqCst));
    }

    /// Before handles go into a message, whose sender must not die before it is sent, if that can be helped. Does not return
    /// where the worker is about to be killed.
    pub(super) fn begin_sending(&self) {
        self.set(SENDING, 1);
        if self.get(HALT) != 0 {
            self.set(SENDING, 0);
            loop {
                std::thread::park();
            }
        }
    }

    /// Behind that, or where it came to nothing.
    pub(super) fn end_sending(&self) {
        if self.get(SENDING) != 0 {
            self.set(SENDING, 0);
        }
    }

    /// From here on it begins to send no handles. Whether it is in the middle of that.
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

    /// A worker's first word.
    pub(super) fn ready(&self, now: u64) {
        self.set(READY, now);
    }

    /// Before `begin`: nothing of this task is done yet.
    pub(super) fn open(&self, slot: u32) {
        for at in [BEGUN, KEPT, BASE, LENGTH] {
            self.words[at].store(0, Relaxed); // it becomes known by the change of the entry
        }
        self.words[SLOT].store(u64::from(slot), Relaxed);
    }

    /// The next item begins.
    pub(super) fn begin_item(&self, item: u32, now: u64) {
        self.words[BEGUN_AT].store(now, Relaxed);
        self.set(BEGUN, u64::from(item) + 1);
    }

    /// Since when the item that is being worked at is, in which task; none between two tasks.
    pub(super) fn at_work(&self) -> Option<(u32, u64)> {
        let since = self.get(BEGUN_AT);
        (since != 0).then(|| (self.get(SLOT) as u32, since))
    }

    /// Step 4: a result goes into the scratch behind what is there. False: it has no room.
    pub(super) fn keep(&self, item: u32, result: &[u8]) -> bool {
        let from = self.words[LENGTH].load(Relaxed) as usize;
        let room = from.next_multiple_of(8) + result.len().next_multiple_of(8);
        if room > SCRATCH {
            return false;
        }
        // Each begins with a word.
        let at = from.next_multiple_of(8);
        // SAFETY: so many words of the scratch, by the comparison.
        unsafe { atomic_copy::store(self.scratch.as_ptr().add(at / 8), result.as_ptr(), result.len()) };
        self.words[LENGTH].store((at + result.len()) as u64, Relaxed);
        self.set(KEPT, u64::from(item) + 1);
        true
    }

    /// All results up to here are sent.
    pub(super) fn sent(&self, items: u32) {
        // In this order: `kept` is never less than `base`, or than what is in the scratch from there.
        self.set(KEPT, u64::from(items));
        self.set(BASE, u64::from(items));
        self.words[LENGTH].store(0, Relaxed);
    }

    pub(super) fn progress(&self) -> Progress {
        Progress { begun: self.get(BEGUN) as u32, kept: self.get(KEPT) as u32, base: self.get(BASE) as u32 }
    }

    /// What is in the scratch of one who died.
    pub(super) fn scratch(&self) -> Vec<u8> {
        let mut bytes = vec![0; SCRATCH];
        // SAFETY: all of its words.
        unsafe { atomic_copy::load(self.scratch.as_ptr(), bytes.as_mut_ptr(), SCRATCH) };
        bytes
    }

    /// It works at nothing.
    pub(super) fn leave(&self) {
        self.words[BEGUN_AT].store(0, Relaxed);
    }

    /// A task is over.
    pub(super) fn close(&self, items: u32, waited: u64, worked: u64) {
        self.leave();
        for (at, more) in [(DONE, 1), (ITEMS, u64::from(items)), (WAITING, waited), (WORKING, worked)] {
            self.words[at].store(self.words[at].load(Relaxed) + more, Relaxed);
        }
    }

    pub(super) fn counts(&self) -> Counts {
        Counts {
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
    fn a_task_is_begun_once_and_taken_back_before() {
        let board = Board::new(2).unwrap();
        board.set(3, 7, State::Queued);
        assert!(!board.claim(3, 6, 1), "of the past");
        assert!(board.claim(3, 7, 1) && board.claim(3, 7, 2), "the first died before the head moved");
        assert!(!board.begin(3, 7, 1) && board.begin(3, 7, 2) && !board.begin(3, 7, 2));
        assert!(!board.claim(3, 7, 1), "it has begun");
        assert!(board.end(3, 7, 2, 0, Some(1)) && board.end(3, 7, 2, 1, None));
        board.set(3, 8, State::Queued);
        let entry = board.entry(3);
        assert!(board.claim(3, 8, 4) && !board.change(3, entry, Entry { state: State::Free, ..entry }));
        let entry = board.entry(3);
        assert!(board.change(3, entry, Entry { state: State::Free, ..entry }) && !board.begin(3, 8, 4));
    }

    #[test]
    fn what_is_kept_is_found_and_what_is_too_much_is_not_kept() {
        let board = Board::new(1).unwrap();
        let sheet = board.sheet(0);
        sheet.open(1);
        sheet.begin_item(0, 5);
        assert!(sheet.keep(0, b"123") && sheet.keep(1, b"abcdefghi") && !sheet.keep(2, &[0; SCRATCH]));
        let progress = sheet.progress();
        assert_eq!((progress.begun, progress.kept, progress.base, sheet.at_work()), (1, 2, 0, Some((1, 5))));
        assert_eq!((&sheet.scratch()[..3], &sheet.scratch()[8..17]), (&b"123"[..], &b"abcdefghi"[..]));
        sheet.sent(2);
        assert_eq!((sheet.progress().base, sheet.keep(2, &[1; SCRATCH])), (2, true));
    }
}
