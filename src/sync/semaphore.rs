//! Permits: the state of a semaphore. Each permit is a *token*, a word that carries the number of the thread that has it.
//!
//! # Layout
//! ```text
//! gate       of those who wait
//! bell       always 0: those who wait sleep on it too, and have it in the pending slot
//! present    so many tokens exist, the first ones; only ever more
//! looks      how many looks pay before a sleep: a guess
//! reserve    how many permits there are that have no token, for all tokens are present
//! bound      so many permits there can be
//! tokens     0: available; a thread's number with W: that one's; DIED: available, too; AWAY: forgotten
//! ```
//!
//! # Protocol
//! 1. take: the token into the pending slot; available -> the number, with W (for the kernel's wake), SeqCst. If somebody
//!    sleeps and another token is available, one is woken. The token stays in slot or list.
//! 2. give back: the token into the slot; number -> 0 (SeqCst); if somebody sleeps, one is woken; the slot is emptied last.
//! 3. wait: the bell into the slot; try step 1; arm the gate; note `present` and the tokens' words; if one of those says
//!    that it is available, begin again; sleep while all those and the bell stay as they are; begin again.
//! 4. forget: as 2, with AWAY instead of 0, and nobody to wake; or, where there is a reserve, that is one less, and then 2.
//! 5. add: the bell into the slot; a token that is AWAY -> 0, or `present` + 1, or `reserve` + 1; if somebody sleeps, one is
//!    woken, or all, where there is a new token to sleep on; the slot is emptied last.
//!
//! Orderings: a sleeper arms the gate and then reads the tokens, the other frees a token and then reads the gate, all `SeqCst`.
//!
//! # Invariants
//! * P1: each call has one store that decides: a token's word, `present`, or `reserve`.
//! * P2: a token that carries a number is in that thread's slot or list.
//! * P3: if a token is available and somebody sleeps, then somebody is awake who will look, or who will wake one, or the kernel
//!   will on behalf of one who died: whoever sleeps, sleeps on the bell, on `present`, and on the first [`WATCHED`] tokens
//!   that there were by then; a new one wakes all.
//!
//! # If a process dies here
//! With a token: DIED, and the kernel wakes one who sleeps on it. In 2 or 4, behind the store: the kernel wakes one
//! who sleeps on that token, for it is in the slot and carries no number. A sleeper, woken or not, and in 5: the kernel wakes
//! one who sleeps on the bell. In 1, before the store: one who sleeps on the token if it is available still; if not, who took
//! it meanwhile wakes one where there is another. Behind the store: DIED. What the kernel misses, also where the one who brings a
//! new token and the one who takes it die, and what happens at the tokens behind the first ones, a sleeper finds twice a
//! second.

use super::event_count::{self, EventCount};
use super::raw_lock::{LockFailure, Timeout};
use super::section;
use super::spin;
use crate::sys::robust_list::{self, HANDED_OVER, NODE_ROOM, PendingSlot};
use crate::sys::{Deadline, OWNER_DIED, WAITERS, futex, process_id};
use std::sync::atomic::Ordering::{Acquire, Relaxed, SeqCst};
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::Duration;

#[repr(C, align(64))]
pub(crate) struct Permits {
    gate: EventCount,
    bell: AtomicU32,
    present: AtomicU32,
    looks: AtomicU32,
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

/// No thread has this number, and nobody looks whether one has.
const AWAY: u32 = HANDED_OVER;
/// As many as one can sleep on, beside the other words.
const WATCHED: usize = 120;
const OTHERS: usize = 3;
const PERIOD: Duration = Duration::from_millis(500);

const _: () = assert!(WATCHED + OTHERS <= futex::MOST_WORDS);

#[inline(always)]
fn is_available(word: u32) -> bool {
    matches!(word & !WAITERS, 0 | OWNER_DIED)
}

impl PermitSlot {
    /// The word, if the token is available.
    #[inline(always)]
    fn available(&self) -> Option<u32> {
        let word = self.word.load(SeqCst);
        is_available(word).then_some(word)
    }

