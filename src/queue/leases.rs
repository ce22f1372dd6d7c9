//! The tasks of a queue that somebody works at: each lies in a *hand* until it is done.
//!
//! # Layout
//! One line of the queue's object: `used` (4 bytes), how many hands were ever in use; and at 8 `kept`, one more than the number
//! of the oldest task in hand that has handles in it, or 0. The hands are in the annex, 1 KiB each:
//! ```text
//! offset 0    holder       nobody (0), came back, done, or the tag of the process that works at the task
//!        8    number       which item of the queue it was
//!        16   target       how many tasks are done when this one is
//!        24   deliveries   how often it was given out
//!        28   long         1: its bytes are in the annex by themselves
//!        32   note, and bytes if they fit
//! ```
//!
//! # Protocol
//! All under the lock of the ring's head:
//! 1. take: a free hand gets the item, then a holder, then the ring's **head** goes up (the commit).
//! 2. take again, one that came back: its deliveries, then its **holder**.
//! 3. done: the target, then the **holder** is `done`; the queue's count is the target; the hand is free.
//! 4. come back: the **holder**.
//!
//! # Invariants
//! * T1: a hand counts if its number is below the head.
//! * T3: the handles in a task's message count as on their way until the task is done, and the satchel keeps what they need
//!   (`kept` is set before 1's commit): it may be read again by somebody else.
//! * T2: a hand that is found `done` under the lock is a dead one's: the rest of 3 is done again, which changes nothing.
//!
//! # If a process dies here
//! Before 1's commit the hand does not count: whoever takes that item next frees it. Behind it, and behind 2, the task is in
//! a dead one's hand, and comes back when somebody sees that its holder is gone.
#![allow(unsafe_code)] // hands in shared memory

use crate::SegmentError;
use crate::messages::record::{Flags, Record};
use crate::messages::{KEPT_AT, MessageRing};
use crate::ring::{Popping, RingError};
use crate::segment::Segment;
use crate::sync::atomic_copy;
use crate::sys::process_id::{self, ProcessId};
use std::ptr::NonNull;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicU32, AtomicU64};

const HAND: usize = 1024;
const ROOM: usize = HAND - 32 - size_of::<Record>();
/// So many tasks can be in hands at once.
const MOST: u32 = 4096;
/// Pages are taken for so many at a time.
const PIECE: u32 = 64;

const FREE: u64 = 0;
const CAME_BACK: u64 = u64::MAX;
const DONE: u64 = u64::MAX - 1;

#[repr(C)]
struct Lease {
    holder: AtomicU64,
    number: AtomicU64,
    target: AtomicU64,
    deliveries: AtomicU32,
    long: AtomicU32,
    note: [AtomicU64; size_of::<Record>() / 8],
    bytes: [AtomicU64; ROOM / 8],
}

const _: () = assert!(size_of::<Lease>() == HAND);

impl Lease {
    fn note(&self) -> Record {
        let mut note = Record::default();
        // SAFETY: a hand's note is one, and any bytes are.
        unsafe { atomic_copy::load(self.note.as_ptr(), (&raw mut note).cast(), size_of::<Record>()) };
        note
    }

    fn has_handles(&self) -> bool {
        self.note().flags().has_handles()
    }
}

/// The hands of a queue, under the lock of its ring's head.
pub(super) struct Hands<'a> {
    mail: &'a MessageRing,
    popping: Popping<'a>,
    used: &'a AtomicU32,
    kept: &'a AtomicU64,
    first: Option<NonNull<Lease>>,
}

/// A task in a hand of this process.
#[derive(Clone, Copy, Debug)]
pub(super) struct LeaseId {
    pub(super) hand: u32,
    pub(super) number: u64,
    pub(super) deliveries: u32,
}

/// What a hand holds.
pub(super) struct Content {
    pub(super) grip: LeaseId,
    pub(super) note: Record,
    /// The bytes, unless they are in the note.
    pub(super) bytes: Vec<u8>,
}

impl<'a> Hands<'a> {
    /// How many bytes of the annex all hands have.
    pub(super) const BYTES: usize = MOST as usize * HAND;

    pub(super) fn of(mail: &'a MessageRing, popping: Popping<'a>) -> Result<Self, (RingError, Popping<'a>)> {
        // SAFETY: a line of the object that is ours, and consists of atomics.
        let (used, kept): (&AtomicU32, &AtomicU64) =
            unsafe { (&*mail.tasks().cast().as_ptr(), &*mail.tasks().add(KEPT_AT).cast().as_ptr()) };
        let first = match used.load(SeqCst) {
            0 => None,
            _ => match mail.segment().and_then(|segment| segment.table(Self::BYTES)) {
                Ok(first) => Some(first.cast()),
                Err(_) => return Err((RingError::NoSpace, popping)),
            },
        };
        let hands = Hands { mail, popping, used, kept, first };
        hands.end_what_is_done();
        Ok(hands)
    }

