//! Exhaustive model of the process-shared robust lock, with kills: every interleaving of a few threads that lock and
//! unlock one or two words, of the kernel's futex queue, and of SIGKILLs between any two accesses to shared memory. It
//! checks the algorithm, and needs nothing from the crate.
//!
//! What is modelled:
//! * The word `{0, W, tid, tid|W, DIED, DIED|W}`, the slow path of `lock`, with and without a deadline, and `unlock`,
//!   with its second wake. A step is one access to shared memory or one system call. The fast paths need no steps: CAS
//!   0 -> tid is a load and a CAS without a step in between, and CAS tid -> 0 is the `&= W` of a word without W.
//! * The pending slot, and list mode: `A` is linked into the robust list before the slot is pointed at `B`.
//! * The kernel. It wakes sleepers in any order. At a thread's death each listed word with the dead tid becomes DIED,
//!   keeps W, and wakes one sleeper if it has W; then the same for the pending word, where a word without a tid wakes
//!   one sleeper as well (the relay). A killed sleeper that is still in the queue may swallow a wake.
//! * A budget of kills, and one of lapses. A lapse is a sleeper that leaves the queue by itself (for its deadline, a
//!   signal, a probe), or a deadline that passes while the thread is awake.
//!
//! Invariants:
//! 1. Exclusion: no word has two holders, and a holder's word names it.
//! 2. Marking: no word names a thread that is done or that the kernel has reaped. So whatever a killed thread held, in
//!    the slot or in the list, is DIED.
//! 3. No stuck sleeper: when neither a thread nor the kernel can take a step, no thread sleeps. Kills and lapses do not
//!    count as a way out.
//! 4. Every run ends: threads cannot keep each other busy for ever. (No state comes back on its own path.)
//!
//! Not modelled: weak memory (steps are sequentially consistent), the backstop (it would hide what is looked for),
//! corrupt words, owner records and marks, `fork`, locks taken in opposite orders, sleep on two words at once.

use crate::explore::{Model, explore};
use std::mem::take;

const THREADS: usize = 5; // thread `i` has the tid `i + 1`
const TID: u8 = 0x0f; // the tid field of a word; 0: none
const DIED: u8 = 0x40;
const W: u8 = 0x80;
const NULL: usize = 0; // an empty slot, or the end of a list; no word has this index
const A: usize = 1; // the outer word
const B: usize = 2; // the inner one: whoever wants both takes `A` first

/// Where a thread is; but for the resting states, a variant names the step that comes next.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
enum At {
    Load,         // lock: load the word and decide
    Take,         // lock: CAS the own tid into the free word
    SetW,         // lock: CAS W into the held word
    Wait,         // lock: FUTEX_WAIT for the remembered word
    Asleep,       // rests in the queue
    Woken,        // was taken off the queue by a wake, and did not run yet
    Holding,      // goes on with the script
    LinkNode,     // list mode: node.next = first
    LinkSentinel, // list mode: sentinel.next = node
    Point,        // list mode: pending = the word that is to be unlocked
    Unlink,       // list mode: predecessor.next = successor
    Release,      // unlock: old = word &= W
    Wake,         // unlock: old had W; FUTEX_WAKE 1
    DropW,        // unlock: no thread was woken; CAS W -> 0
    WakeAgain,    // unlock: that succeeded; FUTEX_WAKE 1
    RestoreW,     // unlock: that woke a thread; word |= W
    Clear,        // pending = null, after an unlock or a lock that gave up
    KilledAsleep, // is dead, and still in the queue
    Exit,         // the kernel handles an entry of the dead thread's list, or the pending word at last
    ExitWake,     // the kernel wakes a sleeper on the word that it marked or relays
    #[default]
    Gone, // rests: done, or reaped by the kernel
}

enum Op {
    Lock(usize),
    Link(usize),
    Unlock(usize), // the word in the pending slot
    Free(usize),   // unlock a linked word
}
use Op::{Free, Link, Lock, Unlock};

/// A round of a thread, which ends as soon as it holds nothing.
const SCRIPTS: [&[Op]; 4] = [
    &[Lock(A), Unlock(A)],
    &[Lock(B), Link(B), Free(B)],
    &[Lock(A), Link(A), Lock(B), Unlock(B), Free(A)],
    &[Lock(A), Link(A), Lock(B), Link(B), Free(A), Free(B)],
];
const SINGLE: usize = 0;
const INNER: usize = 1;
const NESTED: usize = 2;
const CROSSED: usize = 3;

