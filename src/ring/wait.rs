//! Waiting for an item, or for room: looking for a while, then sleeping (step 4 of the ring's protocol).

use super::{Half, Operation, Ring, RingError};
use crate::segment::UNKNOWN;
use crate::sync::EventCount;
use crate::sync::Timeout;
use crate::sync::backstop;
use crate::sync::section::{self, SleepWord};
use crate::sync::spin;
use crate::sys::robust_list::PendingSlot;
use crate::sys::watcher::{self, WatchOutcome};
use crate::sys::{Deadline, process_id};
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicU32, AtomicU64};

/// What one waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum For {
    Items,
    Room,
    /// All tasks to end.
    Done,
}

/// Who else has the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peers {
    /// Nobody, for good: what one waits for will never come.
    Alone,
    /// Somebody whose end will be news, or a change.
    Watched,
    /// Somebody of whom nothing is known, so that one has to look again.
    Unknown,
}

impl Peers {
    /// Another process, by its tag: its end is news from here on.
    pub(crate) fn of(tag: u64) -> Self {
        match tag != UNKNOWN && watcher::process(tag) == WatchOutcome::Watched {
            true => Peers::Watched,
            false => Peers::Unknown,
        }
    }
}

/// What a handle has learned, privately: how many looks pay before a sleep (more when they have paid lately, fewer when
/// not), and up to which changes and news it is known to have company.
#[derive(Debug)]
pub(crate) struct AdaptiveSpin {
    most: AtomicU32,
    /// How often somebody waited.
    turns: AtomicU32,
    /// How often in a row it came within the first looks, and how often makes a stream.
    at_once: AtomicU32,
    stream: AtomicU32,
    known: AtomicU64,
}

impl AdaptiveSpin {
    /// So many at once are a stream, in which a break pays, and how long that is: dozens of items. Where it did not pay, since
    /// each one is an answer to the one before, twice as many make a stream, up to a limit.
    const STREAM: u32 = 8;
    const LONGEST_STREAM: u32 = 1 << 13;
    const BREAK: u32 = 40;

    pub(crate) fn new() -> Self {
        AdaptiveSpin {
            most: AtomicU32::new(0),
            turns: AtomicU32::new(0),
            at_once: AtomicU32::new(0),
            stream: AtomicU32::new(Self::STREAM),
            known: AtomicU64::new(u64::MAX),
        }
    }

    /// Whether there is still the company that there was.
    #[inline(always)]
    pub(crate) fn knows(&self, ring: &Ring) -> bool {
        self.known.load(Relaxed) == moment(ring)
    }

    /// Looks who else is there, unless that is known.
    pub(crate) fn is_alone(&self, ring: &Ring, ask: &dyn Fn() -> Peers) -> bool {
        let now = moment(ring); // before the look: what changes meanwhile is to be looked at again
        if self.known.load(Relaxed) == now {
            return false;
        }
        let mut company = ask();
        if company == Peers::Unknown {
            ring.ask_for_arrivals();
            company = ask(); // it may have come in between
        }
        self.known.store(if company == Peers::Watched { now } else { u64::MAX }, Relaxed);
        company == Peers::Alone
    }

    /// Looks until it is so, or it is time to sleep.
    ///
    /// Each look takes a line of the cache from who is about to write it. Where what is waited for comes again and again at
    /// once, that is what makes it slow, so there is a break before the first look, as long as there are `several` behind it.
    fn until(&self, is_so: impl Fn() -> bool, several: impl Fn() -> bool) -> bool {
        if process_id::cores() < 2 {
            return is_so();
        }
        let stream = self.stream.load(Relaxed);
        if self.at_once.load(Relaxed) >= stream {
            (0..Self::BREAK).for_each(|_| std::hint::spin_loop());
            if is_so() && several() {
                self.stream.store(Self::STREAM, Relaxed);
                return true;
            }
            self.stream.store((stream * 2).min(Self::LONGEST_STREAM), Relaxed);
            self.at_once.store(0, Relaxed);
        }
        let turn = self.turns.load(Relaxed).wrapping_add(1);
        self.turns.store(turn, Relaxed);
        let found = spin::spin_until(&self.most, turn, is_so);
        if let Some(look) = found {
            self.at_once.store(if look < 3 { self.at_once.load(Relaxed) + 1 } else { 0 }, Relaxed);
        }
        found.is_some()
    }
}

