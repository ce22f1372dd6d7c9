//! Exhaustive model of how the users of a ring sleep and are woken: every interleaving of a few threads that put and
//! get, of the kernel's futex queues, and of SIGKILLs between any two accesses to shared memory. It checks the protocol
//! of `ring`, `event count` and `section`, and needs nothing from the crate.
//!
//! What is modelled:
//! * push and pop of one item, under the tail's and the head's lock; rule R after each, with its first look at all four
//!   event counts; the sleep on data and on locks. A step is one access to shared memory or one system call. What only
//!   the holder of a lock changes needs no step to be read, and an item's bytes need none to be written: a check says
//!   that no consumer is on them. A load and the exchange that succeeds only if nothing came in between are one step.
//! * The event counts. Of the count it matters only whose last word is still the present one, so that is what is kept.
//! * The pending slot. The steps that only fill or empty it concern no other thread, so they are taken before any
//!   other; a thread may be killed on both sides of them.
//! * The kernel. It wakes sleepers in any order. `futex_waitv` compares and queues word by word, and a thread stays
//!   queued on its other words until it runs again, killed or not: it may swallow a wake in each. At a thread's death a
//!   pending word with its number becomes DIED, keeps W, and wakes one sleeper if it has W; one without any number
//!   wakes one, too.
//! * A budget of kills, and one of lapses: a deadline that passes, while asleep or awake, or a sleep that ends by
//!   itself.
//!
//! Invariants:
//! 1. No stuck sleeper: when neither a thread nor the kernel can take a step, no thread sleeps on what is true: an
//!    item, room, a free lock. Kills and lapses do not count as a way out.
//! 2. No item is lost or comes twice, and a lock has one holder.
//! 3. Sleepers do not wake each other for ever: no cycle of states has a wake in it that found a sleeper. Cycles
//!    without are there: two that arm the same event count in turns, again and again, keep each other from sleeping,
//!    and a scheduler that did this for long would have to mean it.
//!
//! Not modelled: weak memory (steps are sequentially consistent), the backstop (it would hide what is looked for),
//! several items at once, `close`, peers, corrupt memory, the looks before a sleep.
//!
//! Two things were found here before they were in the code, and have tests of their own: a sleeper compares the data as
//! well, as the last of its words ([`Change::NoLastLook`] leaves that out), and a thread that gives up waiting for a
//! lock follows rule R ([`Change::LateWakeKept`]).

mod search;
mod state;
mod step;

use state::*;

/// One configuration: role and rounds of each thread, capacity and items that are there, budgets of kills and of
/// lapses.
fn begin(threads: &[(Role, u8)], [capacity, items]: [u8; 2], [kills, lapses]: [u8; 2], changes: &[Change]) -> State {
    let changes = changes.iter().fold(0, |set, &change| set | 1 << change as u16);
    let mut start = State { changes, capacity, tail: items, kills, lapses, ..State::default() };
    (0..items).for_each(|n| start.stamps[usize::from(n)] = n + 1);
    start.threads.iter_mut().zip(threads).for_each(|(t, &(role, rounds))| *t = Thread::new(role, rounds));
    for t in start.threads.iter().filter(|t| t.at == At::Asleep) {
        start.asleep[t.event_count()] = true;
        start.words = [0, W, W];
    }
    start
}

/// Explores one configuration, and says which rules it breaks.
fn run(threads: &[(Role, u8)], ring: [u8; 2], mishaps: [u8; 2], changes: &[Change]) -> Vec<&'static str> {
    let (states, mut found) = begin(threads, ring, mishaps, changes).explore();
    println!(
        "{threads:?}, ring {ring:?}, kills and lapses {mishaps:?}, {changes:?}: {states} states, {} bad",
        found.len()
    );
    found.sort_unstable();
    found.dedup();
    found
}

fn holds(threads: &[(Role, u8)], ring: [u8; 2], mishaps: [u8; 2]) {
    let found = run(threads, ring, mishaps, &[]);
    assert!(found.is_empty(), "{found:?}; the shortest way there:\n{}", begin(threads, ring, mishaps, &[]).trace());
}

#[test]
fn one_and_one() {
    holds(&[(Get, 1), (Put, 1)], [1, 0], [2, 1]);
    holds(&[(Get, 2), (Put, 2)], [1, 0], [2, 0]);
    holds(&[(Get, 2), (Put, 2)], [2, 2], [2, 0]);
}