/// A change for the worse, to the algorithm or to the kernel.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Change {
    TakesBlindly,
    ReleaseDropsW,
    NoPendingAsleep,
    NoSecondWake,
    SleeperForgetsW,
    WokenGivesUpUntried,
    ClearBeforeWake,
    OuterNotLinked,
    UnlinkBeforePoint,
    SleeperLeavesNoW, // gives up on a held word without W, though it has slept
    OldKernel,        // before the fix of 2022 it relays only for the word 0
}

#[derive(Clone, Copy, Default)]
struct Thread {
    at: At,
    script: usize,
    op: usize,        // the next one of the script
    rounds: u8,       // that may still begin
    word: usize,      // that the current operation is about
    slept: bool,      // in the current call of `lock`
    expired: bool,    // the deadline of that call has passed for sure
    pending: usize,   // the slot
    first: usize,     // where the sentinel of the robust list points
    holds: [bool; 3], // by word
    seen: u8,         // the word as last loaded
}

impl Thread {
    fn pack(&self) -> u64 {
        let holds = u8::from(self.holds[A]) << 1 | u8::from(self.holds[B]);
        let flags = holds << 2 | u8::from(self.slept) << 1 | u8::from(self.expired);
        let script = (self.script << 4 | self.op) as u8;
        let slots = (self.word << 4 | self.pending << 2 | self.first) as u8;
        u64::from_le_bytes([self.at as u8, self.rounds, script, slots, flags, self.seen, 0, 0])
    }
}

#[derive(Clone, Copy, Default)]
struct State {
    change: Option<Change>, // the same throughout a run
    words: [u8; 3],
    next: [usize; 3], // the node.next beside each word, which whoever holds the word writes; NULL stays NULL
    kills: u8,
    lapses: u8,
    threads: [Thread; THREADS],
}

impl State {
    fn is(&self, change: Change) -> bool {
        self.change == Some(change)
    }

    fn goto(&self, i: usize, at: At, out: &mut Vec<State>) {
        out.push(*self);
        out.last_mut().unwrap().threads[i].at = at;
    }

    fn load(&self, i: usize, out: &mut Vec<State>) {
        let mut n = *self;
        let t = &mut n.threads[i];
        t.seen = self.words[t.word];
        let has_w = t.seen & W != 0;
        if t.seen & TID == 0 {
            return n.goto(i, At::Take, out);
        }
        let may_give_up = has_w || !t.slept || self.is(Change::SleeperLeavesNoW);
        if may_give_up && (t.expired || self.lapses > 0) {
            let mut late = *self;
            late.lapses -= u8::from(!t.expired);
            late.goto(i, At::Clear, out);
        }
        if !(may_give_up && t.expired) {
            n.goto(i, if has_w { At::Wait } else { At::SetW }, out);
        }
    }

    /// The steps of `lock` that act only if the word is still as it was loaded.
    fn compare(&self, i: usize, out: &mut Vec<State>) {
        let mut n = *self;
        let t = &mut n.threads[i];
        let word = &mut n.words[t.word];
        let seen = take(&mut t.seen);
        let next = match t.at {
            _ if *word != seen && !(t.at == At::Take && self.is(Change::TakesBlindly)) => At::Load,
            At::Take => {
                let keep = t.slept && !self.is(Change::SleeperForgetsW);
                *word = (i as u8 + 1) | seen & W | if keep { W } else { 0 };
                t.holds[t.word] = true;
                (t.slept, t.expired) = (false, false);
                At::Holding
            }
            At::SetW => {
                *word |= W;
                let again = t.slept && !self.is(Change::SleeperLeavesNoW);
                t.seen = if again { 0 } else { *word };
                if again { At::Load } else { At::Wait }
            }
            _ => {
                t.pending = if self.is(Change::NoPendingAsleep) { NULL } else { t.pending };
                At::Asleep
            }
        };
        n.goto(i, next, out);
    }

    /// A sleeper that was woken, or leaves the queue by itself, runs.
    fn run_again(mut self, i: usize, out: &mut Vec<State>) {
        let t = &mut self.threads[i];
        (t.slept, t.pending) = (true, t.word);
        self.goto(i, At::Load, out);
    }

