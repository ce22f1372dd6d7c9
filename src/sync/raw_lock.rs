//! The lock: one 32-bit word that the kernel frees when its holder dies.
//!
//! # Layout
//! ```text
//! offset 0   word    one of six states, see `State`
//!        4   kind    what the block holds (the segment's concern; beside the word to fill the line)
//!        8   owner   low half: the holder's process; high half: a stamp of the data's (a `DoubleBuffer`'s sequence)
//!       16   start   when that process started
//!       24   room    for the thread's list node (`sys::thread::NODE_ROOM`), never data
//! ```
//!
//! # Protocol
//! 1. lock: the word goes into the pending slot; 0 -> number of the thread (Acquire, pairs with 4).
//! 2. contended: a free word is taken and keeps W; a held one gets W, then sleeps on the word with W in it. Whoever
//!    slept takes the word with W, for others may sleep behind it, and gives up at its deadline only on a word with W.
//! 3. the holder writes its owner record: start first, then pid and stamp by one store.
//! 4. unlock: owner = 0, then number -> 0, keeping W (SeqCst). If there was W, one sleeper is woken. If none was there,
//!    W goes; somebody may have gone to sleep right before that, so one more wake, and W again if it woke one.
//! 5. the slot is emptied last.
//!
//! # Invariants
//! * L1: the word is in one of its six states; anything else is `Corrupt`.
//! * L2: while it holds a number, that thread runs, or its end is being noticed by the kernel or the backstop.
//! * L3: whoever sleeps, sleeps on a word with W in it; W goes only by step 4, when nobody slept.
//! * L4: a free word with owner != 0 is a mark: its holder died while its guard existed. Data under it that is changed in
//!   place may be half-written. `release_marked` leaves it, `record` by a repairer replaces it.
//!
//! # If a process dies here
//! Before 1's exchange: nothing happened, and the kernel wakes one more sleeper if the word is free ("relay"), so a wake
//! that the dead one swallowed goes on. From 1 to 4's exchange: the kernel puts DIED for the number and wakes one.
//! The next holder looks at the owner record: 0 says that no guard existed, else it names the dead one. After 4's exchange: the relay pays the wake that it owed.
//! What the kernel misses (two deaths within nanoseconds; a foreign robust mutex in the guard's scope that emptied the
//! slot; a thread that ended and left a leaked guard) a sleeper finds twice a second: the *backstop*.

use crate::error::{LockError, LockTimeoutError, TryLockError};
use crate::sys::process_id::{self, ProcessId};
use crate::sys::robust_list::{self, HANDED_OVER, NODE_ROOM, PendingSlot, TooMany};
use crate::sys::{Deadline, OWNER_DIED, WAITERS, futex};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::time::Duration;

#[repr(C, align(8))]
pub(crate) struct RawLock {
    word: AtomicU32,
    kind: AtomicU32,
    owner: AtomicU64,
    start: AtomicU64,
    room: [AtomicU32; 4],
}

const _: () = assert!(size_of::<RawLock>() == 40 && std::mem::offset_of!(RawLock, word) == 0);
const _: () = assert!(std::mem::offset_of!(RawLock, room) <= NODE_ROOM.start && NODE_ROOM.end <= size_of::<RawLock>());

/// What a word says. W may stand beside each but `Corrupt`.
enum State {
    Free,
    /// The kernel took the number of a dead holder away.
    Died,
    Held {
        tid: u32,
    },
    Corrupt,
}

impl State {
    #[inline]
    fn of(word: u32) -> Self {
        match word & !WAITERS {
            0 => State::Free,
            OWNER_DIED => State::Died,
            tid if tid & OWNER_DIED == 0 => State::Held { tid },
            _ => State::Corrupt,
        }
    }
}

/// How long to wait for a lock.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Timeout {
    Never,
    At(Deadline),
    Now,
}

impl Timeout {
    pub(crate) fn at_most(duration: Duration) -> Self {
        Timeout::At(Deadline::after(duration))
    }
}

/// Why a lock was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LockFailure {
    WouldBlock,
    Timeout,
    Deadlock,
    Corrupt,
    TooMany,
    OwnerDied { pid: u32 },
}

