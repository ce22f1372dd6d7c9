//! Guards that are leaked by `mem::forget`: guards in place keep their lock until the process ends, guards of a value
//! until the thread ends. The memory under a leaked guard is not reused.

use crate::util::{Mark, alone, fork, until_killed, within};
use crossproc::{Array, Lock, LockError, Semaphore, TryLockError, Value};
use std::mem::forget;
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(700); // longer than a sleeper's look for its holder
const A_SECOND_OR_SO: Duration = Duration::from_secs(3);

/// Runs it in a thread that ends.
fn in_a_thread(body: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let thread = scope.spawn(body);
        assert!(thread.join().is_ok());
    });
}

#[test]
fn in_place_the_lock_stays_until_the_process_ends() {
    within(60, || {
        let arrays: Vec<_> = (0..3).map(|_| Array::from_slice(&[1_u32, 2]).unwrap()).collect();
        let lock = Lock::new().unwrap();
        let divided = Array::<u32>::zeroed(4).unwrap();
        let parts = divided.parts(2).unwrap();
        let ready = Mark::new();
        let mut child = fork(|| {
            in_a_thread(|| {
                arrays.iter().for_each(|array| forget(array.lock().unwrap()));
                forget(lock.lock().unwrap());
                forget(parts[1].lock().unwrap());
            });
            for array in &arrays {
                assert_eq!(array.try_lock().unwrap_err(), TryLockError::WouldBlock);
            }
            in_a_thread(|| assert_eq!(arrays[1].try_lock().unwrap_err(), TryLockError::WouldBlock));
            assert!(arrays[0].lock_timeout(SHORT).unwrap_err().is_timeout());
            assert!(lock.lock_timeout(SHORT).unwrap_err().is_timeout());
            assert!(parts[1].lock_timeout(SHORT).unwrap_err().is_timeout());
            ready.hit();
            until_killed()
        });
        ready.reaches(1);
        assert_eq!(arrays[0].try_lock().unwrap_err(), TryLockError::WouldBlock);
        assert!(arrays[2].lock_timeout(SHORT).unwrap_err().is_timeout());
        assert!(parts[0].try_lock().is_ok());
        child.kill();
        let died = LockError::OwnerDied { pid: child.pid };
        let start = Instant::now();
        assert_eq!(arrays[0].lock().unwrap_err(), died);
        assert!(start.elapsed() < A_SECOND_OR_SO, "{:?}", start.elapsed());
        assert!(arrays[1..].iter().all(|array| array.lock().unwrap_err() == died));
        assert_eq!(lock.lock().unwrap_err(), died);
        assert_eq!(parts[1].lock().unwrap_err(), died);
        assert_eq!(divided.lock().unwrap_err(), died);
        drop(arrays[0].lock_or_repair(|_| ()).unwrap());
        drop(arrays[0].try_lock().expect("clean"));
    });
}

#[test]
fn a_single_leaked_guard_in_place_stays_too() {
    within(60, || {
        let array = Array::from_slice(&[1_u32, 2]).unwrap();
        let ready = Mark::new();
        let mut child = fork(|| {
            in_a_thread(|| forget(array.lock().unwrap()));
            // The thread's slot in the kernel is free again: its next user is no longer in the way.
            in_a_thread(|| drop(Lock::new().unwrap().lock().unwrap()));
            assert_eq!(array.try_lock().unwrap_err(), TryLockError::WouldBlock);
            ready.hit();
            until_killed()
        });
        ready.reaches(1);
        let waiter = fork(|| assert_eq!(array.lock().unwrap_err(), LockError::OwnerDied { pid: child.pid }));
        waiter.until_asleep();
        child.kill();
        waiter.join();
    });
}

#[test]
fn a_leaked_guard_of_a_process_that_exits_is_that_of_a_dead_one() {
    within(30, || {
        let (array, value) = (Array::from_slice(&[1_u32]).unwrap(), Value::new(1).unwrap());
        let child = fork(|| {
            forget(array.lock().unwrap());
            let mut guard = value.lock().unwrap();
            *guard = 2;
            forget(guard);
        });
        let pid = child.pid;
        child.join();
        assert_eq!(array.lock().unwrap_err(), LockError::OwnerDied { pid });
        let guard = value.lock().unwrap();
        assert_eq!((*guard, guard.recovered_from()), (1, Some(pid)));
    });
}