    /// Those that were ever in use.
    fn each(&self) -> impl Iterator<Item = (u32, &Lease)> {
        let used = if self.first.is_some() { self.used.load(SeqCst).min(MOST) } else { 0 };
        (0..used).filter_map(|at| Some((at, self.hand(at)?)))
    }

    fn hand(&self, at: u32) -> Option<&Lease> {
        // SAFETY: below MOST, which are mapped; pages are taken before `used` says so. It consists of atomics.
        self.first.filter(|_| at < MOST).map(|first| unsafe { first.add(at as usize).as_ref() })
    }

    fn segment(&self) -> Result<&Segment, SegmentError> {
        self.mail.segment()
    }

    /// T2.
    fn end_what_is_done(&self) {
        for (at, hand) in self.each().filter(|(_, hand)| hand.holder.load(SeqCst) == DONE) {
            self.mail.ring.set_acknowledged(self.mail.ring.acknowledged().max(hand.target.load(SeqCst)));
            self.free(at, hand);
        }
    }

    fn free(&self, at: u32, hand: &Lease) {
        if hand.long.swap(0, SeqCst) != 0
            && let Ok(segment) = self.segment()
        {
            segment.punch_overflow(at);
        }
        hand.holder.store(FREE, SeqCst);
        if self.kept.load(SeqCst) != 0 {
            self.kept.store(self.oldest_with_handles().map_or(0, |number| number.wrapping_add(1)), SeqCst);
        }
    }

    fn oldest_with_handles(&self) -> Option<u64> {
        let with_handles = self.in_use().filter(|(_, hand)| hand.has_handles());
        with_handles.map(|(_, hand)| hand.number.load(SeqCst)).min()
    }

    /// Those that count (T1).
    fn in_use(&self) -> impl Iterator<Item = (u32, &Lease)> {
        let head = self.popping.number();
        self.each().filter(move |(_, hand)| hand.holder.load(SeqCst) != FREE && hand.number.load(SeqCst) < head)
    }

    /// Tasks of the dead come back.
    pub(super) fn bring_back(&self) {
        let mut alive = vec![ProcessId::current().tag()];
        for (_, hand) in self.in_use() {
            let holder = hand.holder.load(SeqCst);
            if holder == CAME_BACK || alive.contains(&holder) {
                continue;
            }
            if process_id::tag_is_alive(holder) {
                alive.push(holder);
            } else {
                hand.holder.store(CAME_BACK, SeqCst);
            }
        }
        self.count();
    }

    /// Says how many came back.
    fn count(&self) {
        let count = self.in_use().filter(|(_, hand)| hand.holder.load(SeqCst) == CAME_BACK).count();
        self.mail.ring.set_requeued(count as u32);
    }

    /// The first of those that came back, if there is one: this process's from here on.
    pub(super) fn take_again(&self) -> Result<Option<Content>, RingError> {
        let came_back = self.in_use().filter(|(_, hand)| hand.holder.load(SeqCst) == CAME_BACK);
        let Some((at, hand)) = came_back.min_by_key(|(_, hand)| hand.number.load(SeqCst)) else {
            self.count();
            return Ok(None);
        };
        let content = self.read(at, hand)?;
        let deliveries = hand.deliveries.load(SeqCst).saturating_add(1);
        hand.deliveries.store(deliveries, SeqCst);
        hand.holder.store(ProcessId::current().tag(), SeqCst);
        self.count();
        Ok(Some(Content { grip: LeaseId { deliveries, ..content.grip }, ..content }))
    }

    fn read(&self, at: u32, hand: &Lease) -> Result<Content, RingError> {
        let note = hand.note();
        let grip = LeaseId { hand: at, number: hand.number.load(SeqCst), deliveries: hand.deliveries.load(SeqCst) };
        let mut bytes = Vec::new();
        if !note.is_inline() {
            let length = usize::try_from(note.length()).map_err(|_| RingError::Corrupt)?;
            let is_long = hand.long.load(SeqCst) != 0;
            if is_long && note.length() > self.segment()?.allocated_bytes() || !is_long && length > ROOM {
                return Err(RingError::Corrupt);
            }
            bytes.try_reserve_exact(length).map_err(|_| RingError::NoSpace)?;
            bytes.resize(length, 0);
            if !is_long {
                // SAFETY: at most ROOM bytes.
                unsafe { atomic_copy::load(hand.bytes.as_ptr(), bytes.as_mut_ptr(), length) };
            } else if !self.segment()?.read_overflow(at, &mut bytes)? {
                return Err(RingError::Truncated);
            }
        }
        Ok(Content { grip, note, bytes })
    }