    /// Whether it was away.
    fn come_back(&self) -> bool {
        self.word.load(Acquire) == AWAY && self.word.compare_exchange(AWAY, 0, SeqCst, Relaxed).is_ok()
    }
}

/// A token that this thread has. Not `Send`: it is in the list of a thread.
pub(crate) struct HeldPermit<'a> {
    token: &'a PermitSlot,
    by: u32,
}

impl HeldPermit<'_> {
    /// The token is in the slot, and no longer this thread's.
    #[inline(always)]
    fn put_down(&self, becomes: u32) -> PendingSlot {
        let me = PendingSlot::retire(&self.token.word);
        // Only what is ours: somebody may have scribbled over it.
        let _ = self.token.word.compare_exchange(self.by | WAITERS, becomes, SeqCst, Relaxed);
        me
    }
}

/// Why no permit was added.
pub(crate) enum ReleaseFailure {
    OverRelease,
    Corrupt,
}

/// Permits, where they lie.
#[derive(Clone, Copy)]
pub(crate) struct Table<'a> {
    pub(crate) permits: &'a Permits,
    pub(crate) tokens: &'a [PermitSlot],
}

impl<'a> Table<'a> {
    /// Fills zeros.
    pub(crate) fn init(self, count: u64, bound: u64) {
        let present = count.min(self.tokens.len() as u64);
        self.permits.present.store(present as u32, Relaxed);
        self.permits.reserve.store(count - present, Relaxed);
        self.permits.bound.store(bound, Relaxed);
    }

