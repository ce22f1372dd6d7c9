//! The backstop: a sleeping thread wakes from time to time and checks whether the holder that it waits for still
//! exists.
//!
//! The kernel marks a dead holder's word and wakes a waiter at once. It can miss a death in three cases: two deaths
//! within nanoseconds, a foreign robust mutex in the scope of a guard, and a thread that ended after it leaked a guard.
//! The backstop covers these.

use super::lock_word::LockWord;
use crate::sys::Deadline;
use crate::sys::process_id::{self, ProcessId};
use crate::sys::robust_list::HANDED_OVER;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::time::Duration;

/// How long a thread sleeps at most before it checks the holder of one lock.
pub(crate) const PERIOD: Duration = Duration::from_millis(500);
/// The period of a thread that waits for data, and whose peers' deaths wake it in other ways too: it should hardly ever
/// run.
pub(crate) const IDLE_PERIOD: Duration = Duration::from_secs(2);

static IS_OFF: AtomicBool = AtomicBool::new(false);

/// Switches the backstop. Tests of the protocols switch it off, because it would hide a lost wake from them.
pub(crate) fn switch(on: bool) {
    IS_OFF.store(!on, Relaxed);
}

/// When to wake up at the latest: at the caller's deadline, or for the next check.
pub(crate) fn slice(deadline: Option<Deadline>, period: Duration) -> Option<Deadline> {
    if IS_OFF.load(Relaxed) {
        return deadline;
    }
    let next = Deadline::after(period);
    Some(deadline.map_or(next, |deadline| deadline.min(next)))
}

/// Marks a word whose holder no longer exists as the kernel would have, for words without an owner record.
pub(crate) fn mark_owner_died(word: &AtomicU32) {
    let now = word.load(SeqCst);
    let holder = LockWord(now).holder() & !HANDED_OVER;
    if !LockWord(now).owner_died() && holder != 0 && !process_id::exists(holder) {
        let _ = word.compare_exchange(now, LockWord::DEAD_WITH_WAITERS.0, SeqCst, Relaxed);
    }
}

/// The checks of one thread that waits for one lock.
pub(crate) struct Backstop {
    next: Option<Deadline>,
    watched: Option<(ProcessId, process_id::ProcessWatch)>,
    rounds: u32,
}

impl Backstop {
    pub(crate) fn new() -> Self {
        Backstop { next: None, watched: None, rounds: 0 }
    }

    /// When to wake up at the latest.
    pub(crate) fn slice(&mut self, deadline: Option<Deadline>) -> Option<Deadline> {
        if IS_OFF.load(Relaxed) {
            return deadline;
        }
        let next = *self.next.get_or_insert_with(|| Deadline::after(PERIOD));
        Some(deadline.map_or(next, |deadline| deadline.min(next)))
    }

    /// Called after each sleep. Once a period, a word that is still `expected`, and whose holder is gone, gets the mark
    /// that the kernel would have written. `owner` reads the owner record.
    pub(crate) fn probe(&mut self, word: &AtomicU32, expected: LockWord, owner: impl Fn() -> ProcessId) {
        if !self.next.is_some_and(Deadline::has_passed) {
            return;
        }
        self.next = Some(Deadline::after(PERIOD));
        if word.load(SeqCst) == expected.0 && self.is_gone(expected.holder(), owner()) {
            let _ = word.compare_exchange(expected.0, LockWord::DEAD_WITH_WAITERS.0, SeqCst, Relaxed);
        }
    }

    fn is_gone(&mut self, tid: u32, owner: ProcessId) -> bool {
        self.rounds += 1;
        if owner.pid == 0 {
            return !process_id::exists(tid);
        }
        let watch = match &mut self.watched {
            Some((watched, watch)) if *watched == owner => watch,
            watched => &mut watched.insert((owner, process_id::ProcessWatch::new(owner))).1,
        };
        // A guard in place that was leaked outlives its thread, and its word has HANDED_OVER. In any other case a
        // thread that is gone left nothing in use: it ended without its destructors, or executed another program under
        // its process's number.
        let outlives = tid & HANDED_OVER != 0;
        !watch.is_alive() || (!outlives && self.rounds.is_multiple_of(2) && !owner.has_thread(tid))
    }
}