    /// The next item of the ring goes into a hand, if there is one.
    pub(super) fn take(&mut self) -> Result<Option<Content>, RingError> {
        let Some(note) = self.mail.record_at(&self.popping, 0)? else { return Ok(None) };
        let mut bytes = Vec::new();
        self.mail.read(&note, usize::MAX, &mut bytes)?;
        let at = self.free_hand()?;
        let Some(hand) = self.hand(at) else { return Err(RingError::Corrupt) };
        let is_long = bytes.len() > ROOM;
        if is_long {
            // Before the bytes, so that they are given back in any case.
            hand.long.store(1, SeqCst);
            if let Err(error) = self.segment()?.write_overflow(at, &bytes) {
                self.free(at, hand);
                return Err(error.into());
            }
        } else {
            // SAFETY: at most ROOM bytes.
            unsafe { atomic_copy::store(hand.bytes.as_ptr(), bytes.as_ptr(), bytes.len()) };
        }
        // SAFETY: a note is as large.
        unsafe { atomic_copy::store(hand.note.as_ptr(), (&raw const note).cast(), size_of::<Record>()) };
        let number = self.popping.number();
        if note.flags().has_handles() {
            let oldest = self.oldest_with_handles().unwrap_or(number);
            self.kept.store(oldest.wrapping_add(1), SeqCst); // T3
        }
        hand.number.store(number, SeqCst);
        hand.deliveries.store(1, SeqCst);
        hand.holder.store(ProcessId::current().tag(), SeqCst);
        self.popping.commit(1);
        Ok(Some(Content { grip: LeaseId { hand: at, number, deliveries: 1 }, note, bytes }))
    }

    /// A hand that is free, or does not count, since its holder died before it did.
    fn free_hand(&mut self) -> Result<u32, RingError> {
        let head = self.popping.number();
        let mut found = None;
        for (at, hand) in self.each() {
            if hand.holder.load(SeqCst) != FREE && hand.number.load(SeqCst) >= head {
                self.free(at, hand);
            }
            if found.is_none() && hand.holder.load(SeqCst) == FREE {
                self.free(at, hand); // with what one who died left in it
                found = Some(at);
            }
        }
        match found {
            Some(at) => Ok(at),
            None => self.new_hand(),
        }
    }

    fn new_hand(&mut self) -> Result<u32, RingError> {
        let used = self.used.load(SeqCst).min(MOST);
        if used == MOST {
            return Err(RingError::NoSpace);
        }
        if used.is_multiple_of(PIECE) {
            self.segment()?.allocate_table(used as usize * HAND, PIECE as usize * HAND)?;
        }
        if self.first.is_none() {
            self.first = Some(self.segment()?.table(Self::BYTES)?.cast());
        }
        self.used.store(used + 1, SeqCst);
        Ok(used)
    }

    /// Whether this process holds that task.
    fn is_mine(&self, grip: &LeaseId) -> Option<&Lease> {
        self.hand(grip.hand).filter(|hand| {
            hand.holder.load(SeqCst) == ProcessId::current().tag() && hand.number.load(SeqCst) == grip.number
        })
    }

    /// The message of a task with handles that is about to be done (T3).
    pub(super) fn message_with_handles(&self, grip: &LeaseId) -> Option<Content> {
        let hand = self.is_mine(grip).filter(|hand| hand.has_handles())?;
        self.read(grip.hand, hand).ok()
    }

    /// Step 3.
    pub(super) fn finish(&self, grip: &LeaseId) {
        if let Some(hand) = self.is_mine(grip) {
            let target = self.mail.ring.acknowledged().wrapping_add(1);
            hand.target.store(target, SeqCst);
            hand.holder.store(DONE, SeqCst);
            self.mail.ring.set_acknowledged(target);
            self.free(grip.hand, hand);
        }
    }

    /// Step 4.
    pub(super) fn put_back(&self, grip: &LeaseId) {
        if let Some(hand) = self.is_mine(grip) {
            hand.holder.store(CAME_BACK, SeqCst);
            self.count();
        }
    }

    /// The task is this process's no more, and not done: it was got as an item.
    pub(super) fn let_go(&self, grip: &LeaseId) {
        if let Some(hand) = self.is_mine(grip) {
            self.free(grip.hand, hand);
        }
    }

    /// How many items were got, are in no hand, and are not done.
    pub(super) fn got(&self) -> u64 {
        let in_hands = self.in_use().count() as u64;
        self.popping.number().saturating_sub(self.mail.ring.acknowledged()).saturating_sub(in_hands)
    }

    /// One of them is done.
    pub(super) fn finish_got(&self) {
        self.mail.ring.set_acknowledged(self.mail.ring.acknowledged().wrapping_add(1));
    }

    /// A task ended, or came back.
    pub(super) fn leave(self, came_back: bool) {
        self.popping.finish_acknowledged(came_back);
    }

    /// An item was taken from the ring into a hand.
    pub(super) fn leave_taken(self, note: &Record) {
        self.mail.finish_committed(self.popping, note);
    }

    pub(super) fn fail(self, stop: RingError) -> RingError {
        self.popping.fail(stop)
    }
}

impl Content {
    pub(super) fn bytes(&self) -> &[u8] {
        if self.note.is_inline() { self.note.bytes() } else { &self.bytes }
    }

    pub(super) fn flags(&self) -> Flags {
        self.note.flags()
    }
}
