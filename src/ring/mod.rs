//! The ring: items of one size that go from many to many, first in, first out, in memory that anybody may be killed in.
//!
//! # Layout
//! ```text
//! offset 0    tail side   lock (40 bytes), closed (4), the segment's (4), tail (8), the last seen head (8)
//!        64   head side   lock (40 bytes), unused (8), head (8), unused (8)
//!        128  doors       four gates (4 bytes each): consumers, producers, tail lock, head lock; shared (4), left (4)
//!        192  slots       a power of two of them: stamp (8), then the item, filled up to 8
//! ```
//! `tail` and `head` count items since the ring was made. Item number n lies in slot n modulo the slots, and is there when the
//! slot's stamp is n + 1.
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
//! 4. sleep: the gate is armed, both locks get W, the data is looked at again; then sleep on gate and both locks, with a lock
//!    in the pending slot. Who wakes and does not get what it waits for follows rule R for the others. DIED in a lock is
//!    taken over, and all are woken.
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

mod sleep;

pub(crate) use sleep::{For, Looks};

use crate::segment::{LINE, PART_FLIGHTS_AT};
use crate::sync::section::{self, Section};
use crate::sync::{Gate, Patience, RawLock, Refusal, words};
use std::ptr::NonNull;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicU32, AtomicU64};

#[repr(C, align(64))]
struct Side {
    lock: RawLock,
    /// The tail's side: 1 when nothing more may come.
    closed: AtomicU32,
    /// The tail's side: the segment's, which counts handles in messages here.
    flights: AtomicU32,
    /// The tail, or the head.
    index: AtomicU64,
    /// The tail's side: the head as it was once; it may be further.
    seen: AtomicU64,
}

#[repr(C, align(64))]
struct Doors {
    consumers: Gate,
    producers: Gate,
    tail: Gate,
    head: Gate,
    /// 1 when the ring ever had a second holder.
    shared: AtomicU32,
    /// How many holders have gone.
    left: AtomicU32,
}

const SLOTS_AT: usize = 3 * LINE;
const _: () = assert!(size_of::<Side>() == LINE && size_of::<Doors>() == LINE);
const _: () = assert!(std::mem::offset_of!(Side, flights) == PART_FLIGHTS_AT);

/// Where a ring lies, and its measures, which are private (I6).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ring {
    object: NonNull<u8>,
    /// At most so many items at once.
    items: u64,
    mask: u64,
}

/// What somebody did before rule R.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Did {
    Push(u32),
    Pop(u32),
    FailToPush,
    FailToPop,
    /// Closed, or left, or found a dead one: all are woken.
    Change,
}

/// Why nothing was pushed or popped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Full, or empty.
    NotNow,
    Closed,
    Timeout,
    /// Nobody else can ever change it.
    Alone,
    Corrupt,
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            // Also of a try, which waits for a lock as long as one is ever held.
            Refusal::WouldBlock | Refusal::Timeout => Stop::Timeout,
            _ => Stop::Corrupt,
        }
    }
}

#[inline(always)]
const fn stride(size: usize) -> usize {
    8 + size.next_multiple_of(8)
}

/// How many lines with a lock lie in front of the data, and how many bytes a ring takes.
pub(crate) fn shape(items: usize, size: usize) -> Option<(usize, usize)> {
    let slots = items.max(1).checked_next_power_of_two()?;
    Some((1, slots.checked_mul(stride(size))?.checked_add(SLOTS_AT)?))
}

impl Ring {
    /// The ring in an object of [`shape`]'s size.
    pub(crate) fn of(object: NonNull<u8>, items: usize) -> Self {
        let items = items.max(1);
        Ring { object, items: items as u64, mask: items.next_power_of_two() as u64 - 1 }
    }

    #[inline(always)]
    fn tail(&self) -> &Side {
        // SAFETY: the object begins with it, and is mapped as long as its handle, which we live in.
        unsafe { self.object.cast().as_ref() }
    }

    #[inline(always)]
    fn head(&self) -> &Side {
        // SAFETY: as above, one line on.
        unsafe { self.object.add(LINE).cast().as_ref() }
    }