    /// Begins the next operation of the script, with its first access.
    fn go_on(&self, i: usize, out: &mut Vec<State>) {
        let mut n = *self;
        let t = &mut n.threads[i];
        let op = &SCRIPTS[t.script][t.op];
        t.op += 1;
        (t.at, t.word) = match *op {
            Lock(word) => {
                (t.pending, t.word) = (word, word);
                return n.goto(i, At::Load, out);
            }
            Link(word) => (At::LinkNode, word),
            Unlock(word) => (At::Release, word),
            Free(word) if self.is(Change::UnlinkBeforePoint) => (At::Unlink, word),
            Free(word) => (At::Point, word),
        };
        if !t.holds[t.word] {
            t.at = At::Holding; // the lock was given up
        }
        n.step(i, out);
    }

    /// List mode: links a held word; or points the slot at a linked one, and unlinks it.
    fn relink(&self, i: usize, out: &mut Vec<State>) {
        let mut n = *self;
        let t = &mut n.threads[i];
        // The neighbour comes from the thread's private record, not from shared memory.
        let other = if t.holds[A + B - t.word] { A + B - t.word } else { NULL };
        match t.at {
            At::LinkNode => n.next[t.word] = other,
            At::LinkSentinel if self.is(Change::OuterNotLinked) => {}
            At::LinkSentinel => t.first = t.word,
            At::Point => t.pending = t.word,
            _ if other == B => n.next[B] = NULL,
            _ => t.first = other,
        }
        let next = match (t.at, self.is(Change::UnlinkBeforePoint)) {
            (At::LinkNode, _) => At::LinkSentinel,
            (At::LinkSentinel, _) => At::Holding,
            (At::Point, false) => At::Unlink,
            (At::Unlink, true) => At::Point,
            _ => At::Release,
        };
        n.goto(i, next, out);
    }

    /// The steps of `unlock` that change the word.
    fn unlock(&self, i: usize, out: &mut Vec<State>) {
        let mut n = *self;
        let t = &mut n.threads[i];
        let word = &mut n.words[t.word];
        let old = *word;
        let mut next = At::Clear;
        match t.at {
            At::Release => {
                *word = if self.is(Change::ReleaseDropsW) { 0 } else { old & W };
                t.holds[t.word] = false;
                t.pending = if self.is(Change::ClearBeforeWake) { NULL } else { t.pending };
                next = if old & W != 0 { At::Wake } else { At::Clear };
            }
            At::RestoreW => *word |= W,
            _ if old == W => {
                *word = 0;
                next = if self.is(Change::NoSecondWake) { At::Clear } else { At::WakeAgain };
            }
            _ => {}
        }
        n.goto(i, next, out);
    }

    /// Empties the slot. Then the round goes on, or another one begins, or none does.
    fn settle(&self, i: usize, out: &mut Vec<State>) {
        let mut n = *self;
        let t = &mut n.threads[i];
        (t.pending, t.slept, t.expired) = (NULL, false, false);
        if t.holds.contains(&true) {
            return n.goto(i, At::Holding, out);
        }
        // A thread that is killed before it fills the slot leaves no more behind than one that stops here.
        if t.rounds > 0 {
            (t.rounds, t.op) = (t.rounds - 1, 0);
            n.go_on(i, out);
        }
        n.threads[i] = Thread::default();
        out.push(n);
    }

    /// FUTEX_WAKE of one sleeper, whichever. Thread `i` goes on at `then[0]`, or at `then[1]` if none slept. A killed
    /// thread that is still in the queue swallows the wake.
    fn wake(&self, i: usize, then: [At; 2], out: &mut Vec<State>) {
        let before = out.len();
        let queued = |t: &Thread| matches!(t.at, At::Asleep | At::KilledAsleep) && t.word == self.threads[i].word;
        for j in (0..THREADS).filter(|&j| queued(&self.threads[j])) {
            let mut n = *self;
            n.threads[j].at = if n.threads[j].at == At::Asleep { At::Woken } else { At::Exit };
            n.goto(i, then[0], out);
        }
        if out.len() == before {
            self.goto(i, then[1], out);
        }
    }

