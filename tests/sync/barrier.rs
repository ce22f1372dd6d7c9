//! `Barrier`: rounds, indices and leaders; abort, reset, timeouts, actions; killed parties.

use crate::util::{self, Child, MS, Mark, fork, until, until_killed, within};
use crossproc::testing::switch_backstop;
use crossproc::{Array, Barrier, BarrierError, Process, SegmentError, Value};
use std::time::{Duration, Instant};

#[test]
fn five_processes_pass_a_thousand_times() {
    const PARTIES: usize = 5;
    const ROUNDS: usize = 1000;
    /// Says its index of each round; each round is complete before the next begins.
    fn run(barrier: Barrier, rounds: Array<u32>, me: usize) -> crossproc::Result<Vec<(usize, bool)>> {
        let mut turns = Vec::new();
        for round in 0..ROUNDS {
            rounds.set(me, round as u32 + 1)?;
            let turn = barrier.wait()?;
            turns.push((turn.index, turn.is_leader));
            if rounds.to_vec()?.iter().any(|other| *other <= round as u32) {
                return Err(format!("round {round} was not complete").into());
            }
            barrier.wait()?;
        }
        Ok(turns)
    }
    within(120, || {
        let (barrier, rounds) = (Barrier::new(PARTIES).unwrap(), Array::zeroed(PARTIES).unwrap());
        let spawn = |me| Process::spawn(run, (barrier.clone(), rounds.clone(), me)).unwrap();
        let children: Vec<_> = (0..PARTIES).map(spawn).collect();
        let turns: Vec<_> = children.into_iter().map(|child| child.join().unwrap().unwrap()).collect();
        for round in 0..ROUNDS {
            let mut indices: Vec<_> = turns.iter().map(|turns| turns[round].0).collect();
            indices.sort_unstable();
            assert_eq!(indices, (0..PARTIES).collect::<Vec<_>>());
            assert_eq!(turns.iter().filter(|turns| turns[round].1).count(), 1);
        }
        assert_eq!((barrier.waiting(), barrier.is_broken()), (0, false));
    });
}

/// Parties that wait asleep; each must get this answer.
fn waiting(barrier: &Barrier, count: usize, answer: BarrierError) -> Vec<Child> {
    let wait = || assert_eq!(barrier.wait(), Err(answer.clone()));
    let children: Vec<_> = (0..count).map(|_| fork(wait)).collect();
    children.iter().for_each(Child::until_asleep);
    until("they have arrived", || barrier.waiting() == count);
    children
}

#[test]
fn abort_breaks_it_until_a_reset() {
    within(30, || {
        let barrier = Barrier::new(4).unwrap();
        let children = waiting(&barrier, 3, BarrierError::Broken);
        barrier.abort().unwrap();
        children.into_iter().for_each(Child::join);
        assert!(barrier.is_broken());
        assert_eq!(barrier.wait(), Err(BarrierError::Broken));
        barrier.reset().unwrap();
        assert!(!barrier.is_broken());
        let passing: Vec<_> = (0..3).map(|_| fork(|| assert!(barrier.wait().is_ok()))).collect();
        barrier.wait().unwrap();
        passing.into_iter().for_each(Child::join);
    });
}

#[test]
fn reset_breaks_the_round_of_those_who_wait() {
    within(30, || {
        let barrier = Barrier::new(3).unwrap();
        for _ in 0..20 {
            let children = waiting(&barrier, 2, BarrierError::Broken);
            barrier.reset().unwrap();
            children.into_iter().for_each(Child::join);
            assert_eq!((barrier.is_broken(), barrier.waiting()), (false, 0));
        }
    });
}

#[test]
fn a_late_party_times_out_and_breaks_it_for_the_others() {
    within(30, || {
        let barrier = Barrier::new(3).unwrap();
        let children = waiting(&barrier, 1, BarrierError::Broken);
        let start = Instant::now();
        assert_eq!(barrier.wait_timeout(50 * MS), Err(BarrierError::Timeout));
        assert!(start.elapsed() >= 50 * MS);
        children.into_iter().for_each(Child::join);
        assert!(barrier.is_broken());
        barrier.reset().unwrap();
        assert_eq!(barrier.wait_timeout(Duration::ZERO), Err(BarrierError::Timeout));
    });
}

#[test]
fn a_waiting_party_that_is_killed_breaks_it_at_once() {
    within(60, || {
        for others in [1, 2, 3] {
            let barrier = Barrier::new(others + 2).unwrap();
            let mut victim = fork(|| drop(barrier.wait()));
            victim.until_asleep();
            let wait = || {
                switch_backstop(false); // it would hide a lost wake
                assert_eq!(barrier.wait(), Err(BarrierError::Broken));
            };
            let children: Vec<_> = (0..others).map(|_| fork(wait)).collect();
            children.iter().for_each(Child::until_asleep);
            victim.kill();
            children.into_iter().for_each(Child::join);
            assert_eq!(barrier.wait(), Err(BarrierError::Broken));
        }
    });
}