impl From<LockFailure> for LockError {
    fn from(refusal: LockFailure) -> Self {
        match refusal {
            LockFailure::Deadlock => LockError::Deadlock,
            LockFailure::TooMany => LockError::TooMany,
            LockFailure::OwnerDied { pid } => LockError::OwnerDied { pid },
            // The first two are no answers to one who waits for ever.
            LockFailure::WouldBlock | LockFailure::Timeout | LockFailure::Corrupt => LockError::Corrupt,
        }
    }
}

impl From<LockFailure> for TryLockError {
    fn from(refusal: LockFailure) -> Self {
        match refusal {
            LockFailure::WouldBlock => TryLockError::WouldBlock,
            other => TryLockError::Lock(other.into()),
        }
    }
}

impl From<LockFailure> for LockTimeoutError {
    fn from(refusal: LockFailure) -> Self {
        match refusal {
            LockFailure::Timeout => LockTimeoutError::Timeout,
            other => LockTimeoutError::Lock(other.into()),
        }
    }
}

impl From<TooMany> for LockFailure {
    fn from(TooMany: TooMany) -> Self {
        LockFailure::TooMany
    }
}

/// A lock that was taken, and by whom.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    by: u32,
}

impl Held {
    /// Whether the calling thread is the one that took it; a fork child has copies of guards that are not its own.
    #[inline]
    pub(crate) fn is_mine(&self) -> bool {
        robust_list::tid() == self.by
    }
}

impl RawLock {
    #[inline(always)]
    pub(crate) fn word(&self) -> &AtomicU32 {
        &self.word
    }

    pub(crate) fn new(kind: u32) -> Self {
        RawLock {
            word: AtomicU32::new(0),
            kind: AtomicU32::new(kind),
            owner: AtomicU64::new(0),
            start: AtomicU64::new(0),
            room: [const { AtomicU32::new(0) }; 4],
        }
    }

    /// Takes the lock. `in_place`: its guard gives references into shared memory, so that the lock must outlive the
    /// thread if the guard is leaked.
    #[inline(always)]
    pub(crate) fn acquire(&self, patience: Timeout, in_place: bool) -> Result<Held, LockFailure> {
        let me = robust_list::enter(&self.word)?;
        if self.word.compare_exchange(0, me.tid, Acquire, Relaxed).is_ok() {
            me.hold(&self.word, in_place);
            return Ok(Held { by: me.tid });
        }
        self.acquire_contended(me, patience, in_place)
    }

    #[cold]
    #[inline(never)]
    fn acquire_contended(&self, me: PendingSlot, patience: Timeout, in_place: bool) -> Result<Held, LockFailure> {
        match self.contend(me.tid, patience) {
            Ok(()) => {
                me.hold(&self.word, in_place);
                Ok(Held { by: me.tid })
            }
            Err(refusal) => {
                me.leave();
                Err(refusal)
            }
        }
    }

    /// Step 2.
    fn contend(&self, me: u32, patience: Timeout) -> Result<(), LockFailure> {
        let mut slept = 0;
        let mut spin = Spin::new();
        let mut backstop = Backstop::new();
        loop {
            let word = self.word.load(Relaxed);
            match State::of(word) {
                State::Free | State::Died => {
                    let mine = me | (word & WAITERS) | slept;
                    if self.word.compare_exchange(word, mine, Acquire, Relaxed).is_ok() {
                        return Ok(());
                    }
                    continue;
                }
                State::Held { tid } if tid == me => return Err(LockFailure::Deadlock),
                State::Held { .. } => {}
                State::Corrupt => return Err(LockFailure::Corrupt),
            }
            let deadline = match patience {
                Timeout::Now => return Err(LockFailure::WouldBlock),
                _ if spin.once_more() => continue,
                Timeout::At(deadline) => Some(deadline),
                Timeout::Never => None,
            };
            let gives_up = deadline.is_some_and(Deadline::has_passed);
            let with_waiters = word | WAITERS;
            // Who sleeps needs W, and who slept leaves it: the wake that ended its sleep may have been meant for another.
            let needs_waiters = !gives_up || slept != 0;
            if needs_waiters
                && word != with_waiters
                && self.word.compare_exchange(word, with_waiters, SeqCst, Relaxed).is_err()
            {
                continue;
            }
            if gives_up {
                return Err(LockFailure::Timeout);
            }
            futex::wait(&self.word, with_waiters, backstop.slice(deadline));
            slept = WAITERS;
            spin = Spin::new();
            backstop.probe(self, with_waiters);
        }
    }

