//! `Condition`: exact numbers of wake-ups, each kind of guard, timeouts, killed waiters and notifiers.

use crate::util::{AT_ONCE, Child, MS, Mark, asleep, fork, tid, until, until_killed, within};
use crossproc::testing::switch_backstop;
use crossproc::{Array, Condition, Lock, LockError, Process, RLock, Value};
use std::time::{Duration, Instant};

#[test]
fn as_many_wake_as_were_notified() {
    within(60, || {
        let (lock, condition, woken) = (Lock::new().unwrap(), Condition::new().unwrap(), Mark::new());
        let wait = || {
            let guard = condition.wait(lock.lock().unwrap()).unwrap();
            woken.hit();
            drop(guard);
        };
        let processes: Vec<_> = (0..3).map(|_| fork(wait)).collect();
        std::thread::scope(|scope| {
            let tids: Vec<u32> = (0..3)
                .map(|_| {
                    let (sender, receiver) = std::sync::mpsc::channel();
                    scope.spawn(move || {
                        sender.send(tid()).unwrap();
                        wait();
                    });
                    receiver.recv().unwrap()
                })
                .collect();
            processes.iter().for_each(Child::until_asleep);
            tids.iter().for_each(|tid| until("a thread sleeps", || asleep(*tid)));
            let reaches = |n: u64| {
                until("they wake", || woken.get() >= n);
                std::thread::sleep(30 * MS); // nobody else does
                assert_eq!(woken.get(), n);
            };
            condition.notify_one().unwrap();
            reaches(1);
            condition.notify(2).unwrap();
            reaches(3);
            condition.notify_all().unwrap();
            reaches(6);
            condition.notify(3).unwrap();
            reaches(6);
        });
        processes.into_iter().for_each(Child::join);
    });
}

#[test]
fn a_killed_waiter_is_no_obstacle() {
    within(30, || {
        let (lock, condition) = (Lock::new().unwrap(), Condition::new().unwrap());
        let wait = || drop(condition.wait(lock.lock().unwrap()).unwrap());
        let mut victim = fork(wait);
        victim.until_asleep();
        victim.kill();
        let start = Instant::now();
        condition.notify_all().unwrap();
        assert!(start.elapsed() < AT_ONCE);
        let fresh = fork(wait);
        fresh.until_asleep();
        condition.notify_all().unwrap();
        fresh.join();
        assert!(start.elapsed() < Duration::from_secs(5));
    });
}

#[test]
fn a_waiter_killed_after_a_notification_leaves_it_to_another() {
    within(60, || {
        for round in 0..40 {
            let (lock, condition) = (Lock::new().unwrap(), Condition::new().unwrap());
            let wait = || {
                switch_backstop(false); // it would hide a lost wake
                drop(condition.wait(lock.lock().unwrap()).unwrap());
            };
            let mut victim = fork(wait);
            victim.until_asleep();
            let other = fork(wait);
            other.until_asleep();
            // With the lock held, so that the one who is called cannot come further than to wait for it.
            let guard = lock.lock().unwrap();
            condition.notify_one().unwrap();
            std::thread::sleep(Duration::from_micros(20 * round));
            victim.kill();
            drop(guard);
            other.join();
        }
    });
}

#[test]
fn a_notifier_killed_at_any_moment_leaves_waiters_that_can_be_notified() {
    within(60, || {
        let (lock, condition) = (Lock::new().unwrap(), Condition::new().unwrap());
        for round in 0..40 {
            let waiter = fork(|| drop(condition.wait(lock.lock().unwrap()).unwrap()));
            waiter.until_asleep();
            let mark = Mark::new();
            let mut notifier = fork(|| {
                mark.hit();
                condition.notify_one().unwrap();
                until_killed()
            });
            mark.reaches(1);
            std::thread::sleep(Duration::from_micros(round));
            notifier.kill();
            condition.notify_one().unwrap();
            waiter.join();
        }
    });
}

#[test]
fn each_kind_of_guard_is_given_up_and_taken_again() {
    fn add(value: Value<u32>, array: Array<u32>, changed: Condition) -> crossproc::Result<()> {
        value.lock()?.clone_from(&1);
        changed.notify_all()?;
        array.lock()?[1] = 2;
        changed.notify_all()?;
        Ok(())
    }
    within(30, || {
        let (value, array) = (Value::new(0_u32).unwrap(), Array::<u32>::zeroed(3).unwrap());
        let changed = Condition::new().unwrap();
        let (value_guard, array_guard) = (value.lock().unwrap(), array.lock().unwrap());
        let child = Process::spawn(add, (value.clone(), array.clone(), changed.clone())).unwrap();
        let value_guard = changed.wait_while(value_guard, |value| *value == 0).unwrap();
        assert_eq!(*value_guard, 1);
        let array_guard = changed.wait_while(array_guard, |items| items[1] == 0).unwrap();
        assert_eq!(*array_guard, [0, 2, 0]);
        drop((value_guard, array_guard));
        child.join().unwrap().unwrap();

        let parts = array.parts(2).unwrap();
        let guard = parts[1].lock().unwrap();
        let (guard, result) = changed.wait_timeout(guard, MS).unwrap();
        assert!(result.timed_out() && guard.len() == parts[1].len());
        drop(guard);
    });
}

