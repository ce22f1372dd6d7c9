//! Waiting for items, for room, or until all items are acknowledged: spin for a while, then sleep (step 4 of the ring's
//! protocol).

use super::error::RingError;
use super::layout::Half;
use super::peers::Peers;
use super::ring::Ring;
use super::wake::Operation;
use crate::sync::backstop::{self, IDLE_PERIOD};
use crate::sync::{EventCount, Timeout};
use crate::sys::robust_list::PendingSlot;
use crate::sys::{Deadline, watcher};
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicU32, AtomicU64};

/// What a thread waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum WaitFor {
    Items,
    Room,
    /// All items are acknowledged.
    Drained,
}

/// A word, and the value with which a thread may sleep on it.
type SleepOn<'a> = (&'a AtomicU32, u32);

/// A thread that sleeps with a lock of a ring in its pending slot.
pub(crate) struct Sleeper(PendingSlot);

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.0.clear();
    }
}

impl Ring {
    /// Waits until an operation may succeed: until `ready`. `peers` is called rarely.
    ///
    /// After `Ok` this thread may have a lock of the ring in its pending slot (ring-I5). The caller must begin an
    /// operation at once, or call [`Ring::pass_on_alone`]: the wake that it received may have been the only one.
    #[cold]
    #[inline(never)]
    pub(crate) fn wait(
        &self,
        what: WaitFor,
        timeout: Timeout,
        ready: &dyn Fn() -> bool,
        peers: &dyn Fn() -> Peers,
    ) -> Result<(), RingError> {
        // A wait for room ends when the ring is closed: the push returns the error.
        let ready = || ready() || what == WaitFor::Room && self.is_closed();
        let deadline = match timeout {
            Timeout::Never => None,
            Timeout::At(deadline) => Some(deadline),
            Timeout::Now => return self.do_not_wait(what, &ready, peers),
        };
        if self.spin.until(ready, || self.has_several(what)) {
            return Ok(());
        }
        let (queue, half, failed) = self.where_to_wait(what);
        loop {
            let epoch = watcher::epoch().load(SeqCst);
            let key = queue.prepare_wait();
            if !self.must_sleep(what, deadline, &ready, peers)? {
                return Ok(());
            }
            let me = PendingSlot::set_in_section(half.lock.word());
            let data = self.data(what);
            let locks = self.prepare_locks(timeout).inspect_err(|_| me.clear())?;
            let Some([tail, head]) = locks else {
                continue; // a holder had died, and all were woken
            };
            if ready() {
                return Ok(());
            }
            let until = backstop::slice(deadline, IDLE_PERIOD);
            let by_a_death = queue.wait(key, [tail, head, (watcher::epoch(), epoch), data], until);
            if ready() {
                return Ok(());
            }
            // The wake was for another thread. If it came from the kernel, it was the only one, and may be meant for a
            // producer that needs less room. If it came from the wait queue, all such producers were woken.
            self.wake(if by_a_death && what == WaitFor::Room { Operation::Pop(1) } else { failed });
            me.clear();
            if until.is_some_and(Deadline::has_passed) {
                backstop::mark_owner_died(self.tail().lock.word());
                backstop::mark_owner_died(self.head().lock.word());
            }
        }
    }

    /// Whether there is more than one of what a thread waits for.
    fn has_several(&self, what: WaitFor) -> bool {
        match what {
            WaitFor::Items => self.is_there(self.head().index.load(Relaxed).wrapping_add(1), self.level()),
            WaitFor::Room => self.has_room_for(2),
            WaitFor::Drained => false,
        }
    }

    /// The wait queue, the half whose lock is in the pending slot meanwhile, and the operation as which a wake is
    /// passed on.
    fn where_to_wait(&self, what: WaitFor) -> (&EventCount, &Half, Operation) {
        match what {
            WaitFor::Items => (&self.queues().consumers, self.tail(), Operation::FailedPop),
            WaitFor::Room => (&self.queues().producers, self.head(), Operation::FailedPush),
            WaitFor::Drained => (&self.queues().drained, self.head(), Operation::FailedPush),
        }
    }

    /// False if the wait has ended, an error if it never will or the time is over.
    fn must_sleep(
        &self,
        what: WaitFor,
        deadline: Option<Deadline>,
        ready: &dyn Fn() -> bool,
        peers: &dyn Fn() -> Peers,
    ) -> Result<bool, RingError> {
        let closed = self.is_closed(); // before `ready`: items that were committed before the close count
        if ready() {
            return Ok(false);
        }
        if closed && what != WaitFor::Drained {
            return Err(RingError::Closed);
        }
        self.check()?;
        if self.is_alone(peers) && !ready() {
            return Err(RingError::Alone);
        }
        if deadline.is_some_and(Deadline::has_passed) {
            return Err(RingError::Timeout);
        }
        Ok(true)
    }

