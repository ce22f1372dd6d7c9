//! The ring: items of one size that go from many to many, first in, first out, in memory that anybody may be killed in.
//!
//! # Layout
//! ```text
//! tail side   lock (40 bytes), closed (4), the segment's (4), tail (8), the last seen head (8)
//! head side   lock (40 bytes), unused (4), the segment's (4), head (8), unused (8)
//! doors       four gates (4 bytes each): consumers, producers, tail lock, head lock; shared (4), changes (4), level (4),
//!             a gate for joiners (4), tasks done (8), tasks that came back (4), unsure (4)
//! slots       a power of two of them: stamp (8), then the item, filled up to 8
//! ```
//! A line each, the head's side behind the tail's. `tail` and `head` count items since the ring was made. Item number n lies
//! in slot n modulo the slots, and is there when the slot's stamp is n + 1. A ring that grows (`grow`) has twice as many
//! slots with each level.
//!
//! # Protocol
//! 1. push, under the tail's lock: if fewer items than may be lie between head and tail, the item is written, then its
//!    **stamp** (Release: the commit), then the tail.
//! 2. pop, under the head's lock: if the slot's stamp (Acquire) says that the item is there, it is copied out, then the
//!    **head** goes up (Release: the commit).
//! 3. Behind each, the lock being free again and still in the pending slot, *rule R*: items and sleeping consumers: one is
//!    woken for each item pushed, and one more behind a pop; room and sleeping producers: as many as were taken; waiters for
//!    a free lock: one. A push that failed wakes no producer, a pop that failed no consumer, else they wake each other for
//!    ever. If the holder before died, or the ring is closed: all.
//! 4. sleep: the gate is armed, a lock goes into the pending slot, the index that changes with what one waits for is read,
//!    both locks get W, the data is looked at again; then sleep on gate, both locks and, last, that index: it is compared
//!    when the sleeper is in all queues already, so what was committed since ends the sleep, also if who did it died before
//!    its wake. Who wakes and does not get what it waits for, or gives up, follows rule R for the others; where items need more
//!    room or less, and the kernel woke it, also for those who wait for the same. DIED in a lock is taken over, and all are
//!    woken.
//!
//! # Invariants
//! * I1: a push commits by the stamp. Before it nothing is there; behind it the item is delivered once, and the tail, if it
//!   stayed behind, is moved by the next holder of its lock.
//! * I2: a pop commits by the head. Before it the item stays; behind it nobody gets it again.
//! * I3: slots between head and tail do not change. A producer writes only where a consumer has been; a consumer copies
//!   before it commits.
//! * I4: the death of a lock's holder leaves nothing to repair but the tail.
//! * I5: if somebody sleeps on what is true, a living thread or the kernel owes a wake (rule R, E1, G1).
//! * I6: no number read from shared memory is used but modulo the slots, or in comparisons; how many items may be, and
//!   where they lie, is private.
//!
//! # If a process dies here
//! By I1, I2 and I4 its item is in or not, out or not. Its locks: see `section`. A wake that it owed, or swallowed: the
//! kernel wakes one who sleeps on the lock in its pending slot, if that is free, who wakes whom the rule says; if it is
//! held, the holder does.
#![allow(unsafe_code)] // the ring lies in shared memory

mod grow;
mod pop;
mod push;
mod source;
mod wait;

pub(crate) use grow::{Burial, Growth};
pub(crate) use pop::{KeptPopping, Popping};
pub(crate) use push::{KeptPushing, Pushing};
pub use source::RingSource;
pub(crate) use wait::{AdaptiveSpin, For, Peers};

use crate::segment::{IN_FLIGHT_AT, LINE};
use crate::sync::backstop;
use crate::sync::section::{self, Section};
use crate::sync::{EventCount, LockFailure, RawLock, Timeout};
use std::ptr::NonNull;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicU32, AtomicU64};

#[repr(C, align(64))]
pub(crate) struct Half {
    pub(crate) lock: RawLock,
    /// The tail's side: 1 when nothing more may come.
    closed: AtomicU32,
    /// The segment's, which counts handles in messages here.
    flights: AtomicU32,
    /// The tail, or the head.
    index: AtomicU64,
    /// The tail's side: the head as it was once; it may be further.
    seen: AtomicU64,
}