    /// Takes the lock of data that is changed in place, unless it carries the mark of one that died (L4).
    #[inline(always)]
    pub(crate) fn acquire_unmarked(&self, patience: Timeout) -> Result<Held, LockFailure> {
        let held = self.acquire(patience, true)?;
        match self.recorded() {
            None => {
                self.record(&held, 0);
                Ok(held)
            }
            Some((pid, _)) => {
                self.release_marked(&held);
                Err(LockFailure::OwnerDied { pid })
            }
        }
    }

    /// The same; data that a dead holder left marked is repaired first. The mark stays if the repair does not come to its end.
    pub(crate) fn acquire_repaired(&self, repair: impl FnOnce()) -> Result<Held, LockFailure> {
        struct Marked<'a>(&'a RawLock, Held);
        impl Drop for Marked<'_> {
            fn drop(&mut self) {
                self.0.release_marked(&self.1);
            }
        }
        let held = self.acquire(Timeout::Never, true)?;
        if self.recorded().is_some() {
            let marked = Marked(self, held);
            repair();
            std::mem::forget(marked);
        }
        self.record(&held, 0);
        Ok(held)
    }

    /// For a lock that may be taken again: whether this thread has it.
    #[inline(always)]
    pub(crate) fn held_by_this_thread(&self) -> Option<Held> {
        let by = robust_list::tid();
        (by != 0 && self.word.load(Relaxed) & !WAITERS == by).then_some(Held { by })
    }

    /// Step 3.
    #[inline]
    pub(crate) fn record(&self, held: &Held, stamp: u32) {
        debug_assert!(held.is_mine());
        let process = robust_list::process();
        // Mostly it is there from the time before, and a store before the next locked instruction costs more than a look.
        if self.start.load(Relaxed) != process.start {
            self.start.store(process.start, Relaxed);
        }
        self.owner.store(u64::from(process.pid) | u64::from(stamp) << 32, Release);
    }

    /// The last owner record, as (pid, stamp), while it is there: the holder's, or a dead one's.
    #[inline]
    pub(crate) fn recorded(&self) -> Option<(u32, u32)> {
        let owner = self.owner.load(Acquire);
        (owner != 0).then_some((owner as u32, (owner >> 32) as u32))
    }

    /// Steps 4 and 5. A copy of a guard in a fork child releases nothing.
    #[inline]
    pub(crate) fn release(&self, held: &Held) {
        if held.is_mine() {
            self.release_mine(held);
        }
    }

    /// The same for a caller that has seen [`Held::is_mine`].
    #[inline(always)]
    pub(crate) fn release_mine(&self, held: &Held) {
        self.owner.store(0, Release);
        self.free(held);
    }

    /// Gives the lock up and leaves the mark of the one that died before us (L4).
    #[cold]
    pub(crate) fn release_marked(&self, held: &Held) {
        if held.is_mine() {
            self.free(held);
        }
    }

    #[inline(always)]
    fn free(&self, held: &Held) {
        let me = PendingSlot::retire(&self.word);
        if self.word.compare_exchange(held.by, 0, SeqCst, Relaxed).is_err() {
            self.free_contended(held.by);
        }
        me.leave();
    }

    #[cold]
    #[inline(never)]
    fn free_contended(&self, tid: u32) {
        // Ours only: where somebody scribbled over the word, it is no longer ours to free.
        let ours = |word: u32| (word & !WAITERS == tid).then_some(word & WAITERS);
        let Ok(before) = self.word.fetch_update(SeqCst, Relaxed, ours) else { return };
        if before & WAITERS == 0 || futex::wake(&self.word, 1) > 0 {
            return;
        }
        let nobody_slept = self.word.compare_exchange(WAITERS, 0, SeqCst, Relaxed).is_ok();
        if nobody_slept && futex::wake(&self.word, 1) > 0 {
            self.word.fetch_or(WAITERS, SeqCst);
        }
    }

    /// The process that holds the lock, as far as one can tell from outside.
    pub(crate) fn holder(&self) -> Option<u32> {
        match State::of(self.word.load(Acquire)) {
            State::Held { tid } => Some(self.recorded().map_or(tid, |(pid, _)| pid)),
            _ => None,
        }
    }

    /// Whether a living or leaked guard may still use what is behind this lock.
    pub(crate) fn is_held(&self) -> bool {
        !matches!(State::of(self.word.load(Acquire)), State::Free | State::Died)
    }

    /// What the block behind this lock holds.
    pub(crate) fn kind(&self) -> u32 {
        self.kind.load(Relaxed)
    }

    /// Makes a lock that nobody holds new again.
    pub(crate) fn reset(&self, kind: u32) {
        self.word.store(0, Relaxed);
        self.kind.store(kind, Relaxed);
        self.owner.store(0, Relaxed);
    }
}

