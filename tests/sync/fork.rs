//! Locks across `fork`: a child has copies of its parent's guards but holds none of its locks; it can take locks of its
//! own.

use crate::util::{Child, Mark, alone, fork, program, role, until_killed, within};
use crossproc::{Array, Lock, LockError, TryLockError, Value};
use std::cell::Cell;
use std::time::Duration;

#[test]
fn a_childs_copy_of_a_guard_changes_nothing() {
    within(30, || {
        let (value, array, lock) =
            (Value::new(1_u32).unwrap(), Array::from_slice(&[1_u32]).unwrap(), Lock::new().unwrap());
        let guards = Cell::new(Some((value.lock().unwrap(), array.lock().unwrap(), lock.lock().unwrap())));
        fork(|| {
            let (mut copy, array_copy, lock_copy) = guards.take().unwrap();
            *copy = 99;
            drop((copy, array_copy, lock_copy));
            assert_eq!(value.get(), 1);
            assert_eq!(value.try_lock().unwrap_err(), TryLockError::WouldBlock);
            assert_eq!(array.try_lock().unwrap_err(), TryLockError::WouldBlock);
            assert_eq!(lock.try_lock().unwrap_err(), TryLockError::WouldBlock);
            assert_eq!(lock.holder(), Some(std::os::unix::process::parent_id()));
        })
        .join();
        fork(|| guards.take().unwrap().0.rollback()).join();
        // Its end, killed or not, is not its parent's.
        assert_eq!(fork(|| until_killed()).kill(), -libc::SIGKILL);
        fork(|| assert_eq!(lock.try_lock().unwrap_err(), TryLockError::WouldBlock)).join();
        let (mut guard, array_guard, lock_guard) = guards.take().unwrap();
        *guard = 2;
        drop((guard, array_guard, lock_guard));
        assert_eq!(value.get(), 2);
        fork(|| {
            assert_eq!(value.lock().unwrap().recovered_from(), None);
            drop((array.try_lock().expect("clean"), lock.try_lock().expect("clean")));
        })
        .join();
    });
}

#[test]
fn a_child_waits_for_its_parents_lock() {
    within(30, || {
        let value = Value::new(1_u32).unwrap();
        let mut guard = value.lock().unwrap();
        let child = fork(|| *value.lock().unwrap() += 10);
        child.until_asleep();
        *guard = 2;
        drop(guard);
        child.join();
        assert_eq!(value.get(), 12);
    });
}

/// The child locks three things at once while it has copies of three guards of its parent, and is killed.
#[test]
fn a_childs_own_locks_are_recovered_also_nested_ones() {
    within(30, || {
        let parents: Vec<_> = (0..3).map(|_| Lock::new().unwrap()).collect();
        let value = Value::new(7_u32).unwrap();
        let (array, lock) = (Array::from_slice(&[1_u32]).unwrap(), Lock::new().unwrap());
        let held: Vec<_> = parents.iter().map(|lock| lock.lock().unwrap()).collect();
        let ready = Mark::new();
        let mut child = fork(|| {
            let mut in_value = value.lock().unwrap();
            let mut in_array = array.lock().unwrap();
            let _in_lock = lock.lock().unwrap();
            *in_value = 8;
            in_array[0] = 8;
            ready.hit();
            until_killed()
        });
        ready.reaches(1);
        assert_eq!(value.try_lock().unwrap_err(), TryLockError::WouldBlock);
        child.kill();
        let died = LockError::OwnerDied { pid: child.pid };
        let guard = value.try_lock().expect("free");
        assert_eq!((*guard, guard.recovered_from()), (7, Some(child.pid)));
        drop(guard);
        assert_eq!(array.try_lock().unwrap_err(), TryLockError::Lock(died));
        assert_eq!(lock.try_lock().unwrap_err(), TryLockError::Lock(died));
        drop((array.lock_or_repair(|_| ()).unwrap(), lock.lock_or_repair(|| ()).unwrap()));
        let others = || parents.iter().map(|lock| lock.try_lock().err());
        fork(|| assert!(others().all(|error| error == Some(TryLockError::WouldBlock)))).join();
        drop(held);
        assert!(others().all(|error| error.is_none()));
    });
}

#[test]
fn guards_dropped_out_of_order_leave_the_others_to_the_kernel() {
    within(60, || {
        let values: Vec<_> = (0..4).map(|n| Value::new(n).unwrap()).collect();
        // Each bit of `order` says whether that guard is dropped, forwards or backwards, before the kill.
        for (dropped, backwards) in (0..16).flat_map(|dropped| [(dropped, false), (dropped, true)]) {
            let ready = Mark::new();
            let mut child = fork(|| {
                let mut guards: Vec<_> = values.iter().map(|value| Some(value.lock().unwrap())).collect();
                guards.iter_mut().flatten().for_each(|guard| **guard += 100);
                let mut indices: Vec<_> = (0..4).filter(|i| dropped >> i & 1 == 1).collect();
                if backwards {
                    indices.reverse();
                }
                indices.into_iter().for_each(|i| drop(guards[i].take()));
                ready.hit();
                until_killed()
            });
            ready.reaches(1);
            child.kill();
            for (i, value) in values.iter().enumerate() {
                let mut guard = value.try_lock().unwrap_or_else(|e| panic!("{i} of {dropped:b}: {e}"));
                let was_dropped = dropped >> i & 1 == 1;
                assert_eq!(guard.recovered_from(), (!was_dropped).then_some(child.pid), "{i} of {dropped:b}");
                assert_eq!(*guard, if was_dropped { 100 + i } else { i });
                *guard = i;
            }
        }
    });
}