/// What has been told of who holds the ring: changes of holders, and news of processes that ended.
#[inline(always)]
fn moment(ring: &Ring) -> u64 {
    u64::from(ring.changes()) << 32 | u64::from(watcher::epoch().load(Relaxed))
}

/// A thread that sleeps with a lock of a ring in its pending slot.
pub(crate) struct Sleeper(PendingSlot);

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.0.clear();
    }
}

impl Ring {
    /// Waits until a try makes sense again: it is `ready`. `company` is asked rarely.
    ///
    /// If it gives `Ok`, this thread may have a lock of the ring in its pending slot (I5): the try must follow at once, or
    /// [`Ring::pass_on_alone`], for the wake may have been the only one.
    #[cold]
    #[inline(never)]
    pub(crate) fn wait(
        &self,
        size: usize,
        what: For,
        patience: Timeout,
        looks: &AdaptiveSpin,
        ready: &dyn Fn() -> bool,
        company: &dyn Fn() -> Peers,
    ) -> Result<(), RingError> {
        // Where it is closed, the try says so.
        let ready = || ready() || what == For::Room && self.is_closed();
        let deadline = match patience {
            Timeout::Never => None,
            Timeout::At(deadline) => Some(deadline),
            Timeout::Now => return self.refuse(what, looks, &ready, company),
        };
        let several = || match what {
            For::Items => self.is_there(size, self.head().index.load(Relaxed).wrapping_add(1), self.level()),
            For::Room => self.has_room_for(2),
            For::Done => false,
        };
        if looks.until(ready, several) {
            return Ok(());
        }
        let (gate, slot, failed) = match what {
            For::Items => (&self.doors().consumers, self.tail(), Operation::FailToPop),
            For::Room => (&self.doors().producers, self.head(), Operation::FailToPush),
            For::Done => (&self.doors().joiners, self.head(), Operation::FailToPush),
        };
        loop {
            let news = watcher::epoch().load(SeqCst);
            let armed = gate.prepare_wait();
            let closed = self.is_closed();
            if ready() {
                return Ok(()); // also what was committed before the end
            }
            if closed && what != For::Done {
                return Err(RingError::Closed);
            }
            self.check(size)?;
            if looks.is_alone(self, company) && !ready() {
                return Err(RingError::Alone);
            }
            if deadline.is_some_and(Deadline::has_passed) {
                return Err(RingError::Timeout);
            }
            let me = PendingSlot::set_in_section(slot.lock.word());
            let data = self.data(what);
            let marks = self
                .mark(size, self.tail(), patience)
                .and_then(|tail| Ok((tail, self.mark(size, self.head(), patience)?)))
                .inspect_err(|_| me.clear())?;
            let (Some(tail), Some(head)) = marks else {
                continue; // somebody had died: all were woken
            };
            if ready() {
                return Ok(());
            }
            let until = backstop::slice(deadline, backstop::IDLE_PERIOD);
            let locks = [(self.tail().lock.word(), tail), (self.head().lock.word(), head)];
            let by_a_death = gate.wait(armed, [locks[0], locks[1], (watcher::epoch(), news), data], until);
            if ready() {
                return Ok(());
            }
            // Whatever ended the sleep was not for us. If the kernel did, it was for one of all: also for one who needs less
            // room. If the gate did, they were all woken.
            self.wake(size, if by_a_death && what == For::Room { Operation::Pop(1) } else { failed });
            me.clear();
            if until.is_some_and(Deadline::has_passed) {
                backstop::mark_owner_died(self.tail().lock.word());
                backstop::mark_owner_died(self.head().lock.word());
            }
        }
    }