    /// The tokens that exist.
    #[inline(always)]
    fn present(self) -> Option<&'a [PermitSlot]> {
        self.tokens.get(..self.permits.present.load(SeqCst) as usize)
    }

    pub(crate) fn available(self) -> u64 {
        let tokens = self.present().unwrap_or_default();
        let free = tokens.iter().filter(|token| token.available().is_some()).count() as u64;
        free.saturating_add(self.permits.reserve.load(Acquire))
    }

    fn has_one(self) -> bool {
        self.present().unwrap_or_default().iter().any(|token| token.available().is_some())
    }

    #[inline(always)]
    pub(crate) fn acquire(self, patience: Timeout) -> Result<HeldPermit<'a>, LockFailure> {
        match self.take(PendingSlot::leave)? {
            Some(holding) => Ok(holding),
            None => self.acquire_contended(patience),
        }
    }

    /// Step 1. Where another one was faster, `put_back` sees to the slot.
    #[inline(always)]
    fn take(self, put_back: impl Fn(PendingSlot)) -> Result<Option<HeldPermit<'a>>, LockFailure> {
        let tokens = self.present().ok_or(LockFailure::Corrupt)?;
        // Each thread begins at a token of its own, which is in its own cache then.
        let first = match tokens {
            [_] => 0,
            _ => ((u64::from(robust_list::tid().wrapping_mul(0x9e37_79b1)) * tokens.len() as u64) >> 32) as usize,
        };
        let (behind, from) = tokens.split_at_checked(first).unwrap_or_default();
        for token in from.iter().chain(behind) {
            let Some(word) = token.available() else { continue };
            let me = robust_list::enter(&token.word)?;
            if token.word.compare_exchange(word, me.tid | WAITERS, SeqCst, Relaxed).is_ok() {
                me.hold(&token.word, false);
                if self.permits.gate.has_sleepers() {
                    self.pass_on();
                }
                return Ok(Some(HeldPermit { token, by: me.tid }));
            }
            put_back(me);
        }
        Ok(None)
    }

    /// There are more permits than tokens.
    fn has_reserve(self) -> bool {
        self.permits.reserve.load(Acquire) > 0
    }

    /// P3: who took one may have come before another that was woken for it.
    #[cold]
    fn pass_on(self) {
        if self.has_one() {
            self.permits.gate.ring(1);
        }
    }

    #[cold]
    #[inline(never)]
    fn acquire_contended(self, patience: Timeout) -> Result<HeldPermit<'a>, LockFailure> {
        let deadline = match patience {
            Timeout::Now if self.has_reserve() => return Err(LockFailure::TooMany),
            Timeout::Now => return Err(LockFailure::WouldBlock),
            Timeout::At(deadline) => Some(deadline),
            Timeout::Never => None,
        };
        let me = robust_list::enter(&self.permits.bell)?;
        let answer = self.wait(deadline);
        if answer.is_err() {
            me.leave();
        }
        answer
    }

    /// Step 3.
    fn wait(self, deadline: Option<Deadline>) -> Result<HeldPermit<'a>, LockFailure> {
        let Permits { gate, bell, present, looks, .. } = self.permits;
        let to_the_bell = |_| {
            robust_list::enter_section(bell);
        };
        if process_id::cores() > 1 {
            spin::until(looks, gate.word().load(Relaxed) / 2, || self.has_one());
        }
        loop {
            if let Some(holding) = self.take(to_the_bell)? {
                return Ok(holding);
            }
            let armed = gate.arm();
            let mut words = [(gate.word(), armed); OTHERS + WATCHED];
            words[1..OTHERS].copy_from_slice(&[(bell, 0), (present, present.load(SeqCst))]);
            let tokens = self.present().ok_or(LockFailure::Corrupt)?;
            let watched = tokens.len().min(WATCHED);
            // The words that are slept on are those that were looked at: a second look might see another holder's number, and
            // the first word be there again when it comes to sleep.
            let mut is_held = true;
            for (at, token) in tokens.iter().enumerate() {
                let word = token.word.load(SeqCst);
                is_held &= !is_available(word);
                if at < WATCHED {
                    words[OTHERS + at] = (&token.word, word);
                }
            }
            if !is_held {
                continue;
            }
            if self.has_reserve() {
                return Err(LockFailure::TooMany);
            }
            if bell.load(Relaxed) != 0 {
                return Err(LockFailure::Corrupt);
            }
            if deadline.is_some_and(Deadline::has_passed) {
                return Err(LockFailure::Timeout);
            }
            let until = event_count::slice(deadline, PERIOD);
            futex::wait_any(&words[..OTHERS + watched], until);
            if until.is_some_and(Deadline::has_passed) {
                tokens.iter().for_each(|token| section::bury_holder(&token.word));
            }
        }
    }

    /// Step 2. A copy in a fork child gives nothing.
    #[inline(always)]
    pub(crate) fn give_back(self, holding: &HeldPermit<'a>) {
        if robust_list::tid() == holding.by {
            let me = holding.put_down(0);
            self.pay(1);
            me.leave();
        }
    }

    #[inline(always)]
    fn pay(self, most: u32) {
        if self.permits.gate.has_sleepers() {
            self.permits.gate.ring(most);
        }
    }

    /// Step 4: the permit is with nobody from now on, until one is added.
    pub(crate) fn forget(self, holding: &HeldPermit<'a>) {
        if robust_list::tid() != holding.by {
            return;
        }
        if self.permits.reserve.fetch_update(SeqCst, Relaxed, |reserve| reserve.checked_sub(1)).is_ok() {
            return self.give_back(holding);
        }
        holding.put_down(AWAY).leave();
    }

    /// Step 5: one more.
    pub(crate) fn add(self) -> Result<(), ReleaseFailure> {
        let me = robust_list::enter_section(&self.permits.bell);
        let answer = self.bring().map(|most| self.pay(most));
        me.leave();
        answer
    }

    /// Gives how many are to be woken: those who sleep do not know a new token, and would not hear of its holder's death.
    fn bring(self) -> Result<u32, ReleaseFailure> {
        if self.present().ok_or(ReleaseFailure::Corrupt)?.iter().any(PermitSlot::come_back) {
            return Ok(1);
        }
        let bound = self.permits.bound.load(Relaxed);
        let tokens = bound.min(self.tokens.len() as u64);
        let more = |present: u32| (u64::from(present) < tokens).then(|| present + 1);
        let more_reserve = |reserve: u64| (reserve < bound - tokens).then(|| reserve + 1);
        let Permits { present, reserve, .. } = self.permits;
        if present.fetch_update(SeqCst, SeqCst, more).is_ok() {
            return Ok(EventCount::ALL);
        }
        reserve.fetch_update(SeqCst, Relaxed, more_reserve).map(|_| 1).map_err(|_| ReleaseFailure::OverRelease)
    }
}