#[repr(C, align(64))]
struct WaitQueues {
    consumers: EventCount,
    producers: EventCount,
    tail: EventCount,
    head: EventCount,
    /// 1 when the ring ever had a second holder.
    shared: AtomicU32,
    /// How often the last holder of a process has gone, or one has come for whom somebody waited.
    changes: AtomicU32,
    /// How often the slots were doubled.
    level: AtomicU32,
    /// Where those sleep who wait for the end of all tasks.
    joiners: EventCount,
    /// How many tasks are done, and how many came back.
    done: AtomicU64,
    returned: AtomicU32,
    /// 1 when somebody may sleep who knows of holders, but not of which.
    unsure: AtomicU32,
}

const _: () = assert!(size_of::<Half>() == LINE && size_of::<WaitQueues>() == LINE);
const _: () = assert!(std::mem::offset_of!(Half, flights) == IN_FLIGHT_AT);

/// Where the parts of a ring lie.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Addresses {
    /// Two lines, which begin with locks.
    pub(crate) sides: NonNull<u8>,
    /// One line.
    pub(crate) doors: NonNull<u8>,
    pub(crate) slots: NonNull<u8>,
}

/// A ring, and its measures, which are private (I6).
#[derive(Debug)]
pub(crate) struct Ring {
    site: Addresses,
    /// At most so many items at once.
    items: u64,
    /// One less than the slots of level 0.
    mask: u64,
    pub(crate) growth: Option<Growth>,
    /// What one pop frees may be too little for one producer and enough for another: all are woken.
    wakes_all: bool,
}

// SAFETY: it stands for shared memory for any thread of any process, behind locks of its own; its owner has the handle that
// keeps that mapped.
unsafe impl Send for Ring {}
// SAFETY: as above.
unsafe impl Sync for Ring {}

/// What somebody did before rule R.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Push(u32),
    Pop(u32),
    FailToPush,
    FailToPop,
    /// Did not get a lock in time: a wake that it had may be what others need.
    GiveUp,
    /// Closed, or left, or found a dead one: all are woken.
    Change,
    /// Ended a task.
    Finish,
}

/// Why nothing was pushed or popped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RingError {
    /// Full, or empty.
    NotNow,
    Closed,
    Timeout,
    /// Nobody else can ever change it.
    Alone,
    /// There is no memory to grow into.
    NoSpace,
    /// This thread itself is in the way: it reads or writes in place.
    Deadlock,
    /// The item that is next has so many bytes, more than there is room for.
    TooShort(usize),
    /// The item that is next is cut.
    Truncated,
    Corrupt,
}

impl From<LockFailure> for RingError {
    fn from(refusal: LockFailure) -> Self {
        match refusal {
            // Also of a try, which waits for a lock as long as one is ever held.
            LockFailure::WouldBlock | LockFailure::Timeout => RingError::Timeout,
            LockFailure::Deadlock => RingError::Deadlock,
            _ => RingError::Corrupt,
        }
    }
}

/// No memory, or an address that nobody can have.
impl From<crate::SegmentError> for RingError {
    fn from(_: crate::SegmentError) -> Self {
        RingError::NoSpace
    }
}

#[inline(always)]
const fn stride(size: usize) -> usize {
    8 + size.next_multiple_of(8)
}

/// How many bytes the slots of a ring take that can have so many items without growing.
pub(crate) fn room_for(items: usize, size: usize) -> Option<usize> {
    items.max(1).checked_next_power_of_two()?.checked_mul(stride(size))
}

impl Ring {
    /// The ring at a place with [`room_for`] so many items.
    pub(crate) fn of(site: Addresses, items: usize) -> Self {
        let items = items.max(1);
        let mask = items.next_power_of_two() as u64 - 1;
        Ring { site, items: items as u64, mask, growth: None, wakes_all: false }
    }

    /// It may have that many items, for which it grows.
    pub(crate) fn growing(self, items: u64, growth: Growth) -> Self {
        Ring { items, growth: Some(growth), ..self }
    }

    pub(crate) fn waking_all(self) -> Self {
        Ring { wakes_all: true, ..self }
    }

    #[inline(always)]
    pub(crate) fn tail(&self) -> &Half {
        // SAFETY: the object has it there, and is mapped as long as its handle, which we live in.
        unsafe { self.site.sides.cast().as_ref() }
    }

    #[inline(always)]
    pub(crate) fn head(&self) -> &Half {
        // SAFETY: as above, one line on.
        unsafe { self.site.sides.add(LINE).cast().as_ref() }
    }