/// How often to look again before going to sleep: a wake from the other core costs a thousand looks.
///
/// Each look takes the cache line from the holder, so there is a pause before the first one and a longer one before the
/// next: meanwhile the holder can lock many times at the price of one transfer.
pub(crate) struct Spin {
    looks: u32,
}

impl Spin {
    const LOOKS: u32 = 16;
    const FIRST_PAUSE: u32 = 16;
    const LONGEST_PAUSE: u32 = 64;

    pub(crate) fn new() -> Self {
        Spin { looks: if process_id::cores() > 1 { 0 } else { Self::LOOKS } }
    }

    pub(crate) fn once_more(&mut self) -> bool {
        if self.looks == Self::LOOKS {
            return false;
        }
        for _ in 0..Self::LONGEST_PAUSE.min(Self::FIRST_PAUSE << self.looks) {
            std::hint::spin_loop();
        }
        self.looks += 1;
        true
    }
}

static BACKSTOP_IS_OFF: AtomicBool = AtomicBool::new(false);

/// For tests of the protocol, which the backstop would hide a lost wake from.
pub(crate) fn switch_backstop(on: bool) {
    BACKSTOP_IS_OFF.store(!on, Relaxed);
}

pub(crate) fn backstop_is_off() -> bool {
    BACKSTOP_IS_OFF.load(Relaxed)
}

/// Twice a second a sleeper looks whether the holder is still there.
struct Backstop {
    next: Option<Deadline>,
    watched: Option<(u64, process_id::Watch)>,
    rounds: u32,
}

impl Backstop {
    const PERIOD: Duration = Duration::from_millis(500);

    fn new() -> Self {
        Backstop { next: None, watched: None, rounds: 0 }
    }

    /// Until when to sleep.
    fn slice(&mut self, deadline: Option<Deadline>) -> Option<Deadline> {
        if BACKSTOP_IS_OFF.load(Relaxed) {
            return deadline;
        }
        let next = *self.next.get_or_insert_with(|| Deadline::after(Self::PERIOD));
        Some(deadline.map_or(next, |deadline| deadline.min(next)))
    }

    /// After a slice: a word whose holder is gone gets the mark that the kernel would have put.
    fn probe(&mut self, lock: &RawLock, word: u32) {
        if !self.next.is_some_and(Deadline::has_passed) {
            return;
        }
        self.next = Some(Deadline::after(Self::PERIOD));
        if lock.word.load(SeqCst) == word && self.holder_is_gone(lock, word & !WAITERS) {
            let _ = lock.word.compare_exchange(word, OWNER_DIED | WAITERS, SeqCst, Relaxed);
        }
    }

    fn holder_is_gone(&mut self, lock: &RawLock, tid: u32) -> bool {
        self.rounds += 1;
        let owner = lock.owner.load(SeqCst);
        let process = ProcessId { pid: owner as u32, start: lock.start.load(SeqCst) };
        if process.pid == 0 {
            return !process_id::exists(tid);
        }
        let watch = match &mut self.watched {
            Some((of, watch)) if *of == owner => watch,
            watched => &mut watched.insert((owner, process_id::Watch::new(process))).1,
        };
        // A leaked guard in place outlives its thread, and says so. Else a thread that is gone left nothing that could be
        // used: it ended without its destructors, or executed another program under the number of its process.
        let outlives = tid & HANDED_OVER != 0;
        !watch.is_alive() || (!outlives && self.rounds.is_multiple_of(2) && !process.has_thread(tid))
    }
}
