//! The state of a semaphore. Each permit has a *slot*: a word that carries the number of the thread that holds the
//! permit.
//!
//! # Layout
//! ```text
//! waiters    event count of the threads that wait
//! wake_word  always 0: waiting threads sleep on it too, and have it in the pending slot
//! present    the number of permit slots in use, the first ones; it only grows
//! budget     how many looks pay before a sleep: a guess
//! reserve    the number of permits without a slot, because all slots are in use
//! bound      the largest number of permits
//! slots      0: available; a thread's number with WAITERS: held; OWNER_DIED: available; FORGOTTEN: held by no thread
//! ```
//!
//! # Protocol
//! 1. Take: the permit's word goes into the pending slot; available -> the number, with WAITERS (for the kernel's
//!    wake), SeqCst. If a thread sleeps and another permit is available, one is woken. The word stays in pending slot
//!    or list.
//! 2. Release: the word into the pending slot; number -> 0 (SeqCst); if a thread sleeps, one is woken; the pending slot
//!    is cleared last.
//! 3. Wait: the wake word into the pending slot; try step 1; prepare to wait; read `present` and the words of the
//!    permits; if one of these is available, start again; sleep while all of these and the wake word keep their values;
//!    start again.
//! 4. Forget: as 2, with FORGOTTEN in place of 0, and no wake. Or, if there is a reserve, that decreases by 1, and then
//!    2.
//! 5. Add: the wake word into the pending slot; a word that is FORGOTTEN -> 0, or `present` + 1, or `reserve` + 1; if a
//!    thread sleeps, one is woken, or all if there is a new word to sleep on; the pending slot is cleared last.
//!
//! Orderings: a waiter prepares and then reads the words; a releasing thread frees a word and then reads the event
//! count. All four are `SeqCst`, so at least one of the two sees the other.
//!
//! # Invariants
//! * semaphore-P1: each call has one store that decides: a permit's word, `present`, or `reserve`.
//! * semaphore-P2: a word that carries a number is in that thread's pending slot or list.
//! * semaphore-P3: if a permit is available and a thread sleeps, then some thread is awake that will check, or that
//!   will wake one, or the kernel will on behalf of a dead thread: a waiter sleeps on the wake word, on `present`, and
//!   on the first [`WATCHED`] words that existed by then; a new word wakes all.
//!
//! # If a process dies here
//! With a permit: its word becomes OWNER_DIED, and the kernel wakes one thread that sleeps on it. In 2 or 4, after the
//! store: the kernel wakes one that sleeps on that word, which is in the pending slot and carries no number. A waiter,
//! woken or not, and in 5: the kernel wakes one that sleeps on the wake word. In 1, before the store: one that sleeps
//! on the word, if it is still available; if not, the thread that took it meanwhile wakes one where there is another
//! permit. After the store: OWNER_DIED. What the kernel misses is found by the backstop; so is the case that both the
//! thread that adds a new word and the one that takes it die, and deaths at words after the first [`WATCHED`].

use super::backstop::{self, PERIOD};
use super::event_count::EventCount;
use super::lock_word::LockWord;
use super::raw_lock::{LockFailure, Timeout};
use super::spin;
use crate::sys::robust_list::{self, HANDED_OVER, NODE_ROOM, PendingSlot};
use crate::sys::{Deadline, futex, process_id};
use std::sync::atomic::Ordering::{Acquire, Relaxed, SeqCst};
use std::sync::atomic::{AtomicU32, AtomicU64};

#[repr(C, align(64))]
pub(crate) struct Permits {
    waiters: EventCount,
    wake_word: AtomicU32,
    present: AtomicU32,
    budget: AtomicU32,
    reserve: AtomicU64,
    bound: AtomicU64,
}

#[repr(C, align(64))]
pub(crate) struct PermitSlot {
    word: AtomicU32,
    room: [AtomicU32; 15],
}

const _: () = assert!(size_of::<Permits>() == 64 && size_of::<PermitSlot>() == 64);
const _: () = assert!(std::mem::offset_of!(PermitSlot, word) == 0 && 4 <= NODE_ROOM.start && NODE_ROOM.end <= 64);

/// No thread has this number, and the backstop does not look for one.
const FORGOTTEN: u32 = HANDED_OVER;
/// The number of permits that a waiter can sleep on, beside the other words.
const WATCHED: usize = 120;
const OTHERS: usize = 3;

const _: () = assert!(WATCHED + OTHERS <= futex::MOST_WORDS);