    /// A word that changes when what a thread waits for comes, and its value. No thread wakes those that sleep on it.
    fn data(&self, what: WaitFor) -> SleepOn<'_> {
        let word = match what {
            WaitFor::Items => &self.tail().index,
            WaitFor::Room => &self.head().index,
            WaitFor::Drained => &self.queues().acknowledged,
        };
        (low_half(word), word.load(SeqCst) as u32)
    }

    /// Prepares a sleep at this ring and others: adds the words to sleep on, and to `last` those that must be compared
    /// last. Returns false if the holder of a lock had died: then all were woken, and the caller must not sleep.
    pub(crate) fn prepare_wait<'a>(
        &'a self,
        with_locks: bool,
        words: &mut Vec<SleepOn<'a>>,
        last: &mut Vec<SleepOn<'a>>,
    ) -> bool {
        let queue = &self.queues().consumers;
        words.push((queue.word(), queue.prepare_wait()));
        if !with_locks {
            return true;
        }
        last.push(self.data(WaitFor::Items));
        [self.tail(), self.head()].into_iter().all(|half| match self.prepare_lock(half, Timeout::Never) {
            Ok(Some(word)) => {
                words.push(word);
                true
            }
            Ok(None) => false,
            Err(_) => true, // the lock's word is damaged: the pop returns the error
        })
    }

    /// Puts a lock of the ring into this thread's pending slot, for as long as the result lives.
    pub(crate) fn begin_sleep(&self) -> Sleeper {
        Sleeper(PendingSlot::set_in_section(self.tail().lock.word()))
    }

    /// Passes on a wake that the caller may have received and does not use.
    pub(crate) fn pass_on(&self) {
        self.wake(Operation::FailedPush);
    }

    /// [`Ring::pass_on`] for a caller that begins no operation after its wait.
    pub(crate) fn pass_on_alone(&self) {
        let sleeper = self.begin_sleep();
        self.pass_on();
        drop(sleeper);
    }

    /// The result of a wait with no time.
    fn do_not_wait(&self, what: WaitFor, ready: &dyn Fn() -> bool, peers: &dyn Fn() -> Peers) -> Result<(), RingError> {
        let error = match self.is_closed() {
            true if what != WaitFor::Drained => RingError::Closed,
            _ if self.is_alone(peers) => RingError::Alone,
            _ => RingError::NotNow,
        };
        // Items that were committed before the close can still be popped. Room is of no use then.
        if what == WaitFor::Items && ready() { Ok(()) } else { Err(error) }
    }

    /// Prepares both locks to be slept on. `None` if the holder of one had died.
    fn prepare_locks(&self, timeout: Timeout) -> Result<Option<[SleepOn<'_>; 2]>, RingError> {
        let tail = self.prepare_lock(self.tail(), timeout)?;
        let head = self.prepare_lock(self.head(), timeout)?;
        Ok(tail.and_then(|tail| Some([tail, head?])))
    }

    /// Prepares a lock to be slept on. `None` if its holder had died: then the half was repaired, and all were woken.
    fn prepare_lock<'a>(&'a self, half: &'a Half, timeout: Timeout) -> Result<Option<SleepOn<'a>>, RingError> {
        match crate::sync::section::set_waiters(&half.lock)? {
            crate::sync::section::SleepWord::Ready(word) => Ok(Some((half.lock.word(), word))),
            crate::sync::section::SleepWord::OwnerDied => {
                let section = match std::ptr::eq(half, self.tail()) {
                    true => self.lock_tail(timeout)?,
                    false => self.lock_head(timeout)?,
                };
                self.leave(section, Operation::Change);
                Ok(None)
            }
        }
    }

    /// Whether head and tail are possible, as far as that can be seen while others move them.
    fn check(&self) -> Result<(), RingError> {
        let state = || {
            let (head, tail) = self.positions();
            (head, tail, self.is_there(head, self.level()))
        };
        let (head, tail, there) = state();
        let wrong = self.between(head, tail).is_none_or(|used| used > 0 && !there);
        if wrong && state() == (head, tail, there) { Err(RingError::Corrupt) } else { Ok(()) }
    }
}

/// The half of a word that changes with each increment.
fn low_half(word: &AtomicU64) -> &AtomicU32 {
    let half = std::ptr::from_ref(word).cast::<AtomicU32>();
    // SAFETY: one of the two halves of a word that is only used by atomic accesses. Only the kernel reads the half.
    #[allow(unsafe_code)]
    unsafe {
        &*half.add(usize::from(cfg!(target_endian = "big")))
    }
}