    /// The kernel handles one entry of a dead thread's list. There it skips the pending word, which comes last.
    fn exit(&self, i: usize, out: &mut Vec<State>) {
        let mut n = *self;
        let t = &mut n.threads[i];
        let last = t.first == NULL;
        t.word = if last { take(&mut t.pending) } else { t.first };
        if t.word == NULL {
            *t = Thread::default();
            return out.push(n);
        }
        t.first = self.next[t.first];
        let word = &mut n.words[t.word];
        let mut wakes = last && *word & TID == 0 && (*word == 0 || !self.is(Change::OldKernel));
        if *word & TID == i as u8 + 1 && t.word != t.pending {
            *word = DIED | *word & W;
            t.holds[t.word] = false;
            wakes = *word & W != 0;
        }
        n.goto(i, if wakes { At::ExitWake } else { At::Exit }, out);
    }
}

impl Model for State {
    type Key = (u64, u64, u64, u64, u64, u64);
    const THREADS: usize = THREADS;

    /// Threads are interchangeable: sorts them by all but the tid that they remember, and renames the tids to match.
    fn canonical(&self) -> State {
        let keys = self.threads.map(|t| Thread { seen: t.seen & !TID, ..t }.pack());
        let mut order = [0, 1, 2, 3, 4];
        order.sort_unstable_by_key(|&old: &usize| keys[old]);
        let mut n = State { threads: order.map(|old| self.threads[old]), ..*self };
        let mut tids = [0; THREADS + 1];
        order.iter().zip(1..).for_each(|(&old, tid)| tids[old + 1] = tid);
        let rename = |word: &mut u8| *word = *word & !TID | tids[usize::from(*word & TID)];
        n.words.iter_mut().for_each(rename);
        n.threads.iter_mut().for_each(|t| rename(&mut t.seen));
        n
    }

    fn key(&self) -> Self::Key {
        let shared =
            [self.words[A], self.words[B], self.next[A] as u8, self.next[B] as u8, self.kills, self.lapses, 0, 0];
        let [a, b, c, d, e] = &self.threads;
        (a.pack(), b.pack(), c.pack(), d.pack(), e.pack(), u64::from_le_bytes(shared))
    }

    fn step(&self, i: usize, out: &mut Vec<State>) {
        match self.threads[i].at {
            At::Asleep | At::Gone => {}
            At::Load => self.load(i, out),
            At::Take | At::SetW | At::Wait => self.compare(i, out),
            At::Woken => self.run_again(i, out),
            At::Holding => self.go_on(i, out),
            At::LinkNode | At::LinkSentinel | At::Point | At::Unlink => self.relink(i, out),
            At::Release | At::DropW | At::RestoreW => self.unlock(i, out),
            At::Wake => self.wake(i, [At::Clear, At::DropW], out),
            At::WakeAgain => self.wake(i, [At::RestoreW, At::Clear], out),
            At::Clear => self.settle(i, out),
            At::KilledAsleep => self.goto(i, At::Exit, out),
            At::Exit => self.exit(i, out),
            At::ExitWake => self.wake(i, [At::Exit, At::Exit], out),
        }
    }

    fn mishap(&self, i: usize, out: &mut Vec<State>) {
        let mut n = *self;
        let t = &mut n.threads[i];
        let at = t.at;
        if self.kills > 0 && at < At::KilledAsleep {
            n.kills -= 1;
            (t.script, t.op, t.rounds, t.slept, t.expired, t.seen) = (0, 0, 0, false, false, 0);
            n.goto(i, if at == At::Asleep { At::KilledAsleep } else { At::Exit }, out);
        }
        n = *self;
        n.lapses = self.lapses.saturating_sub(1);
        if self.lapses > 0 && at == At::Asleep {
            n.run_again(i, out);
            n.threads[i].expired = true;
            n.run_again(i, out);
        } else if self.lapses > 0 && at == At::Woken && self.is(Change::WokenGivesUpUntried) {
            n.goto(i, At::Clear, out);
        }
    }

    /// The first three invariants.
    fn broken(&self, is_last: bool) -> Option<&'static str> {
        let broken = self.threads.iter().enumerate().find_map(|(i, t)| {
            let named = |word: usize| self.words[word] & TID == i as u8 + 1;
            let unmarked = t.at == At::Gone && (named(A) || named(B));
            let overrun = t.holds[A] && !named(A) || t.holds[B] && !named(B);
            unmarked.then_some("marking").or(overrun.then_some("exclusion"))
        });
        let stuck = is_last && self.threads.iter().any(|t| t.at == At::Asleep);
        broken.or(stuck.then_some("stuck"))
    }
}