#[test]
fn a_values_leaked_guard_frees_when_its_thread_ends() {
    within(30, || {
        let values: Vec<_> = (0..3).map(|n| Value::new(n).unwrap()).collect();
        in_a_thread(|| {
            for value in &values {
                let mut guard = value.lock().unwrap();
                *guard = 100;
                forget(guard);
            }
            assert_eq!(values[0].try_lock().unwrap_err(), TryLockError::Lock(LockError::Deadlock));
        });
        for (n, value) in values.iter().enumerate() {
            let guard = value.lock_timeout(A_SECOND_OR_SO).unwrap();
            assert_eq!((*guard, guard.recovered_from()), (n, Some(std::process::id())));
        }
    });
}

#[test]
fn a_leaked_guard_whose_handle_is_dropped_corrupts_nothing() {
    alone(30, || {
        let at = |object: &dyn std::fmt::Debug| format!("{object:?}");
        let mut leaked = Vec::new();
        for size in [1, 100, 100_000] {
            let array = Array::<u64>::zeroed(size).unwrap();
            let mut guard = array.lock().unwrap();
            guard.fill(u64::MAX);
            forget(guard);
            leaked.push(at(&array));
        }
        let value = Value::new([u64::MAX; 4]).unwrap();
        forget(value.lock().unwrap());
        leaked.push(at(&value));
        drop(value);
        // New objects of the same sizes lie elsewhere, are new, and work.
        let arrays: Vec<_> =
            [1, 100, 100_000].repeat(70).into_iter().map(Array::<u64>::zeroed).map(Result::unwrap).collect();
        let values: Vec<_> = (0..200).map(|_| Value::new([7_u64; 4]).unwrap()).collect();
        assert!(arrays.iter().all(|array| !leaked.contains(&at(array))));
        assert!(values.iter().all(|value| !leaked.contains(&at(value))));
        for array in &arrays {
            let mut guard = array.try_lock().expect("free");
            assert!(guard.iter().all(|item| *item == 0));
            guard.fill(1);
        }
        values.iter().for_each(|value| *value.try_lock().expect("free") = [8; 4]);
        assert!(values.iter().all(|value| value.get() == [8; 4]));
    });
}

#[test]
fn the_kernels_mark_on_a_leaked_and_dropped_lock_hits_no_other_object() {
    alone(30, || {
        let others: Vec<_> = (0..40).map(|n| Value::new(n).unwrap()).collect();
        let ready = Mark::new();
        let mut child = fork(|| {
            in_a_thread(|| {
                for _ in 0..10 {
                    let value = Value::new(0).unwrap();
                    forget(value.lock().unwrap());
                    let array = Array::<u8>::zeroed(1).unwrap();
                    forget(array.lock().unwrap());
                }
            });
            let later: Vec<_> = (0..1000).map(|n| (n, Value::new(n).unwrap())).collect();
            for (n, value) in &later {
                assert_eq!((value.get(), value.try_lock().unwrap().recovered_from()), (*n, None));
            }
            ready.hit();
            until_killed()
        });
        ready.reaches(1);
        child.kill();
        for (n, value) in others.iter().enumerate() {
            let guard = value.try_lock().expect("free");
            assert_eq!((*guard, guard.recovered_from()), (n, None));
        }
    });
}

#[test]
fn under_a_leaked_permit_too() {
    // In a thread whose number is not that of its process.
    let leak_and_lock = |permits: usize, as_large: usize| {
        in_a_thread(|| {
            let (lock, semaphore) = (Lock::new().unwrap(), Semaphore::new(permits).unwrap());
            let guard = lock.lock().unwrap();
            forget(semaphore.acquire().unwrap());
            drop(semaphore);
            let arrays: Vec<_> = (0..4).map(|_| Array::<u8>::zeroed(as_large).unwrap()).collect();
            // The list of the thread's locks leads over the token.
            drop(guard);
            assert!(arrays.iter().all(|array| array.lock().unwrap().iter().all(|byte| *byte == 0)));
        });
    };
    within(60, || {
        // In memory with others, and alone.
        for (permits, as_large) in [(300, 16_000), (1023, 65_000)] {
            fork(|| leak_and_lock(permits, as_large)).join();
        }
    });
}