    #[inline(always)]
    fn doors(&self) -> &WaitQueues {
        // SAFETY: as above.
        unsafe { self.site.doors.cast().as_ref() }
    }

    #[inline(always)]
    pub(crate) fn level(&self) -> u32 {
        if self.growth.is_none() { 0 } else { self.doors().level.load(Acquire) }
    }

    /// How many slots there are at some level.
    #[inline(always)]
    pub(crate) fn slots(&self, level: u32) -> u64 {
        (self.mask + 1) << level.min(31)
    }

    /// The stamp of the slot for this item; the item follows.
    #[inline(always)]
    pub(crate) fn slot(&self, size: usize, number: u64, level: u32) -> Result<&AtomicU64, RingError> {
        let index = number & (self.slots(level) - 1);
        if index > self.mask {
            return self.slot_behind(size, index);
        }
        let at = index as usize * stride(size);
        // SAFETY: inside the slots by `room_for` and I6; aligned, since a stride is.
        Ok(unsafe { self.site.slots.add(at).cast().as_ref() })
    }

    #[inline(always)]
    pub(crate) fn is_there(&self, size: usize, number: u64, level: u32) -> bool {
        // What cannot be looked at counts: the try says why.
        self.slot(size, number, level).map_or(true, |stamp| stamp.load(Acquire) == number.wrapping_add(1))
    }

    /// A lock was not to be had.
    #[cold]
    fn give_up(&self, size: usize, refusal: LockFailure) -> RingError {
        self.wake(size, Operation::GiveUp);
        refusal.into()
    }

    /// Lets a lock go and follows rule R.
    #[inline(always)]
    fn leave(&self, section: Section<'_>, size: usize, did: Operation) {
        let did = if section.owner_died() { Operation::Change } else { did };
        section.leave(|| {
            let doors = self.doors();
            if did == Operation::Change
                || did == Operation::Finish
                || doors.consumers.has_waiters()
                || doors.producers.has_waiters()
                || doors.tail.has_waiters()
                || doors.head.has_waiters()
            {
                self.wake(size, did);
            }
        });
    }

    /// Rule R.
    #[cold]
    #[inline(never)]
    fn wake(&self, size: usize, did: Operation) {
        let doors = self.doors();
        let all = did == Operation::Change || self.tail().closed.load(SeqCst) != 0;
        let most = |count: u32| if all { EventCount::ALL } else { count };
        let (pushed, popped) = match did {
            Operation::Push(count) => (count, 1),
            Operation::Pop(count) => (1, count),
            _ => (1, 1),
        };
        let popped = if self.wakes_all { EventCount::ALL } else { popped };
        if doors.consumers.has_waiters() && (all || did != Operation::FailToPop && self.has_work(size)) {
            doors.consumers.notify(most(pushed));
        }
        if doors.producers.has_waiters() && (all || did != Operation::FailToPush && self.has_room()) {
            doors.producers.notify(most(popped));
        }
        if doors.tail.has_waiters() && (all || !self.tail().lock.is_held()) {
            doors.tail.notify(most(1));
        }
        if doors.head.has_waiters() && (all || !self.head().lock.is_held()) {
            doors.head.notify(most(1));
        }
        if doors.joiners.has_waiters() && (all || self.is_done(size)) {
            doors.joiners.notify(EventCount::ALL);
        }
    }

    /// Whether a consumer has something to do.
    fn has_work(&self, size: usize) -> bool {
        self.has_items(size) || self.returned() != 0
    }

    /// How many tasks came back and are with nobody.
    pub(crate) fn returned(&self) -> u32 {
        self.doors().returned.load(SeqCst)
    }

    pub(crate) fn set_returned(&self, count: u32) {
        self.doors().returned.store(count, SeqCst);
    }

    /// How many of the items that ever came in are done with.
    pub(crate) fn done(&self) -> u64 {
        self.doors().done.load(SeqCst)
    }

    pub(crate) fn set_done(&self, count: u64) {
        self.doors().done.store(count, SeqCst);
    }

    /// Whether all of them are.
    pub(crate) fn is_done(&self, size: usize) -> bool {
        self.end(size, self.tail().index.load(SeqCst)) <= self.done()
    }

    #[inline(always)]
    pub(crate) fn has_items(&self, size: usize) -> bool {
        loop {
            let head = self.head().index.load(SeqCst);
            if self.is_there(size, head, self.level()) {
                return true;
            }
            // A whole turn of the ring in between would look like an empty one.
            if self.head().index.load(SeqCst) == head {
                return false;
            }
        }
    }

