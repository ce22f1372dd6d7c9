//! Exhaustive model of `sync::event`, the word of an event, with kills: every interleaving of a few threads that set,
//! clear and wait, of the kernel's futex queue, and of SIGKILLs between any two accesses to shared memory. It checks
//! the algorithm, and needs nothing from the crate.
//!
//! What is modelled: the word, the wake word, the pending slot, and the kernel, which wakes one sleeper at a thread's
//! death if the wake word is in its slot. A sleeper is queued at the wake word first, and then the word is compared. A
//! killed sleeper that is still in the queue may swallow a wake.
//!
//! Invariants:
//! 1. No stuck sleeper: when neither a thread nor the kernel can take a step, no thread sleeps on a word that is set,
//!    nor through a round that began when it had begun to wait.
//! 2. Every run ends. (No state comes back on its own path.)
//!
//! Not modelled: weak memory, the backstop, which makes up for a `set` without the slot, deadlines.

use crate::explore::{Model, explore};

const THREADS: usize = 4;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    Begin,
    Load,         // set: the word
    Set,          // CAS SET and one more round into it
    Wake,         // FUTEX_WAKE, all
    Calm,         // W goes, if the word is set and has not changed
    Reset,        // SET goes
    Look,         // wait: is it set, or was it?
    Mark,         // CAS W into the word
    Queue,        // in the wake word's queue
    Compare,      // compares the word
    Asleep,       // rests
    Clear,        // the slot is emptied
    KilledAsleep, // dead, and still in the queue
    Exit,         // the kernel visits the slot
    Gone,         // rests
}

/// The purpose of a thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Aim {
    #[default]
    Nothing,
    Wait,
    Set,
    Reset,
    /// Sets, and clears.
    Pulse,
}

/// A mistake, to see that it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    SetsWithoutSlot,
    AsleepWithoutSlot,
    NotPassedOn,
    CalmBeforeWake,
    CalmThoughCleared,
    RoundsNotCounted,
    WordBeforeWakeWord,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Word {
    set: bool,
    waiters: bool,
    rounds: u8,
}

