//! `Array`: a killed holder is reported until a repair; contents, lengths, errors.

use crate::util::{AT_ONCE, Child, Mark, PANICKED, fork, quiet_panics, until_killed, within};
use crossproc::{Array, ArrayError, LockError, LockTimeoutError, SegmentError, TryLockError};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(20);

/// A child that holds the array, and has done half of its work.
fn holder(array: &Array<u32>) -> Child {
    let mark = Mark::new();
    let child = fork(|| {
        let mut guard = array.lock().unwrap();
        guard[0] = 999;
        mark.hit();
        until_killed()
    });
    mark.reaches(1);
    child
}

/// All ways but the repair say that this process died.
fn is_marked(array: &Array<u32>, pid: u32) {
    let died = LockError::OwnerDied { pid };
    for _ in 0..2 {
        assert_eq!(array.lock().unwrap_err(), died);
        assert_eq!(array.try_lock().unwrap_err(), TryLockError::Lock(died));
        assert_eq!(array.lock_timeout(LONG).unwrap_err(), LockTimeoutError::Lock(died));
        assert_eq!(array.get(1), Err(ArrayError::Lock(died)));
        assert_eq!(array.set(1, 1), Err(ArrayError::Lock(died)));
        assert_eq!(array.to_vec(), Err(died));
        assert_eq!(array.fill(1), Err(died));
        assert_eq!(array.copy_from_slice(&[1, 2, 3]), Err(ArrayError::Lock(died)));
        assert_eq!(array.parts(2).unwrap_err(), ArrayError::Lock(died));
        assert_eq!(array.holder(), None);
    }
}

fn is_clean(array: &Array<u32>) {
    drop(array.try_lock().expect("free"));
    drop(array.lock_or_repair(|_| panic!("nobody died")).unwrap());
}

#[test]
fn a_killed_holder_is_reported_until_one_repair() {
    within(30, || {
        let array = Array::from_slice(&[1_u32, 2, 3]).unwrap();
        let mut child = holder(&array);
        assert_eq!(array.holder(), Some(child.pid));
        assert_eq!(array.try_lock().unwrap_err(), TryLockError::WouldBlock);
        child.kill();
        let start = Instant::now();
        is_marked(&array, child.pid);
        assert!(start.elapsed() < AT_ONCE);
        let mut repairs = 0;
        let guard = array
            .lock_or_repair(|items| {
                assert_eq!(items, [999, 2, 3], "what the killed one left, in place");
                items[0] = 1;
                repairs += 1;
            })
            .unwrap();
        assert_eq!(*guard, [1, 2, 3]);
        drop(guard);
        assert_eq!(repairs, 1);
        is_clean(&array);
        assert_eq!(array.to_vec().unwrap(), [1, 2, 3]);
    });
}

#[test]
fn a_repairer_that_is_killed_leaves_the_repair_to_the_next() {
    within(30, || {
        let array = Array::from_slice(&[1_u32, 2, 3]).unwrap();
        let first = {
            let mut child = holder(&array);
            child.kill();
            child.pid
        };
        for half in [50, 60] {
            let repairing = Mark::new();
            let mut repairer = fork(|| {
                let _guard = array.lock_or_repair(|items| {
                    items[1] = half;
                    repairing.hit();
                    until_killed()
                });
            });
            repairing.reaches(1);
            assert_eq!(array.try_lock().unwrap_err(), TryLockError::WouldBlock, "a repairer holds the lock");
            repairer.kill();
            is_marked(&array, first);
        }
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _guard = array.lock_or_repair(|items| {
                items[2] = 70;
                resume_unwind(Box::new("planned"))
            });
        }));
        assert!(panicked.is_err());
        is_marked(&array, first);
        let guard = array.lock_or_repair(|items| items.reverse()).unwrap();
        assert_eq!(*guard, [70, 60, 999]);
        drop(guard);
        is_clean(&array);
    });
}

#[test]
fn of_many_that_repair_one_does() {
    within(40, || {
        let array = Array::from_slice(&[1_u32, 2, 3]).unwrap();
        let start = Mark::new();
        holder(&array).kill();
        array.lock_or_repair(|items| items.fill(0)).unwrap().fill(0);
        holder(&array).kill();
        let children: Vec<_> = (0..8)
            .map(|_| {
                fork(|| {
                    start.meet(8);
                    array.lock_or_repair(|items| items[1] += 1).unwrap()[2] += 1;
                })
            })
            .collect();
        children.into_iter().for_each(Child::join);
        assert_eq!(array.to_vec().unwrap(), [999, 1, 8]);
    });
}

#[test]
fn a_panic_just_unlocks() {
    within(30, || {
        let array = Array::from_slice(&[1_u32, 2, 3]).unwrap();
        let mut child = fork(|| {
            quiet_panics();
            let mut guard = array.lock().unwrap();
            guard[0] = 100;
            panic!("planned");
        });
        assert_eq!(child.wait(), PANICKED);
        is_clean(&array);
        assert_eq!(array.to_vec().unwrap(), [100, 2, 3], "changed in place");
    });
}