#[test]
fn a_party_that_is_killed_with_nobody_asleep_is_found_by_the_next() {
    within(30, || {
        let barrier = Barrier::new(2).unwrap();
        let mut victim = fork(|| drop(barrier.wait()));
        victim.until_asleep();
        victim.kill();
        assert_eq!(barrier.wait(), Err(BarrierError::Broken));
    });
}

#[test]
fn the_action_runs_once_a_round_by_one_party() {
    fn count(rounds: Value<u32>, by: Value<u32>) -> crossproc::Result<()> {
        *rounds.lock()? += 1;
        by.set(std::process::id())?;
        Ok(())
    }
    fn run(barrier: Barrier, rounds: Value<u32>) -> crossproc::Result<u32> {
        let mut led = 0;
        for round in 1..=200 {
            led += u32::from(barrier.wait()?.is_leader);
            let now = rounds.get(); // the next action waits for this party
            if now != round {
                return Err(format!("action {now} in round {round}").into());
            }
        }
        Ok(led)
    }
    within(60, || {
        let (rounds, by) = (Value::new(0_u32).unwrap(), Value::new(0_u32).unwrap());
        let barrier = Barrier::with_action(3, count, (rounds.clone(), by.clone())).unwrap();
        let spawn = |_| Process::spawn(run, (barrier.clone(), rounds.clone())).unwrap();
        let children: Vec<_> = (0..3).map(spawn).collect();
        let led: u32 = children.into_iter().map(|child| child.join().unwrap().unwrap()).sum();
        assert_eq!((led, rounds.get()), (200, 200));
        assert_ne!(by.get(), std::process::id());
    });
}

#[test]
fn a_failing_action_is_an_error_for_its_party_and_breaks_it_for_the_others() {
    within(60, || {
        let fails = || Err::<(), String>("no ink".into());
        let panics = || -> () { std::panic::resume_unwind(Box::new("no paper")) };
        let barriers =
            [(Barrier::with_action(2, fails, ()), "no ink"), (Barrier::with_action(2, panics, ()), "no paper")];
        for (barrier, text) in barriers {
            let barrier = barrier.unwrap();
            let children = waiting(&barrier, 1, BarrierError::Broken);
            assert_eq!(barrier.wait(), Err(BarrierError::Action(text.into())));
            children.into_iter().for_each(Child::join);
            assert!(barrier.is_broken());
        }
    });
}

#[test]
fn a_leader_that_is_killed_in_the_action_breaks_it() {
    within(30, || {
        let mark = Mark::new();
        let barrier = Barrier::with_action(3, until_killed_in_action, ()).unwrap();
        let mut children = Vec::new();
        for _ in 0..2 {
            let child = fork(|| {
                switch_backstop(false); // it would hide a lost wake
                assert_eq!(barrier.wait(), Err(BarrierError::Broken));
            });
            child.until_asleep();
            children.push(child);
        }
        let mut leader = fork(|| {
            mark.hit();
            drop(barrier.wait());
        });
        mark.reaches(1);
        until("it acts", || barrier.waiting() == 2 && util::state(leader.pid) == Some('S'));
        leader.kill();
        children.into_iter().for_each(Child::join);
    });
}

fn until_killed_in_action() {
    until_killed()
}

#[test]
fn impossible_numbers_of_parties() {
    for parties in [0, 4097, usize::MAX] {
        assert!(matches!(Barrier::new(parties), Err(SegmentError::Invalid(_))));
    }
    assert_eq!(Barrier::new(4096).unwrap().parties(), 4096);
}

#[test]
fn parties_are_killed_at_random_and_nobody_hangs() {
    fn run(barrier: Barrier) {
        loop {
            if barrier.wait() == Err(BarrierError::Broken) {
                std::thread::sleep(Duration::from_micros(100));
            }
        }
    }
    within(120, || {
        let barrier = Barrier::new(3).unwrap();
        let spawn = || Process::builder().daemon(true).spawn(run, (barrier.clone(),)).unwrap();
        let mut children: Vec<_> = (0..3).map(|_| spawn()).collect();
        for round in 0..100 {
            std::thread::sleep(Duration::from_micros(50 * (round % 7)));
            let at = round as usize % 3;
            children[at].kill().unwrap();
            children[at].wait();
            // The others cannot pass without it; whether it waited when it died, they know.
            barrier.reset().unwrap();
            children[at] = spawn();
        }
        children.iter().for_each(|child| child.kill().unwrap());
        children.iter().for_each(|child| assert_eq!(child.wait(), -9));
        barrier.reset().unwrap();
        assert_eq!(barrier.waiting(), 0);
    });
}
