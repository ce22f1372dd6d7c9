//! `Value`: a holder that is killed, panics or rolls back leaves the old value; readers never wait.

use crate::util::{AT_ONCE, Child, Mark, fork, until_killed, within};
use crossproc::{Error, LockError, LockTimeoutError, TryLockError, Value};
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(20);

type Page = [u64; 512];

/// A child that holds the value, and has changed its copy.
fn holder(value: &Value<u64>) -> Child {
    let mark = Mark::new();
    let child = fork(|| {
        let mut guard = value.lock().unwrap();
        *guard = 999;
        mark.hit();
        until_killed()
    });
    mark.reaches(1);
    child
}

#[test]
fn the_next_one_gets_the_value_as_it_was_before_the_killed_holder() {
    within(30, || {
        let value = Value::new(7_u64).unwrap();
        let ways: [&dyn Fn() -> Option<u32>; 3] = [
            &|| value.lock().map(|guard| (assert_eq!(*guard, 7), guard.recovered_from())).unwrap().1,
            &|| value.try_lock().map(|guard| (assert_eq!(*guard, 7), guard.recovered_from())).unwrap().1,
            &|| value.lock_timeout(LONG).map(|guard| (assert_eq!(*guard, 7), guard.recovered_from())).unwrap().1,
        ];
        for way in ways {
            let mut child = holder(&value);
            assert_eq!(value.holder(), Some(child.pid));
            assert_eq!(value.get(), 7);
            child.kill();
            assert_eq!(value.holder(), None);
            let start = Instant::now();
            assert_eq!(way(), Some(child.pid));
            assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
            assert_eq!(way(), None, "the lock after that is clean");
            assert_eq!(value.get(), 7);
        }
    });
}

#[test]
fn a_committed_change_of_a_killed_process_counts() {
    within(30, || {
        let value = Value::new(1).unwrap();
        let mark = Mark::new();
        let mut child = fork(|| {
            *value.lock().unwrap() = 2;
            mark.hit();
            until_killed()
        });
        mark.reaches(1);
        child.kill();
        let guard = value.lock().unwrap();
        assert_eq!((*guard, guard.recovered_from()), (2, None));
    });
}

#[test]
fn set_and_update_go_on_after_a_killed_holder() {
    within(30, || {
        let value = Value::new(7_u64).unwrap();
        holder(&value).kill();
        value.set(8).unwrap();
        holder(&value).kill();
        assert_eq!(value.update(|v| std::mem::replace(v, 9)).unwrap(), 8);
        holder(&value).kill();
        assert_eq!(value.get(), 9);
        assert!(value.lock().unwrap().recovered_from().is_some(), "get does not hide the death");
    });
}

#[test]
fn a_panic_in_the_scope_of_the_guard_rolls_back() {
    let value = Value::new([1, 2]).unwrap();
    let panics = |f: &dyn Fn()| assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).is_err());
    panics(&|| {
        let mut guard = value.lock().unwrap();
        guard[0] = 100;
        std::panic::resume_unwind(Box::new("planned"));
    });
    panics(&|| {
        value
            .update(|v| {
                v[1] = 100;
                std::panic::resume_unwind(Box::new("planned"))
            })
            .unwrap()
    });
    let guard = value.try_lock().expect("unlocked");
    assert_eq!((*guard, guard.recovered_from()), ([1, 2], None));
}

#[test]
fn a_guard_that_begins_during_a_panic_commits() {
    struct Counts<'a>(&'a Value<i32>);
    impl Drop for Counts<'_> {
        fn drop(&mut self) {
            *self.0.lock().unwrap() += 1;
        }
    }
    let value = Value::new(0).unwrap();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _counts = Counts(&value);
        std::panic::resume_unwind(Box::new("planned"));
    }));
    assert!(panicked.is_err());
    assert_eq!(value.get(), 1);
}

#[test]
fn rollback_and_a_failed_update_leave_the_value() {
    let value = Value::new(5).unwrap();
    let mut guard = value.lock().unwrap();
    *guard = 6;
    guard.rollback();
    assert_eq!(value.get(), 5);
    let failed = value.try_update(|v| {
        *v = 7;
        Err::<(), _>(Error::other("no"))
    });
    assert_eq!(failed, Err(Error::other("no")));
    assert_eq!(value.get(), 5);
    assert_eq!(value.try_update(|v| Ok::<_, LockError>(std::mem::replace(v, 8))), Ok(5));
    assert_eq!(*value.try_lock().expect("unlocked"), 8);
}