    #[inline(always)]
    fn doors(&self) -> &Doors {
        // SAFETY: as above, two lines on.
        unsafe { self.object.add(2 * LINE).cast().as_ref() }
    }

    /// The stamp of the slot for this item; the item follows.
    #[inline(always)]
    fn slot(&self, size: usize, number: u64) -> &AtomicU64 {
        let at = SLOTS_AT + (number & self.mask) as usize * stride(size);
        // SAFETY: inside the object by `shape` and I6; aligned, since a stride is.
        unsafe { self.object.add(at).cast().as_ref() }
    }

    #[inline(always)]
    fn is_there(&self, size: usize, number: u64) -> bool {
        self.slot(size, number).load(Acquire) == number.wrapping_add(1)
    }

    /// Puts items in that lie one behind the other at `from`, as many as there is room for: at least one, or it says why not.
    ///
    /// # Safety
    /// `from` leads to `count` items of `size` bytes each, `count` not 0.
    #[inline(always)]
    pub(crate) unsafe fn push(
        &self,
        size: usize,
        from: *const u8,
        count: usize,
        patience: Patience,
    ) -> Result<usize, Stop> {
        let side = self.tail();
        let section = section::enter(&side.lock, &self.doors().tail, patience)?;
        if section.died() {
            self.move_tail(size);
        }
        let tail = side.index.load(Relaxed);
        let room = match self.room(side, tail) {
            Ok(room) => room,
            Err(stop) => {
                self.leave(section, size, Did::FailToPush);
                return Err(stop);
            }
        };
        let pushed = count.min(room as usize);
        for i in 0..pushed {
            let number = tail.wrapping_add(i as u64);
            let stamp = self.slot(size, number);
            // SAFETY: the slot has room for an item behind its stamp, `from` for `count` of them.
            unsafe { words::store(std::ptr::from_ref(stamp).add(1), from.add(i * size), size) };
            stamp.store(number.wrapping_add(1), Release); // I1
        }
        side.index.store(tail.wrapping_add(pushed as u64), Release);
        self.leave(section, size, Did::Push(pushed as u32));
        Ok(pushed)
    }

    /// How many items have room, under the tail's lock.
    #[inline(always)]
    fn room(&self, side: &Side, tail: u64) -> Result<u64, Stop> {
        if side.closed.load(Relaxed) != 0 {
            return Err(Stop::Closed);
        }
        let used = tail.wrapping_sub(side.seen.load(Relaxed));
        if used < self.items { Ok(self.items - used) } else { self.room_now(side, tail) }
    }

    #[inline(never)]
    fn room_now(&self, side: &Side, tail: u64) -> Result<u64, Stop> {
        let head = self.head().index.load(Acquire); // I3: the consumer's copy is behind us
        side.seen.store(head, Relaxed);
        match self.items.checked_sub(tail.wrapping_sub(head)) {
            Some(0) => Err(Stop::NotNow),
            Some(room) => Ok(room),
            None => Err(Stop::Corrupt),
        }
    }

    /// Takes at most `count` items out, one behind the other to `to`: at least one, or it says why not.
    ///
    /// # Safety
    /// `to` leads to room for `count` items of `size` bytes each, `count` not 0.
    #[inline(always)]
    pub(crate) unsafe fn pop(&self, size: usize, to: *mut u8, count: usize, patience: Patience) -> Result<usize, Stop> {
        let side = self.head();
        let section = section::enter(&side.lock, &self.doors().head, patience)?;
        let head = side.index.load(Relaxed);
        let mut popped = 0;
        while popped < count {
            let number = head.wrapping_add(popped as u64);
            let stamp = self.slot(size, number);
            if stamp.load(Acquire) != number.wrapping_add(1) {
                break;
            }
            // SAFETY: the slot has an item behind its stamp, `to` room for `count` of them.
            unsafe { words::load(std::ptr::from_ref(stamp).add(1), to.add(popped * size), size) };
            popped += 1;
            if popped as u64 > self.mask {
                break;
            }
        }
        if popped == 0 {
            self.leave(section, size, Did::FailToPop);
            return Err(Stop::NotNow);
        }
        side.index.store(head.wrapping_add(popped as u64), Release); // I2
        self.leave(section, size, Did::Pop(popped as u32));
        Ok(popped)
    }