    #[inline(always)]
    pub(crate) fn has_room(&self) -> bool {
        self.has_room_for(1)
    }

    #[inline(always)]
    fn has_room_for(&self, count: u64) -> bool {
        let head = self.head().index.load(SeqCst);
        self.between(head, self.tail().index.load(SeqCst)).is_some_and(|used| used + count <= self.items)
    }

    /// How many items are between them, if that can be. The tail stays behind for a moment, also behind the head, when an
    /// item was committed.
    #[inline(always)]
    fn between(&self, head: u64, tail: u64) -> Option<u64> {
        let used = tail.wrapping_sub(head);
        match used <= self.items {
            true => Some(used),
            false => (head.wrapping_sub(tail) <= self.slots(self.level())).then_some(0),
        }
    }

    /// The holder of the tail's lock died: its items that are committed count (I1). Under that lock.
    #[cold]
    fn move_tail(&self, size: usize) {
        let side = self.tail();
        side.index.store(self.end(size, side.index.load(Relaxed)), Release);
        if let Some(growth) = &self.growth {
            growth.producer_died();
        }
    }

    /// The holder of the head's lock died. Under that lock.
    #[cold]
    fn consumer_died(&self) {
        if let Some(growth) = &self.growth {
            growth.consumer_died(self);
        }
    }

    /// The tail, from one that may have stayed behind.
    fn end(&self, size: usize, tail: u64) -> u64 {
        let level = self.level();
        let slots = self.slots(level);
        let is_there =
            |number| self.slot(size, number, level).is_ok_and(|stamp| stamp.load(Acquire) == number.wrapping_add(1));
        let committed = (0..slots).take_while(|i| is_there(tail.wrapping_add(*i))).count() as u64;
        tail.wrapping_add(committed)
    }

    /// The numbers of the next item to pop, and to push; the second may stay behind.
    pub(crate) fn marks(&self) -> (u64, u64) {
        let head = self.head().index.load(SeqCst);
        (head, self.tail().index.load(SeqCst))
    }

    /// How many items are in.
    pub(crate) fn len(&self, size: usize) -> usize {
        let mut head = self.head().index.load(SeqCst);
        // A moment at which both were so; where others are too busy for one, nearly.
        for _ in 0..100 {
            let tail = self.end(size, self.tail().index.load(SeqCst));
            let now = self.head().index.load(SeqCst);
            if now == head {
                return self.between(head, tail).unwrap_or(self.items) as usize;
            }
            head = now;
        }
        self.between(head, self.end(size, self.tail().index.load(SeqCst))).unwrap_or(self.items) as usize
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.tail().closed.load(SeqCst) != 0
    }

    /// Nothing more comes in.
    pub(crate) fn close(&self, size: usize) {
        let side = self.tail();
        // Whoever has damaged the lock does not keep the queue open.
        let section = section::enter(&side.lock, &self.doors().tail, Timeout::at_most(2 * backstop::PERIOD));
        side.closed.store(1, SeqCst);
        match section {
            Ok(section) => {
                if section.owner_died() {
                    self.move_tail(size);
                }
                self.leave(section, size, Operation::Change);
            }
            Err(_) => self.wake(size, Operation::Change),
        }
    }

    /// There is, or is about to be, another holder than this one.
    pub(crate) fn share(&self) {
        if !self.is_shared() {
            self.doors().shared.store(1, SeqCst);
        }
    }

    pub(crate) fn is_shared(&self) -> bool {
        self.doors().shared.load(SeqCst) != 0
    }

    /// What is known of the holders is so until this changes.
    #[inline(always)]
    pub(crate) fn changes(&self) -> u32 {
        self.doors().changes.load(Relaxed)
    }

    /// A process has come, and is on the roster: who waits for an unknown one can watch it.
    pub(crate) fn tell_arrival(&self) {
        if self.doors().unsure.swap(0, SeqCst) != 0 {
            self.tell_change();
        }
    }

    /// Whoever comes from here on tells.
    fn ask_for_arrivals(&self) {
        self.doors().unsure.store(1, SeqCst);
    }

    /// Somebody may be the last who sleeps.
    pub(crate) fn tell_change(&self) {
        let doors = self.doors();
        doors.changes.fetch_add(1, SeqCst);
        doors.consumers.notify(EventCount::ALL);
        doors.producers.notify(EventCount::ALL);
    }
}