#[test]
fn the_guard_of_a_value_commits_before_the_wait() {
    within(30, || {
        let (value, changed) = (Value::new(1).unwrap(), Condition::new().unwrap());
        let mut guard = value.lock().unwrap();
        *guard = 2;
        let child = fork(|| assert_eq!(*value.lock_timeout(Duration::from_secs(10)).unwrap(), 2));
        let (guard, result) = changed.wait_timeout(guard, 50 * MS).unwrap();
        assert!(result.timed_out());
        drop(guard);
        child.join();
    });
}

#[test]
fn all_levels_are_given_up_and_taken_again() {
    within(30, || {
        let (lock, condition) = (RLock::new().unwrap(), Condition::new().unwrap());
        let (outer, inner) = (lock.lock().unwrap(), lock.lock().unwrap());
        let child = fork(|| {
            drop(lock.lock().unwrap()); // only when all levels are given up
            condition.notify_one().unwrap();
        });
        let inner = condition.wait(inner).unwrap();
        child.join();
        assert_eq!(lock.holder(), Some(std::process::id()));
        drop(inner);
        assert_eq!(lock.holder(), Some(std::process::id()));
        drop(outer);
        assert_eq!(lock.holder(), None);

        let own = condition.lock().unwrap();
        let again = condition.lock().unwrap();
        assert!(condition.wait_timeout(own, MS).unwrap().1.timed_out());
        drop(again);
    });
}

#[test]
fn times_are_kept() {
    within(30, || {
        let (lock, condition) = (Lock::new().unwrap(), Condition::new().unwrap());
        for time in [Duration::ZERO, 30 * MS] {
            let start = Instant::now();
            let (guard, result) = condition.wait_timeout(lock.lock().unwrap(), time).unwrap();
            assert!(result.timed_out() && start.elapsed() >= time && start.elapsed() < time + Duration::from_secs(5));
            drop(guard);
        }
        let value = Value::new(0).unwrap();
        let start = Instant::now();
        let (guard, result) = condition.wait_timeout_while(value.lock().unwrap(), 30 * MS, |n| *n == 0).unwrap();
        assert!(result.timed_out() && start.elapsed() >= 30 * MS);
        drop(guard);
        let (_, result) = condition.wait_timeout_while(value.lock().unwrap(), 30 * MS, |n| *n != 0).unwrap();
        assert!(!result.timed_out());
    });
}

#[test]
fn a_notification_is_for_those_that_wait_and_not_for_later_ones() {
    within(60, || {
        let (lock, condition, woken) = (Lock::new().unwrap(), Condition::new().unwrap(), Mark::new());
        let early = fork(|| {
            drop(condition.wait(lock.lock().unwrap()).unwrap());
            woken.hit();
        });
        early.until_asleep();
        condition.notify_one().unwrap();
        let (guard, result) = condition.wait_timeout(lock.lock().unwrap(), 20 * MS).unwrap();
        assert!(result.timed_out(), "the call was for another one");
        drop(guard);
        woken.reaches(1);
        early.join();
    });
}

#[test]
fn a_holder_that_is_killed_meanwhile_is_reported() {
    within(30, || {
        let (lock, condition) = (Lock::new().unwrap(), Condition::new().unwrap());
        let guard = lock.lock().unwrap();
        let mark = Mark::new();
        let mut child = fork(|| {
            let _guard = lock.lock().unwrap();
            condition.notify_one().unwrap();
            mark.hit();
            until_killed()
        });
        let killer = fork(|| mark.reaches(1));
        let pid = child.pid;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                mark.reaches(1);
                child.kill();
            });
            assert_eq!(condition.wait(guard).unwrap_err(), LockError::OwnerDied { pid });
        });
        killer.join();
        assert!(lock.lock_or_repair(|| ()).is_ok());
    });
}

#[test]
fn a_hundred_and_twenty_eight_wait_and_one_more_is_refused() {
    within(60, || {
        let (lock, condition) = (RLock::new().unwrap(), Condition::new().unwrap());
        std::thread::scope(|scope| {
            let tids: Vec<u32> = (0..128)
                .map(|_| {
                    let (sender, receiver) = std::sync::mpsc::channel();
                    let (lock, condition) = (&lock, &condition);
                    scope.spawn(move || {
                        let guard = lock.lock().unwrap();
                        sender.send(tid()).unwrap();
                        drop(condition.wait(guard).unwrap());
                    });
                    receiver.recv().unwrap()
                })
                .collect();
            tids.iter().for_each(|tid| until("a thread sleeps", || asleep(*tid)));
            assert_eq!(condition.wait(lock.lock().unwrap()).unwrap_err(), LockError::TooMany);
            condition.notify_all().unwrap();
        });
        let (_, result) = condition.wait_timeout(lock.lock().unwrap(), MS).unwrap();
        assert!(result.timed_out());
    });
}