#[test]
fn a_sleeper_is_woken_at_once_by_a_killed_holder() {
    within(60, || {
        let quickest = (0..5)
            .map(|_| {
                let array = Array::from_slice(&[1_u32, 2, 3]).unwrap();
                let heard = Mark::new();
                let mut child = holder(&array);
                let told = fork(|| {
                    crossproc::testing::switch_backstop(false); // it would hide a lost wake
                    assert_eq!(array.lock().unwrap_err(), LockError::OwnerDied { pid: child.pid });
                    heard.hit();
                });
                told.until_asleep();
                let start = Instant::now();
                child.shoot();
                heard.reaches(1);
                let took = start.elapsed();
                told.join();
                let repairer = fork(|| drop(array.lock_or_repair(|items| items[0] = 1).unwrap()));
                repairer.join();
                assert_eq!(array.to_vec().unwrap(), [1, 2, 3]);
                took
            })
            .min();
        assert!(quickest < Some(AT_ONCE), "{quickest:?}");
    });
}

#[test]
fn four_processes_add_without_a_loss() {
    within(60, || {
        let array = Array::<u64>::zeroed(2).unwrap();
        let children: Vec<_> = (0..4)
            .map(|_| {
                fork(|| {
                    for _ in 0..25_000 {
                        let mut guard = array.lock().unwrap();
                        guard[0] += 1;
                        guard[1] -= 0;
                    }
                })
            })
            .collect();
        children.into_iter().for_each(Child::join);
        assert_eq!(array.to_vec().unwrap(), [100_000, 0]);
    });
}

#[test]
fn a_second_lock_in_one_thread_is_a_deadlock() {
    let array = Array::from_slice(&[1_u32, 2, 3]).unwrap();
    let guard = array.lock().unwrap();
    assert_eq!(array.lock().unwrap_err(), LockError::Deadlock);
    assert_eq!(array.try_lock().unwrap_err(), TryLockError::Lock(LockError::Deadlock));
    assert_eq!(array.lock_timeout(LONG).unwrap_err(), LockTimeoutError::Lock(LockError::Deadlock));
    assert_eq!(array.lock_or_repair(|_| ()).unwrap_err(), LockError::Deadlock);
    assert_eq!(array.get(0), Err(ArrayError::Lock(LockError::Deadlock)));
    assert_eq!(array.parts(3).unwrap_err(), ArrayError::Lock(LockError::Deadlock));
    drop(guard);
    is_clean(&array);
}

#[test]
fn a_timeout_is_neither_early_nor_late() {
    within(30, || {
        let array = Array::from_slice(&[1_u32, 2, 3]).unwrap();
        let mut child = holder(&array);
        for ms in [0, 1, 30, 700] {
            let time = Duration::from_millis(ms);
            let took = |_| {
                let start = Instant::now();
                assert!(array.lock_timeout(time).unwrap_err().is_timeout());
                start.elapsed()
            };
            let late = (0..3).map(took).inspect(|took| assert!(*took >= time, "{took:?}")).min();
            assert!(late < Some(time + Duration::from_millis(100)), "{late:?} for {time:?}");
        }
        child.kill();
    });
}

#[test]
fn contents_and_bounds() {
    let array = Array::from_iter((0..100).map(|i| i * i)).unwrap();
    assert_eq!((array.len(), array.is_empty()), (100, false));
    assert_eq!((array.get(99), array.set(99, -1), array.get(99)), (Ok(9801), Ok(()), Ok(-1)));
    assert_eq!(array.get(100), Err(ArrayError::OutOfBounds { index: 100, len: 100 }));
    assert_eq!(array.set(usize::MAX, 0), Err(ArrayError::OutOfBounds { index: usize::MAX, len: 100 }));
    assert_eq!(array.copy_from_slice(&[1; 99]), Err(ArrayError::LengthMismatch { got: 99, len: 100 }));
    array.copy_from_slice(&[5; 100]).unwrap();
    assert_eq!(array.to_vec().unwrap(), [5; 100]);
    array.fill(6).unwrap();
    assert_eq!(*array.lock().unwrap(), [6; 100]);
}

#[test]
fn no_items_or_items_of_no_size() {
    let empty = Array::<u64>::zeroed(0).unwrap();
    assert!(empty.is_empty() && empty.lock().unwrap().is_empty());
    assert_eq!(empty.get(0), Err(ArrayError::OutOfBounds { index: 0, len: 0 }));
    assert_eq!(empty.parts(3).unwrap().iter().map(|part| part.lock().unwrap().len()).sum::<usize>(), 0);
    let units = Array::from_slice(&[(); 5]).unwrap();
    assert_eq!(units.to_vec().unwrap(), [(); 5]);
    assert_eq!(units.parts(2).unwrap()[1].range(), 2..5);
}

#[test]
fn a_large_array_is_shared_and_an_impossible_one_refused() {
    within(30, || {
        let array = Array::<u64>::zeroed(1 << 17).unwrap(); // a MiB
        fork(|| array.lock().unwrap().iter_mut().zip(0..).for_each(|(item, i)| *item = i)).join();
        assert!(array.lock().unwrap().iter().zip(0..).all(|(item, i)| *item == i));
        assert_eq!(Array::<u64>::zeroed(usize::MAX).unwrap_err(), SegmentError::TooLarge);
        assert_eq!(Array::<u64>::zeroed(usize::MAX / 8).unwrap_err(), SegmentError::TooLarge);
        assert_eq!(Array::<u64>::zeroed(1 << 48).unwrap_err(), SegmentError::NoSpace);
    });
}
