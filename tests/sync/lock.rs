//! `Lock`: a killed holder is reported until a repair; waiters, timeouts, crowds.

use crate::util::{self, AT_ONCE, Child, Mark, PANICKED, fork, quiet_panics, until, until_killed, within};
use crossproc::testing::switch_backstop;
use crossproc::{Atomic, Lock, LockError, LockTimeoutError, RawValue, TryLockError};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(20);

/// A child that holds the lock.
fn holder(lock: &Lock) -> Child {
    let mark = Mark::new();
    let child = fork(|| {
        let _guard = lock.lock().unwrap();
        mark.hit();
        until_killed()
    });
    mark.reaches(1);
    child
}

/// All ways but the repair say that this process died.
fn is_marked(lock: &Lock, pid: u32) {
    let died = LockError::OwnerDied { pid };
    for _ in 0..2 {
        assert_eq!(lock.lock().unwrap_err(), died);
        assert_eq!(lock.try_lock().unwrap_err(), TryLockError::Lock(died));
        assert_eq!(lock.lock_timeout(LONG).unwrap_err(), LockTimeoutError::Lock(died));
        assert_eq!(lock.holder(), None);
    }
}

fn is_clean(lock: &Lock) {
    drop(lock.try_lock().expect("free"));
    drop(lock.lock_or_repair(|| panic!("nobody died")).unwrap());
}

#[test]
fn a_killed_holder_is_reported_until_one_repair() {
    within(30, || {
        let lock = Lock::new().unwrap();
        let mut child = holder(&lock);
        assert_eq!(lock.holder(), Some(child.pid));
        assert_eq!(lock.try_lock().unwrap_err(), TryLockError::WouldBlock);
        child.kill();
        let start = Instant::now();
        is_marked(&lock, child.pid);
        assert!(start.elapsed() < AT_ONCE);
        let mut repairs = 0;
        let guard = lock.lock_or_repair(|| repairs += 1).unwrap();
        assert_eq!(lock.holder(), Some(std::process::id()));
        drop(guard);
        assert_eq!(repairs, 1);
        is_clean(&lock);
    });
}

#[test]
fn a_repairer_that_is_killed_leaves_the_repair_to_the_next() {
    within(30, || {
        let lock = Lock::new().unwrap();
        let first = {
            let mut child = holder(&lock);
            child.kill();
            child.pid
        };
        for _ in 0..2 {
            let repairing = Mark::new();
            let mut repairer = fork(|| {
                let _guard = lock.lock_or_repair(|| {
                    repairing.hit();
                    until_killed()
                });
            });
            repairing.reaches(1);
            assert_eq!(lock.try_lock().unwrap_err(), TryLockError::WouldBlock, "a repairer holds the lock");
            repairer.kill();
            is_marked(&lock, first);
        }
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _guard = lock.lock_or_repair(|| resume_unwind(Box::new("planned")));
        }));
        assert!(panicked.is_err());
        is_marked(&lock, first);
        let mut repairs = 0;
        drop(lock.lock_or_repair(|| repairs += 1).unwrap());
        assert_eq!(repairs, 1);
        is_clean(&lock);
    });
}

#[test]
fn a_holder_killed_after_its_repair_is_a_new_death() {
    within(30, || {
        let lock = Lock::new().unwrap();
        holder(&lock).kill();
        let repaired = Mark::new();
        let mut second = fork(|| {
            let _guard = lock.lock_or_repair(|| ()).unwrap();
            repaired.hit();
            until_killed()
        });
        repaired.reaches(1);
        second.kill();
        is_marked(&lock, second.pid);
        drop(lock.lock_or_repair(|| ()).unwrap());
        is_clean(&lock);
    });
}

#[test]
fn of_many_that_repair_one_does() {
    within(40, || {
        let lock = Lock::new().unwrap();
        let (start, repairs) = (Mark::new(), Mark::new());
        holder(&lock).kill();
        let children: Vec<_> = (0..8)
            .map(|_| {
                fork(|| {
                    start.meet(8);
                    let _guard = lock.lock_or_repair(|| assert_eq!(repairs.hit(), 0)).unwrap();
                })
            })
            .collect();
        children.into_iter().for_each(Child::join);
        assert_eq!(repairs.get(), 1);
        is_clean(&lock);
    });
}

#[test]
fn a_panic_just_unlocks() {
    within(30, || {
        let lock = Lock::new().unwrap();
        let mut child = fork(|| {
            quiet_panics();
            let _guard = lock.lock().unwrap();
            panic!("planned");
        });
        assert_eq!(child.wait(), PANICKED);
        is_clean(&lock);
    });
}

#[test]
fn a_sleeper_is_woken_at_once_by_a_killed_holder() {
    within(60, || {
        let quickest = (0..5)
            .map(|_| {
                let (lock, heard) = (Lock::new().unwrap(), Mark::new());
                let mut child = holder(&lock);
                let waiters: Vec<_> = (0..2)
                    .map(|_| {
                        fork(|| {
                            switch_backstop(false);
                            assert_eq!(lock.lock().unwrap_err(), LockError::OwnerDied { pid: child.pid });
                            heard.hit();
                        })
                    })
                    .collect();
                waiters.iter().for_each(Child::until_asleep);
                let start = Instant::now();
                child.shoot();
                heard.reaches(2); // the first passes it on
                let took = start.elapsed();
                waiters.into_iter().for_each(Child::join);
                is_marked(&lock, child.pid);
                took
            })
            .min();
        assert!(quickest < Some(AT_ONCE), "{quickest:?}");
    });
}