/// Explores one configuration: script and rounds of each thread, budgets of kills and of lapses.
fn run(threads: &[(usize, u8)], [kills, lapses]: [u8; 2], change: Option<Change>) -> Vec<&'static str> {
    let mut start = State { change, kills, lapses, ..State::default() };
    for (t, &(script, rounds)) in start.threads.iter_mut().zip(threads) {
        *t = Thread { at: At::Clear, script, rounds, ..Thread::default() };
    }
    let (states, found) = explore(start);
    println!("{threads:?}, {kills} kills, {lapses} lapses, {change:?}: {states} states, {} of them bad", found.len());
    found
}

#[test]
fn one_lock() {
    assert!(run(&[(SINGLE, 2); 3], [2, 0], None).is_empty());
    assert!(run(&[(SINGLE, 2), (SINGLE, 1), (SINGLE, 1), (SINGLE, 1)], [1, 0], None).is_empty());
    assert!(run(&[(SINGLE, 1); 5], [1, 0], None).is_empty());
}

#[test]
fn one_lock_with_deadlines() {
    assert!(run(&[(SINGLE, 2); 3], [1, 2], None).is_empty());
    assert!(run(&[(SINGLE, 1); 4], [1, 1], None).is_empty());
}

#[test]
fn two_locks() {
    assert!(run(&[(NESTED, 2), (CROSSED, 2)], [2, 0], None).is_empty());
    assert!(run(&[(NESTED, 1), (CROSSED, 1), (CROSSED, 1)], [2, 0], None).is_empty());
    assert!(run(&[(NESTED, 1), (CROSSED, 1), (INNER, 1)], [1, 1], None).is_empty());
}

/// After the CAS W -> 0 the word does not show its sleepers, and a newcomer takes it without W. Should the unlocker be
/// killed before its second wake, the relay does nothing, as the word has a holder. If the holder that a sleeper waited
/// for is then killed before its wake, the sleeper is left on a free word. The backstop wakes it.
#[test]
fn what_the_backstop_is_for() {
    assert_eq!(run(&[(SINGLE, 1); 4], [2, 0], None), ["stuck"]);
}

/// In the same gap, one kill and one deadline: a waiter that is woken past its deadline meets a newcomer that took the
/// word without W, and leaves W for the later sleepers before it gives up.
#[test]
fn a_waiter_that_gives_up_leaves_a_sign() {
    let threads = [(SINGLE, 2), (SINGLE, 1), (SINGLE, 1), (SINGLE, 1)];
    assert!(run(&threads, [1, 1], None).is_empty());
    assert_eq!(run(&threads, [1, 1], Some(Change::SleeperLeavesNoW)), ["stuck"]);
}

/// Two more changes make no difference and are not here. A sleeper that left the queue by itself may give up without
/// another try: it took no wake along. And W need not be restored after the second wake: whoever woke sets it.
#[test]
fn every_mistake_is_caught() {
    let (one, four, two) = (&[(SINGLE, 2); 3][..], &[(SINGLE, 1); 4][..], &[(NESTED, 1), (CROSSED, 1)][..]);
    for (change, threads, mishaps, rule) in [
        (Change::TakesBlindly, one, [0, 0], "exclusion"),
        (Change::ReleaseDropsW, one, [1, 0], "stuck"),
        (Change::NoPendingAsleep, one, [1, 0], "stuck"),
        (Change::NoSecondWake, one, [1, 0], "stuck"),
        (Change::SleeperForgetsW, four, [1, 0], "stuck"),
        (Change::WokenGivesUpUntried, one, [0, 1], "stuck"),
        (Change::ClearBeforeWake, one, [1, 0], "stuck"),
        (Change::OldKernel, one, [1, 0], "stuck"),
        (Change::OuterNotLinked, two, [1, 0], "marking"),
        (Change::UnlinkBeforePoint, two, [1, 0], "marking"),
    ] {
        assert!(run(threads, mishaps, Some(change)).contains(&rule), "{change:?}");
    }
}