impl Word {
    fn key(self) -> u64 {
        u64::from(self.rounds) << 2 | u64::from(self.set) << 1 | u64::from(self.waiters)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Thread {
    at: At,
    aim: Aim,
    slot: bool,
    at_wake_word: bool, // in its queue
    seen: Word,
    noted: u8,    // rounds
    missed: bool, // it was set since they were noted
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    change: Option<Change>,
    word: Word,
    kills: u8,
    threads: [Thread; THREADS],
}

impl State {
    fn is(&self, change: Change) -> bool {
        self.change == Some(change)
    }

    /// Out of the queue.
    fn get_up(&mut self, sleeper: usize) {
        let t = &mut self.threads[sleeper];
        t.at_wake_word = false;
        t.at = if t.at == At::KilledAsleep { At::Exit } else { At::Look };
    }
}

impl Thread {
    fn key(self) -> u64 {
        let flags = [self.slot, self.at_wake_word, self.missed];
        let small = (self.at as u64) << 3 | self.aim as u64;
        let small = flags.into_iter().fold(small, |packed, flag| packed << 1 | u64::from(flag));
        small << 16 | self.seen.key() << 8 | u64::from(self.noted)
    }

    /// To the wake of all, or past it.
    fn calls(&mut self, is_needed: bool, change: Option<Change>) {
        self.at = match is_needed {
            true if change == Some(Change::CalmBeforeWake) => At::Calm,
            true => At::Wake,
            false => At::Clear,
        };
    }
}

impl Model for State {
    type Key = (u64, u64, u64, u64, u64);
    const THREADS: usize = THREADS;

    /// Threads are interchangeable.
    fn canonical(&self) -> Self {
        let mut n = *self;
        n.threads.sort_unstable_by_key(|t| t.key());
        n
    }

    fn key(&self) -> Self::Key {
        let [a, b, c, d] = self.threads.map(Thread::key);
        (a, b, c, d, u64::from(self.kills) << 8 | self.word.key())
    }

    fn step(&self, i: usize, out: &mut Vec<Self>) {
        let mut n = *self;
        let t = &mut n.threads[i];
        match t.at {
            At::Asleep | At::Gone => return,
            At::Begin => match t.aim {
                Aim::Wait if self.word.set => t.at = At::Gone,
                Aim::Wait => (t.at, t.noted, t.missed) = (At::Look, self.word.rounds, false),
                Aim::Reset => t.at = At::Reset,
                _ => (t.at, t.slot) = (At::Load, !self.is(Change::SetsWithoutSlot)),
            },
            At::Load => {
                (t.at, t.seen) = (At::Set, self.word);
                if self.word.set {
                    t.calls(self.word.waiters, self.change);
                }
            }
            At::Set => {
                t.at = At::Load;
                if self.word == t.seen {
                    let rounds = t.seen.rounds + u8::from(!self.is(Change::RoundsNotCounted));
                    t.seen = Word { set: true, rounds, ..t.seen };
                    n.word = t.seen;
                    t.calls(t.seen.waiters, self.change);
                    n.threads.iter_mut().for_each(|t| t.missed = true);
                }
            }
            At::Wake => {
                t.at = if self.is(Change::CalmBeforeWake) { At::Clear } else { At::Calm };
                (0..THREADS).filter(|i| self.threads[*i].at_wake_word).for_each(|sleeper| n.get_up(sleeper));
            }
            At::Calm => {
                t.at = if self.is(Change::CalmBeforeWake) { At::Wake } else { At::Clear };
                if self.word == t.seen && (t.seen.set || self.is(Change::CalmThoughCleared)) {
                    n.word.waiters = false;
                }
            }
            At::Reset => {
                t.at = At::Gone;
                n.word.set = false;
            }
            At::Look => {
                t.slot = !self.is(Change::AsleepWithoutSlot);
                t.seen = self.word;
                let may = !self.is(Change::NotPassedOn);
                match self.word.set || self.word.rounds != t.noted {
                    true => t.calls(self.word.waiters && may, self.change),
                    false => t.at = if self.word.waiters { At::Queue } else { At::Mark },
                }
            }
            At::Mark => {
                t.at = At::Look;
                if self.word == t.seen {
                    (t.seen.waiters, t.at) = (true, At::Queue);
                    n.word.waiters = true;
                }
            }
            At::Queue => {
                t.at = At::Compare;
                if !self.is(Change::WordBeforeWakeWord) {
                    t.at_wake_word = true;
                } else if self.word != t.seen {
                    t.at = At::Look;
                }
            }
            At::Compare => {
                t.at = At::Asleep;
                if !self.is(Change::WordBeforeWakeWord) && self.word != t.seen {
                    n.get_up(i);
                } else {
                    t.at_wake_word = true;
                }
            }
            At::Clear => {
                t.slot = false;
                t.at = if t.aim == Aim::Pulse { At::Reset } else { At::Gone };
            }
            At::KilledAsleep => n.get_up(i),
            At::Exit => {
                let slot = t.slot;
                *t = Thread { at: At::Gone, ..Thread::default() };
                let at_wake_word = (0..THREADS).filter(|i| slot && self.threads[*i].at_wake_word);
                let woken = out.len();
                out.extend(at_wake_word.map(|sleeper| {
                    let mut n = n;
                    n.get_up(sleeper);
                    n
                }));
                if out.len() > woken {
                    return;
                }
            }
        }
        out.push(n);
    }

    fn mishap(&self, i: usize, out: &mut Vec<Self>) {
        let t = self.threads[i];
        if self.kills > 0 && !matches!(t.at, At::Gone | At::Exit | At::KilledAsleep) {
            let mut n = *self;
            n.kills -= 1;
            n.threads[i].at = if t.at_wake_word { At::KilledAsleep } else { At::Exit };
            out.push(n);
        }
    }

    fn broken(&self, is_last: bool) -> Option<&'static str> {
        let stuck = |t: &Thread| t.at == At::Asleep && (self.word.set || t.missed);
        (is_last && self.threads.iter().any(stuck)).then_some("stuck")
    }
}

/// Explores one configuration: what threads come for, a budget of kills.
fn run(aims: &[Aim], kills: u8, change: Option<Change>) -> Vec<&'static str> {
    let idle = Thread { at: At::Gone, ..Thread::default() };
    let mut start = State { change, word: Word::default(), kills, threads: [idle; THREADS] };
    for (t, &aim) in start.threads.iter_mut().zip(aims).filter(|(_, aim)| **aim != Nothing) {
        *t = Thread { aim, ..Thread::default() };
    }
    let (states, found) = explore(start);
    println!("{aims:?}, {kills} kills, {change:?}: {states} states, {} of them bad", found.len());
    found
}

use Aim::{Nothing, Pulse, Reset, Set, Wait};

#[test]
fn a_set_wakes_every_waiter() {
    for aims in [[Wait, Wait, Wait, Set], [Wait, Wait, Set, Set], [Wait, Wait, Wait, Pulse]] {
        for kills in 0..=3 {
            assert!(run(&aims, kills, None).is_empty());
        }
    }
}

#[test]
fn it_may_be_cleared_at_any_time() {
    assert!(run(&[Wait, Wait, Set, Reset], 0, None).is_empty());
    assert!(run(&[Wait, Wait, Pulse, Pulse], 0, None).is_empty());
    assert!(run(&[Wait, Wait, Pulse, Reset], 0, None).is_empty());
}

/// A thread sets and is killed before it wakes, another one clears in between: the kernel may wake a waiter that began
/// after the round, and has nothing to pass on.
#[test]
fn what_the_backstop_is_for() {
    assert_eq!(run(&[Wait, Wait, Set, Reset], 1, None), ["stuck"]);
}

#[test]
fn every_mistake_is_caught() {
    for (change, aims, kills) in [
        (Change::SetsWithoutSlot, [Wait, Wait, Wait, Set], 1),
        (Change::AsleepWithoutSlot, [Wait, Wait, Wait, Set], 2),
        (Change::NotPassedOn, [Wait, Wait, Wait, Set], 1),
        (Change::CalmBeforeWake, [Wait, Wait, Wait, Set], 1),
        (Change::CalmThoughCleared, [Wait, Wait, Pulse, Pulse], 0),
        (Change::RoundsNotCounted, [Wait, Wait, Pulse, Pulse], 0),
        (Change::WordBeforeWakeWord, [Wait, Wait, Wait, Set], 1),
    ] {
        assert!(run(&aims, kills, Some(change)).contains(&"stuck"), "{change:?}");
    }
}