#[test]
fn a_second_lock_in_one_thread_is_a_deadlock() {
    let lock = Lock::new().unwrap();
    let guard = lock.lock().unwrap();
    assert_eq!(lock.lock().unwrap_err(), LockError::Deadlock);
    assert_eq!(lock.try_lock().unwrap_err(), TryLockError::Lock(LockError::Deadlock));
    assert_eq!(lock.lock_timeout(LONG).unwrap_err(), LockTimeoutError::Lock(LockError::Deadlock));
    assert_eq!(lock.lock_or_repair(|| ()).unwrap_err(), LockError::Deadlock);
    std::thread::scope(|scope| {
        let other = scope.spawn(|| lock.try_lock().unwrap_err());
        assert_eq!(other.join().unwrap(), TryLockError::WouldBlock, "another thread is another holder");
    });
    drop(guard);
    is_clean(&lock);
}

#[test]
fn a_timeout_is_neither_early_nor_late() {
    within(30, || {
        let lock = Lock::new().unwrap();
        let mut child = holder(&lock);
        for ms in [0, 1, 30, 700] {
            let time = Duration::from_millis(ms);
            let took = |_| {
                let start = Instant::now();
                assert!(lock.lock_timeout(time).unwrap_err().is_timeout());
                start.elapsed()
            };
            let late = (0..3).map(took).inspect(|took| assert!(*took >= time, "{took:?}")).min();
            assert!(late < Some(time + Duration::from_millis(100)), "{late:?} for {time:?}");
        }
        child.kill();
    });
}

#[test]
fn waiters_that_give_up_lose_no_wake() {
    within(60, || {
        let lock = Lock::new().unwrap();
        let (turns, timeouts) = (Mark::new(), Mark::new());
        let patient = |turns_each: usize| {
            switch_backstop(false); // it would hide a lost wake
            for _ in 0..turns_each {
                let _guard = lock.lock().unwrap();
                turns.hit();
            }
        };
        let hasty = |seed: u64| {
            switch_backstop(false);
            let mut got = 0;
            for n in 0.. {
                match lock.lock_timeout(Duration::from_micros((seed * 7919 + n * 31) % 300)) {
                    Ok(_guard) => got += 1,
                    Err(error) => assert!(error.is_timeout() && timeouts.hit() < u64::MAX),
                }
                if got == 300 {
                    return;
                }
                // Now and then with the lock held for longer than the others wait.
                if n % 64 == 63 {
                    let _guard = lock.lock().unwrap();
                    std::thread::sleep(Duration::from_micros(200));
                }
            }
        };
        let guard = lock.lock().unwrap();
        let mut children: Vec<_> = (0..6).map(|seed| fork(|| hasty(seed))).collect();
        children.extend((0..6).map(|_| fork(|| patient(300))));
        until("the hasty ones have given up many times", || timeouts.get() > 100);
        drop(guard);
        children.into_iter().for_each(Child::join);
        assert_eq!(turns.get(), 1_800);
        is_clean(&lock);
    });
}

#[test]
fn three_hundred_processes_at_one_lock() {
    within(60, || {
        let lock = Lock::new().unwrap();
        let (sum, inside) = (RawValue::new(0_u64).unwrap(), Atomic::new(0_u32).unwrap());
        let here = Mark::new();
        let guard = lock.lock().unwrap();
        let children: Vec<_> = (0..300)
            .map(|_| {
                fork(|| {
                    switch_backstop(false);
                    here.hit();
                    for _ in 0..3 {
                        let _guard = lock.lock().unwrap();
                        assert_eq!(inside.fetch_add(1, SeqCst), 0, "two at once");
                        sum.set(sum.get() + 1);
                        inside.fetch_sub(1, SeqCst);
                    }
                })
            })
            .collect();
        here.reaches(300);
        until("most of them sleep", || children.iter().filter(|child| util::asleep(child.pid)).count() > 290);
        drop(guard);
        children.into_iter().for_each(Child::join);
        assert_eq!(sum.get(), 900);
    });
}

#[test]
fn waiters_and_holders_may_be_killed_in_a_crowd() {
    within(60, || {
        let (lock, turns) = (Lock::new().unwrap(), Mark::new());
        let worker = || {
            loop {
                let guard = lock.lock_or_repair(|| ()).unwrap();
                turns.hit();
                drop(guard);
            }
        };
        let mut crowd: Vec<_> = (0..6).map(|_| fork(worker)).collect();
        for round in 0..60 {
            let before = turns.get();
            crowd[round % 6].kill();
            turns.reaches(before + 100); // the others go on
            crowd[round % 6] = fork(worker);
        }
        crowd.iter_mut().for_each(|child| assert_eq!(child.kill(), -9));
        drop(lock.lock_or_repair(|| ()).unwrap());
        is_clean(&lock);
    });
}