    /// Lets a lock go and follows rule R.
    #[inline(always)]
    fn leave(&self, section: Section<'_>, size: usize, did: Did) {
        let did = if section.died() { Did::Change } else { did };
        section.leave(|| {
            let doors = self.doors();
            if did == Did::Change
                || doors.consumers.has_sleepers()
                || doors.producers.has_sleepers()
                || doors.tail.has_sleepers()
                || doors.head.has_sleepers()
            {
                self.wake(size, did);
            }
        });
    }

    /// Rule R.
    #[cold]
    #[inline(never)]
    fn wake(&self, size: usize, did: Did) {
        let doors = self.doors();
        let all = did == Did::Change || self.tail().closed.load(SeqCst) != 0;
        let most = |count: u32| if all { Gate::ALL } else { count };
        let (pushed, popped) = match did {
            Did::Push(count) => (count, 1),
            Did::Pop(count) => (1, count),
            _ => (1, 1),
        };
        if doors.consumers.has_sleepers() && (all || did != Did::FailToPop && self.has_items(size)) {
            doors.consumers.ring(most(pushed));
        }
        if doors.producers.has_sleepers() && (all || did != Did::FailToPush && self.has_room()) {
            doors.producers.ring(most(popped));
        }
        if doors.tail.has_sleepers() && (all || !self.tail().lock.is_held()) {
            doors.tail.ring(most(1));
        }
        if doors.head.has_sleepers() && (all || !self.head().lock.is_held()) {
            doors.head.ring(most(1));
        }
    }

    #[inline(always)]
    pub(crate) fn has_items(&self, size: usize) -> bool {
        self.is_there(size, self.head().index.load(SeqCst))
    }

    #[inline(always)]
    pub(crate) fn has_room(&self) -> bool {
        let head = self.head().index.load(SeqCst);
        self.between(head, self.tail().index.load(SeqCst)).is_some_and(|used| used < self.items)
    }

    /// How many items are between them, if that can be. The tail stays behind for a moment, also behind the head, when an
    /// item was committed.
    #[inline(always)]
    fn between(&self, head: u64, tail: u64) -> Option<u64> {
        let used = tail.wrapping_sub(head);
        match used <= self.items {
            true => Some(used),
            false => (head.wrapping_sub(tail) <= self.mask + 1).then_some(0),
        }
    }

    /// The holder of the tail's lock died: its items that are committed count (I1). Under that lock.
    #[cold]
    fn move_tail(&self, size: usize) {
        let side = self.tail();
        side.index.store(self.end(size, side.index.load(Relaxed)), Release);
    }

    /// The tail, from one that may have stayed behind.
    fn end(&self, size: usize, tail: u64) -> u64 {
        let slots = self.mask + 1;
        let committed = (0..slots).take_while(|i| self.is_there(size, tail.wrapping_add(*i))).count() as u64;
        tail.wrapping_add(committed)
    }

    /// How many items are in.
    pub(crate) fn len(&self, size: usize) -> usize {
        let head = self.head().index.load(SeqCst);
        let tail = self.end(size, self.tail().index.load(SeqCst));
        self.between(head, tail).unwrap_or(self.items) as usize
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.tail().closed.load(SeqCst) != 0
    }

    /// Nothing more comes in.
    pub(crate) fn close(&self, size: usize) {
        let side = self.tail();
        // Whoever has damaged the lock does not keep the queue open.
        let section = section::enter(&side.lock, &self.doors().tail, Patience::at_most(2 * section::PERIOD));
        side.closed.store(1, SeqCst);
        match section {
            Ok(section) => {
                if section.died() {
                    self.move_tail(size);
                }
                self.leave(section, size, Did::Change);
            }
            Err(_) => self.wake(size, Did::Change),
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

    /// A holder is gone: who sleeps may be the last.
    pub(crate) fn leave_others(&self) {
        let doors = self.doors();
        doors.left.fetch_add(1, SeqCst);
        doors.consumers.ring(Gate::ALL);
        doors.producers.ring(Gate::ALL);
    }
}