#[test]
fn two_and_one() {
    holds(&[(Get, 1), (Get, 1), (Put, 1)], [1, 0], [2, 0]);
    holds(&[(Get, 1), (Put, 1), (Put, 1)], [1, 1], [1, 0]);
    holds(&[(Get, 1), (Put, 1), (TryPut, 1)], [1, 1], [1, 0]);
}

#[test]
fn some_sleep_already() {
    holds(&[(Get, ASLEEP | 1), (Get, ASLEEP | 1), (Put, 1), (Put, 1)], [2, 0], [1, 0]);
    holds(&[(Get, ASLEEP | 1), (Get, ASLEEP | 1), (Get, ASLEEP | 1), (Put, 1)], [2, 0], [2, 0]);
    holds(&[(Get, ASLEEP | 1), (Get, ASLEEP | 1), (Put, 2)], [2, 0], [2, 0]);
    holds(&[(Get, 1), (Get, 1), (Put, ASLEEP | 1)], [1, 1], [1, 0]);
    holds(&[(Get, 1), (Put, ASLEEP | 1), (Put, ASLEEP | 1)], [1, 1], [1, 1]);
}

/// A consumer is killed after its pop, while another one sleeps for the head's lock. The kernel wakes one that sleeps
/// on this lock: a producer, which waits for room and has it. Should that one be killed in turn, it is with the tail's
/// lock in its slot, and the consumer is left on a free lock. The backstop wakes it.
#[test]
fn what_the_backstop_is_for() {
    assert_eq!(run(&[(Get, 1), (Get, 1), (Put, ASLEEP | 1)], [1, 1], [2, 0], &[]), ["stuck"]);
}

/// A wake at a death finds only threads that sleep. If the last thing that a sleeper looks at is not the data, a thread
/// may put an item between its look and its sleep and be killed before it rings: the event count has not moved, and the
/// lock's word is again what it was.
#[test]
fn a_look_before_the_sleep_is_too_early() {
    assert_eq!(run(&[(Get, 1), (Put, 1)], [1, 0], [1, 0], &[Change::NoLastLook]), ["stuck"]);
}

/// One that waits for room is woken, finds the tail's lock held, and its deadline passes. The lock's holder saw the
/// ring full before the room came, and does not wait: no thread looks again, and the third one sleeps on. Without any
/// kill.
#[test]
fn a_waiter_that_gives_up_passes_its_wake_on() {
    let threads = [(Get, 1), (Put, ASLEEP | 1), (Put, ASLEEP | 1), (TryPut, 1)];
    holds(&threads, [1, 1], [0, 1]);
    assert_eq!(run(&threads, [1, 1], [0, 1], &[Change::LateWakeKept]), ["stuck"]);
}

#[test]
fn every_mistake_is_caught() {
    let pair = &[(Get, 1), (Put, 1)][..];
    let three = &[(Get, 1), (Get, 1), (Put, 1)][..];
    let asleep = &[(Get, ASLEEP | 1), (Get, ASLEEP | 1), (Put, 1), (Put, 1)][..];
    let twice = &[(Get, ASLEEP | 1), (Get, ASLEEP | 1), (Put, 2)][..];
    let full = &[(Get, 1), (Get, 1), (Put, ASLEEP | 1)][..];
    for (change, threads, ring, mishaps, rule) in [
        (Change::NoPendingAsleep, three, [1, 0], [1, 0], "stuck"),
        (Change::LocksUnmarked, pair, [1, 0], [1, 0], "stuck"),
        (Change::RuleBeforeRelease, three, [1, 0], [1, 0], "stuck"),
        (Change::ClearBeforeRule, pair, [1, 0], [1, 0], "stuck"),
        (Change::SleepsOnEventCountAlone, pair, [1, 0], [1, 0], "stuck"),
        (Change::OldKernel, pair, [1, 0], [1, 0], "stuck"),
        (Change::FailWakesItsKind, three, [1, 0], [1, 0], "endless"),
        (Change::VainWakeKept, full, [1, 1], [1, 0], "stuck"),
        (Change::NoLookBehindArm, full, [1, 1], [1, 0], "stuck"),
        (Change::ReleaseDropsW, twice, [2, 0], [2, 0], "stuck"),
        (Change::AsleepGoesBlindly, asleep, [2, 0], [1, 0], "stuck"),
        (Change::TailStays, &[(Get, ASLEEP | 1), (Put, 1), (Put, 1)], [2, 0], [1, 0], "broken"),
    ] {
        assert!(run(threads, ring, mishaps, &[change]).contains(&rule), "{change:?}");
    }
}