#[test]
fn a_childs_child_has_locks_of_its_own_too() {
    within(30, || {
        let (value, lock) = (Value::new(1_u32).unwrap(), Lock::new().unwrap());
        let pid = Mark::new();
        let guard = value.lock().unwrap();
        fork(|| {
            let _ours = lock.lock().unwrap();
            let inner = Value::new(5_u32).unwrap();
            let mut grandchild = fork(|| {
                pid.set(u64::from(std::process::id()));
                assert_eq!(value.try_lock().unwrap_err(), TryLockError::WouldBlock);
                assert_eq!(lock.try_lock().unwrap_err(), TryLockError::WouldBlock);
                let _inner = inner.lock().unwrap();
                pid.hit();
                until_killed()
            });
            pid.reaches(u64::from(grandchild.pid) + 1);
            grandchild.kill();
            assert_eq!(inner.try_lock().expect("free").recovered_from(), Some(grandchild.pid));
        })
        .join();
        drop(guard);
        drop(lock.try_lock().expect("its holder ended in order, by _exit after a drop"));
    });
}

#[test]
fn too_many_guards_in_one_thread_are_refused_and_all_unlock() {
    alone(60, || {
        let values: Vec<_> = (0..2_100).map(|n| Value::new(n).unwrap()).collect();
        let mut guards: Vec<_> = values.iter().map(Value::lock).collect();
        let taken = guards.iter().take_while(|guard| guard.is_ok()).count();
        assert!((1_990..=2_010).contains(&taken), "{taken}");
        assert!(guards[taken..].iter().all(|guard| guard.as_ref().unwrap_err() == &LockError::TooMany));
        assert_eq!(values[2_099].set(0), Err(LockError::TooMany));
        drop(guards.swap_remove(1_000));
        assert_eq!(values[2_099].try_lock().err(), None, "there is room for one again");
        std::thread::scope(|scope| {
            let other = scope.spawn(|| (values[2_099].try_lock().is_ok(), values[0].try_lock().err()));
            assert_eq!(other.join().unwrap(), (true, Some(TryLockError::WouldBlock)));
        });
        drop(guards);
        for value in &values {
            assert_eq!(value.try_lock().expect("free").recovered_from(), None);
        }
    });
}

#[test]
fn as_many_guards_as_a_thread_may_have_are_recovered() {
    alone(60, || {
        let values: Vec<_> = (0..1_990).map(|n| Value::new(n).unwrap()).collect();
        let ready = Mark::new();
        let mut child = fork(|| {
            let _guards: Vec<_> = values.iter().map(|value| value.lock().unwrap()).collect();
            ready.hit();
            until_killed()
        });
        ready.reaches(1);
        child.kill();
        assert!(values.iter().all(|value| value.try_lock().unwrap().recovered_from() == Some(child.pid)));
    });
}

#[test]
fn threads_that_lock_do_not_disturb_a_fork() {
    alone(60, || {
        let value = Value::new(0_u64).unwrap();
        let stop = std::sync::atomic::AtomicBool::new(false);
        let stop = &stop;
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                        *value.lock().unwrap() += 1;
                        drop((Value::new(1).unwrap(), Array::<u8>::zeroed(3000).unwrap()));
                    }
                });
            }
            let child = || {
                *value.lock().unwrap() += 1;
                let own = Value::new(3).unwrap();
                *own.lock().unwrap() += 1;
                assert_eq!(own.get(), 4);
            };
            for _ in 0..40 {
                let children: Vec<_> = (0..3).map(|_| fork(child)).collect();
                children.into_iter().for_each(Child::join);
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        drop(value.lock_timeout(Duration::from_secs(5)).unwrap());
    });
}

/// Programs anew, since only the first use registers what a fork must know.
#[test]
fn a_fork_beside_the_first_use_finds_nothing_half_done() {
    within(120, || (0..100).for_each(|_| program(a_fork_beside_the_first_use_role, "", None).join()));
}

#[test]
fn a_fork_beside_the_first_use_role() {
    let Some(_) = role() else { return };
    let ready = std::sync::Barrier::new(2);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            ready.wait();
            Value::new(1).unwrap()
        });
        ready.wait();
        let moment = std::process::id() % 8 * 100;
        (0..moment).for_each(|_| std::hint::spin_loop());
        let mut child = fork(|| assert_eq!(Value::new(2).unwrap().get(), 2));
        assert_eq!(child.wait(), 0);
    });
}