#[test]
fn a_large_value_is_old_or_new_wherever_its_writer_is_killed() {
    within(60, || {
        let value = Value::new([0_u64; 512]).unwrap();
        let acknowledged = Mark::new();
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut recovered = 0;
        for _ in 0..150 {
            let before = acknowledged.get();
            let mut writer = fork(|| {
                loop {
                    let mut guard = value.lock().unwrap();
                    let next = guard[0] + 1;
                    guard.iter_mut().for_each(|word| *word = next);
                    drop(guard);
                    acknowledged.set(next);
                }
            });
            acknowledged.reaches(before + 1);
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let lead = Duration::from_micros(seed >> 55); // up to half a millisecond more
            let start = Instant::now();
            while start.elapsed() < lead {
                std::hint::spin_loop();
            }
            writer.kill();
            let seen = value.get();
            let guard = value.lock().unwrap();
            recovered += u32::from(guard.recovered_from() == Some(writer.pid));
            assert!(guard.iter().all(|word| *word == guard[0]), "a mixture: {:?}", &guard[..]);
            assert_eq!(seen[..], guard[..], "the lock changes nothing");
            let told = acknowledged.get();
            assert!((told..=told + 1).contains(&guard[0]), "{told} were told of, {} are there", guard[0]);
            guard.rollback();
            acknowledged.set(seen[0]);
        }
        assert!(recovered > 0, "no writer was hit with the lock held");
    });
}

#[test]
fn get_never_waits_for_a_holder_also_a_stopped_one() {
    within(30, || {
        let value = Value::new(7_u64).unwrap();
        let mut child = holder(&value);
        assert!((0..1000).all(|_| value.get() == 7));
        child.stop();
        assert!((0..1000).all(|_| value.get() == 7));
        assert_eq!(value.try_lock().unwrap_err(), TryLockError::WouldBlock);
        child.go_on();
        child.kill();
    });
}

#[test]
fn get_is_not_starved_by_a_fast_writer() {
    within(40, || {
        let value: Value<Page> = Value::new([0; 512]).unwrap();
        let running = Mark::new();
        let mut writer = fork(|| {
            for n in 1.. {
                value.set([n; 512]).unwrap();
                running.set(n);
            }
        });
        running.reaches(1);
        let (mut last, mut reads, mut moved) = (0, 0, 0);
        let start = Instant::now();
        while reads < 2_000 || moved < 20 {
            let page = value.get();
            reads += 1;
            assert!(page.iter().all(|word| *word == page[0]), "a mixture");
            assert!(page[0] >= last, "time goes forward");
            moved += u32::from(page[0] > last);
            last = page[0];
            assert!(start.elapsed() < LONG, "{reads} reads, {moved} moves took {:?}", start.elapsed());
        }
        writer.kill();
    });
}

#[test]
fn four_processes_add_without_a_loss() {
    within(60, || {
        let value = Value::new(0_u64).unwrap();
        let children: Vec<_> = (0..4).map(|_| fork(|| (0..25_000).for_each(|_| *value.lock().unwrap() += 1))).collect();
        children.into_iter().for_each(Child::join);
        assert_eq!(value.get(), 100_000);
    });
}

#[test]
fn a_sleeper_gets_the_value_of_a_killed_holder() {
    within(60, || {
        let value = Value::new(7_u64).unwrap();
        let quickest = (0..5)
            .map(|_| {
                let victim = Mark::new();
                let mut child = holder(&value);
                let waiter = fork(|| {
                    crossproc::testing::switch_backstop(false); // it would hide a lost wake
                    let guard = value.lock().unwrap();
                    assert_eq!(*guard, 7);
                    victim.set(u64::from(guard.recovered_from().unwrap_or(1)));
                });
                waiter.until_asleep();
                let start = Instant::now();
                child.shoot();
                victim.reaches(1);
                let took = start.elapsed();
                assert_eq!(victim.get(), u64::from(child.pid));
                waiter.join();
                took
            })
            .min();
        assert!(quickest < Some(AT_ONCE), "{quickest:?}");
    });
}

#[test]
fn a_second_lock_in_one_thread_is_a_deadlock() {
    let value = Value::new(1).unwrap();
    let guard = value.lock().unwrap();
    let again = value.clone();
    assert_eq!(again.lock().unwrap_err(), LockError::Deadlock);
    assert_eq!(again.try_lock().unwrap_err(), TryLockError::Lock(LockError::Deadlock));
    assert_eq!(again.lock_timeout(LONG).unwrap_err(), LockTimeoutError::Lock(LockError::Deadlock));
    assert_eq!(again.set(2), Err(LockError::Deadlock));
    assert_eq!(again.update(|v| *v), Err(LockError::Deadlock));
    assert_eq!(again.get(), 1);
    drop(guard);
    assert!(again.try_lock().is_ok());
}

#[test]
fn a_timeout_is_neither_early_nor_late() {
    within(30, || {
        let value = Value::new(7_u64).unwrap();
        let mut child = holder(&value);
        let took = |time: Duration| {
            let start = Instant::now();
            let error = value.lock_timeout(time).unwrap_err();
            assert!(error.is_timeout() && error == LockTimeoutError::Timeout);
            start.elapsed()
        };
        for ms in [1, 30, 700] {
            let time = Duration::from_millis(ms);
            let late = (0..3).map(|_| took(time)).inspect(|took| assert!(*took >= time, "{took:?}")).min();
            assert!(late < Some(time + Duration::from_millis(100)), "{late:?} for {time:?}");
        }
        assert!((0..3).map(|_| took(Duration::ZERO)).min() < Some(Duration::from_millis(20)));
        child.kill();
        assert!(value.lock_timeout(Duration::ZERO).is_ok(), "zero means try");
        assert!(value.lock_timeout(Duration::MAX).is_ok());
    });
}
