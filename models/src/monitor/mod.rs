//! Exhaustive model of `sync::monitor`, with kills: every interleaving of a few threads that change a state under a
//! lock, take records, sleep and are woken, of the kernel's futex queues, and of SIGKILLs between any two accesses to
//! shared memory. It checks the algorithm, and needs nothing from the crate.
//!
//! Two plays are given on this stage: a *meeting* (`sync::barrier`, without actions), whose parties arrive and wait for
//! the last one, and *calls* (`sync::condvar`), where some wait and others notify.
//!
//! What is modelled:
//! * Lock, event count, number of changes, records, what the play adds, and the pending slot. A step is one access to
//!   shared memory or one system call, with two exceptions. The lock is taken in one step, by whoever can: how one
//!   waits for it, is the model of the ring's matter. What may be done again by the next one is one step: to reap the dead, and
//!   to derive anew what can be derived.
//! * Sleep on several words, which are compared and queued one after the other.
//! * The kernel. It wakes sleepers in any order. At a thread's death each record with its number becomes DIED, and one
//!   that sleeps on it is woken; then the same for the lock in the slot, where a lock without a number has one woken
//!   too (the relay).
//! * A budget of kills, and one of lapses: a sleeper that leaves the queues by itself and gives up.
//!
//! The event count and the number of changes are modelled without their counts: each thread knows whether they changed
//! since it read them. That others arm the event count does not keep one from falling asleep here, as it does there: it
//! has it look once more.
//!
//! Invariants:
//! 1. No stuck sleeper: when neither a thread nor the kernel can take a step, no thread sleeps that could go on, or
//!    beside a lock that a dead one left; and what each play adds.
//! 2. Every run ends. (No state comes back on its own path.)
//!
//! Not modelled: weak memory, the backstop, a second turn of a thread, more than three that take part (some of what the
//! monitor does is for a fourth), waits for the lock, aborts and resets, a barrier without a free record, the lock
//! that a condition gives up (its guard is the model of the lock's matter), records that no thread has a word left to watch.

mod barrier;
mod condition;
mod stage;
mod thread;

use barrier::Meeting;
use condition::{Aim::Notify, Aim::Wait, Calls};
use stage::{Change, Play, Stage};

/// Explores one configuration: what threads come for, budgets of kills and lapses.
fn run<P: Play>(play: P, aims: &[P::Aim], mishaps: [u8; 2], change: Option<Change>) -> Vec<&'static str> {
    let (states, mut found) = crate::explore::explore(Stage::new(play, aims, mishaps, change));
    let bad = found.len();
    found.sort_unstable();
    found.dedup();
    let [kills, lapses] = mishaps;
    println!("{aims:?}, {kills} kills, {lapses} lapses, {change:?}: {states} states, {bad} of them bad {found:?}");
    found
}

fn meet(parties: u8, threads: usize, mishaps: [u8; 2], change: Option<Change>) -> Vec<&'static str> {
    println!("{parties} parties:");
    run(Meeting::of(parties), &[barrier::Arrives; 3][..threads], mishaps, change)
}

fn call(aims: &[condition::Aim], mishaps: [u8; 2], change: Option<Change>) -> Vec<&'static str> {
    run(Calls::default(), aims, mishaps, change)
}

#[test]
fn a_meeting() {
    for (parties, threads, mishaps) in
        [(2, 2, [2, 2]), (3, 2, [1, 1]), (3, 3, [2, 0]), (3, 3, [1, 1]), (2, 3, [2, 0]), (4, 3, [1, 0])]
    {
        assert!(meet(parties, threads, mishaps, None).is_empty());
    }
}

#[test]
fn calls_to_some_who_wait() {
    assert!(call(&[Wait, Wait, Notify(1)], [1, 0], None).is_empty());
    assert!(call(&[Wait, Wait, Notify(1)], [0, 1], None).is_empty());
    assert!(call(&[Wait, Wait, Notify(2)], [1, 0], None).is_empty());
    assert!(call(&[Wait, Notify(1), Notify(1)], [2, 1], None).is_empty());
}

#[test]
fn every_mistake_at_a_meeting_is_caught() {
    for (change, parties, threads, kills, rule) in [
        (Change::AsleepWithoutSlot, 3, 2, 1, "stuck"),
        (Change::ArrivalEmptiesSlot, 3, 2, 1, "stuck"),
        (Change::ParticipantsUnwatched, 3, 2, 1, "stuck"),
        (Change::SlotEmptiedBeforePay, 2, 2, 1, "stuck"),
        (Change::NothingPaid, 2, 2, 0, "stuck"),
        (Change::ChangesNotCounted, 2, 2, 1, "stuck"),
        (Change::ChangesComparedFirst, 2, 2, 1, "stuck"),
        (Change::PhaseIsAnnounced, 2, 2, 0, "stuck"),
        (Change::DiedLockNotPaid, 3, 3, 1, "stuck"),
        (Change::NotSettledAnew, 3, 3, 1, "stuck"),
        (Change::ReapedBeforeSettled, 2, 3, 2, "cause"),
    ] {
        assert!(meet(parties, threads, [kills, 0], Some(change)).contains(&rule), "{change:?}");
    }
}

#[test]
fn every_mistake_with_calls_is_caught() {
    for change in [Change::ParticipantsUnwatched, Change::NoGuardian, Change::GrantGoesWithTheDead] {
        assert!(call(&[Wait, Wait, Notify(1)], [1, 0], Some(change)).contains(&"lost"), "{change:?}");
    }
}