    /// A word that changes when what one waits for comes, and what it is now. Nobody wakes it.
    fn data(&self, what: For) -> (&AtomicU32, u32) {
        let word = match what {
            For::Items => &self.tail().index,
            For::Room => &self.head().index,
            For::Done => &self.doors().done,
        };
        (low_half(word), word.load(SeqCst) as u32)
    }

    /// For one who sleeps on words of several rings: its own are added, and to `last` what is to be compared last. False:
    /// somebody had died, and all were woken.
    pub(crate) fn arm<'a>(
        &'a self,
        size: usize,
        with_locks: bool,
        words: &mut Vec<(&'a AtomicU32, u32)>,
        last: &mut Vec<(&'a AtomicU32, u32)>,
    ) -> bool {
        let gate = &self.doors().consumers;
        words.push((gate.word(), gate.prepare_wait()));
        if !with_locks {
            return true;
        }
        last.push(self.data(For::Items));
        [self.tail(), self.head()].into_iter().all(|side| match self.mark(size, side, Timeout::Never) {
            Ok(Some(word)) => {
                words.push((side.lock.word(), word));
                true
            }
            Ok(None) => false,
            Err(_) => true, // damaged: what comes of it, the get tells
        })
    }

    /// From here on a lock of the ring is in this thread's pending slot, until that is dropped.
    pub(crate) fn enter_sleep(&self) -> Sleeper {
        Sleeper(PendingSlot::set_in_section(self.tail().lock.word()))
    }

    /// One who may have been woken for what it does not take: the next one is.
    pub(crate) fn pass_on(&self, size: usize) {
        self.wake(size, Operation::FailToPush);
    }

    /// The same for one whose wait was all that it wanted: no try follows.
    pub(crate) fn pass_on_alone(&self, size: usize) {
        let sleeper = self.enter_sleep();
        self.pass_on(size);
        drop(sleeper);
    }

    /// What a try that does not wait hears.
    fn refuse(
        &self,
        what: For,
        looks: &AdaptiveSpin,
        ready: &dyn Fn() -> bool,
        company: &dyn Fn() -> Peers,
    ) -> Result<(), RingError> {
        let stop = match self.is_closed() {
            true if what != For::Done => RingError::Closed,
            _ if looks.is_alone(self, company) => RingError::Alone,
            _ => RingError::NotNow,
        };
        // What came before the end counts, but for who waits for room: that would come for nobody.
        if what == For::Items && ready() { Ok(()) } else { Err(stop) }
    }

    /// A lock is ready to be slept on. None: its holder had died; it was taken over, and all are awake.
    fn mark(&self, size: usize, side: &Half, patience: Timeout) -> Result<Option<u32>, RingError> {
        match section::set_waiters(&side.lock)? {
            SleepWord::Ready(word) => Ok(Some(word)),
            SleepWord::OwnerDied => {
                let is_tail = std::ptr::eq(side, self.tail());
                let gate: &EventCount = if is_tail { &self.doors().tail } else { &self.doors().head };
                let section = section::enter(&side.lock, gate, patience)?;
                match is_tail {
                    true => self.move_tail(size),
                    false => self.consumer_died(),
                }
                self.leave(section, size, Operation::Change);
                Ok(None)
            }
        }
    }

    /// Whether head and tail can be what they are, as far as one can tell while others move them.
    fn check(&self, size: usize) -> Result<(), RingError> {
        let state = || {
            let (head, tail) = self.marks();
            (head, tail, self.is_there(size, head, self.level()))
        };
        let (head, tail, there) = state();
        let wrong = self.between(head, tail).is_none_or(|used| used > 0 && !there);
        if wrong && state() == (head, tail, there) { Err(RingError::Corrupt) } else { Ok(()) }
    }
}

/// The half that changes with every step.
fn low_half(word: &AtomicU64) -> &AtomicU32 {
    let half = std::ptr::from_ref(word).cast::<AtomicU32>();
    // SAFETY: one of the two halves of a word that is only ever used by atomic accesses; only the kernel reads it.
    #[allow(unsafe_code)]
    unsafe {
        &*half.add(usize::from(cfg!(target_endian = "big")))
    }
}