impl PermitSlot {
    /// The word, if the permit is available.
    #[inline(always)]
    fn available(&self) -> Option<u32> {
        let word = self.word.load(SeqCst);
        LockWord(word).is_available().then_some(word)
    }

    /// Makes a forgotten permit available. Returns whether it was one.
    fn restore(&self) -> bool {
        self.word.load(Acquire) == FORGOTTEN && self.word.compare_exchange(FORGOTTEN, 0, SeqCst, Relaxed).is_ok()
    }
}

/// A permit that this thread holds. Not `Send`: it is in the list of a thread.
pub(crate) struct HeldPermit<'a> {
    permit: &'a PermitSlot,
    by: u32,
}

impl HeldPermit<'_> {
    /// The word is in the pending slot again, and no longer carries this thread's number.
    #[inline(always)]
    fn give_up(&self, becomes: u32) -> PendingSlot {
        let slot = PendingSlot::take_back(&self.permit.word);
        // Only if it is this thread's: another program may have written over it.
        let _ = self.permit.word.compare_exchange(LockWord(self.by).with_waiters().0, becomes, SeqCst, Relaxed);
        slot
    }
}

/// Why no permit was added.
pub(crate) enum ReleaseFailure {
    OverRelease,
    Corrupt,
}

/// A semaphore's state, where it lies.
#[derive(Clone, Copy)]
pub(crate) struct PermitTable<'a> {
    pub(crate) permits: &'a Permits,
    pub(crate) slots: &'a [PermitSlot],
}

impl<'a> PermitTable<'a> {
    /// Initialises zeroed memory.
    pub(crate) fn init(self, count: u64, bound: u64) {
        let present = count.min(self.slots.len() as u64);
        self.permits.present.store(present as u32, Relaxed);
        self.permits.reserve.store(count - present, Relaxed);
        self.permits.bound.store(bound, Relaxed);
    }

    /// The slots in use.
    #[inline(always)]
    fn present(self) -> Option<&'a [PermitSlot]> {
        self.slots.get(..self.permits.present.load(SeqCst) as usize)
    }

    pub(crate) fn available(self) -> u64 {
        let slots = self.present().unwrap_or_default();
        let free = slots.iter().filter(|permit| permit.available().is_some()).count() as u64;
        free.saturating_add(self.permits.reserve.load(Acquire))
    }

    fn has_one(self) -> bool {
        self.present().unwrap_or_default().iter().any(|permit| permit.available().is_some())
    }

    #[inline(always)]
    pub(crate) fn acquire(self, timeout: Timeout) -> Result<HeldPermit<'a>, LockFailure> {
        match self.take(PendingSlot::clear)? {
            Some(held) => Ok(held),
            None => self.acquire_contended(timeout),
        }
    }

    /// Step 1. When another thread was faster, `restore_slot` gets the pending slot.
    #[inline(always)]
    fn take(self, restore_slot: impl Fn(PendingSlot)) -> Result<Option<HeldPermit<'a>>, LockFailure> {
        let slots = self.present().ok_or(LockFailure::Corrupt)?;
        // Each thread starts at a slot of its own, which is then in its own cache.
        let first = match slots {
            [_] => 0,
            _ => ((u64::from(robust_list::tid().wrapping_mul(0x9e37_79b1)) * slots.len() as u64) >> 32) as usize,
        };
        let (before, from) = slots.split_at_checked(first).unwrap_or_default();
        for permit in from.iter().chain(before) {
            let Some(word) = permit.available() else { continue };
            let slot = PendingSlot::set(&permit.word)?;
            if permit.word.compare_exchange(word, LockWord(slot.tid).with_waiters().0, SeqCst, Relaxed).is_ok() {
                slot.keep(&permit.word, false);
                if self.permits.waiters.has_waiters() {
                    self.pass_on();
                }
                return Ok(Some(HeldPermit { permit, by: slot.tid }));
            }
            restore_slot(slot);
        }
        Ok(None)
    }

    /// Whether there are more permits than slots.
    fn has_reserve(self) -> bool {
        self.permits.reserve.load(Acquire) > 0
    }

    /// semaphore-P3: the thread that took a permit may have come before another that was woken for it.
    #[cold]
    fn pass_on(self) {
        if self.has_one() {
            self.permits.waiters.notify(1);
        }
    }

    #[cold]
    #[inline(never)]
    fn acquire_contended(self, timeout: Timeout) -> Result<HeldPermit<'a>, LockFailure> {
        let deadline = match timeout {
            Timeout::Now if self.has_reserve() => return Err(LockFailure::TooMany),
            Timeout::Now => return Err(LockFailure::WouldBlock),
            Timeout::At(deadline) => Some(deadline),
            Timeout::Never => None,
        };
        let slot = PendingSlot::set(&self.permits.wake_word)?;
        let outcome = self.wait(deadline);
        if outcome.is_err() {
            slot.clear();
        }
        outcome
    }

    /// Step 3.
    fn wait(self, deadline: Option<Deadline>) -> Result<HeldPermit<'a>, LockFailure> {
        let Permits { waiters, wake_word, present, budget, .. } = self.permits;
        let back_to_wake_word = |_| {
            PendingSlot::set_in_section(wake_word);
        };
        if process_id::cores() > 1 {
            spin::spin_until(budget, waiters.word().load(Relaxed) / 2, || self.has_one());
        }
        loop {
            if let Some(held) = self.take(back_to_wake_word)? {
                return Ok(held);
            }
            let key = waiters.prepare_wait();
            let mut words = [(waiters.word(), key); OTHERS + WATCHED];
            words[1..OTHERS].copy_from_slice(&[(wake_word, 0), (present, present.load(SeqCst))]);
            let slots = self.present().ok_or(LockFailure::Corrupt)?;
            let watched = slots.len().min(WATCHED);
            // The values to sleep on are those that were checked. A second load might see another holder's number, and
            // the first value could be back when the thread goes to sleep.
            let mut all_held = true;
            for (at, permit) in slots.iter().enumerate() {
                let word = permit.word.load(SeqCst);
                all_held &= !LockWord(word).is_available();
                if at < WATCHED {
                    words[OTHERS + at] = (&permit.word, word);
                }
            }
            if !all_held {
                continue;
            }
            if self.has_reserve() {
                return Err(LockFailure::TooMany);
            }
            if wake_word.load(Relaxed) != 0 {
                return Err(LockFailure::Corrupt);
            }
            if deadline.is_some_and(Deadline::has_passed) {
                return Err(LockFailure::Timeout);
            }
            let until = backstop::slice(deadline, PERIOD);
            futex::wait_any(&words[..OTHERS + watched], until);
            if until.is_some_and(Deadline::has_passed) {
                slots.iter().for_each(|permit| backstop::mark_owner_died(&permit.word));
            }
        }
    }

    /// Step 2. A copy in a fork child releases nothing.
    #[inline(always)]
    pub(crate) fn release(self, held: &HeldPermit<'a>) {
        if robust_list::tid() == held.by {
            let slot = held.give_up(0);
            self.notify(1);
            slot.clear();
        }
    }

    #[inline(always)]
    fn notify(self, most: u32) {
        if self.permits.waiters.has_waiters() {
            self.permits.waiters.notify(most);
        }
    }

    /// Step 4: no thread holds the permit from now on, until one is added.
    pub(crate) fn forget(self, held: &HeldPermit<'a>) {
        if robust_list::tid() != held.by {
            return;
        }
        if self.permits.reserve.fetch_update(SeqCst, Relaxed, |reserve| reserve.checked_sub(1)).is_ok() {
            return self.release(held);
        }
        held.give_up(FORGOTTEN).clear();
    }

    /// Step 5: adds a permit.
    pub(crate) fn add(self) -> Result<(), ReleaseFailure> {
        let slot = PendingSlot::set_in_section(&self.permits.wake_word);
        let outcome = self.create().map(|most| self.notify(most));
        slot.clear();
        outcome
    }

    /// The store of step 5. Returns how many to wake: sleeping threads do not know a new word, and its holder's death
    /// would not wake them.
    fn create(self) -> Result<u32, ReleaseFailure> {
        if self.present().ok_or(ReleaseFailure::Corrupt)?.iter().any(PermitSlot::restore) {
            return Ok(1);
        }
        let bound = self.permits.bound.load(Relaxed);
        let slots = bound.min(self.slots.len() as u64);
        let more = |present: u32| (u64::from(present) < slots).then(|| present + 1);
        let more_reserve = |reserve: u64| (reserve < bound - slots).then(|| reserve + 1);
        let Permits { present, reserve, .. } = self.permits;
        if present.fetch_update(SeqCst, SeqCst, more).is_ok() {
            return Ok(EventCount::ALL);
        }
        reserve.fetch_update(SeqCst, Relaxed, more_reserve).map(|_| 1).map_err(|_| ReleaseFailure::OverRelease)
    }
}
