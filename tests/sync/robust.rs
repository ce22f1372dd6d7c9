//! This crate's robust locks and libc's in the same thread, and guards across `exec`.

use crate::util::{Mark, fork, until_killed, within};
use crossproc::{Lock, LockError, Value};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

const LOOKS_AGAIN: Duration = Duration::from_secs(5); // a sleeper looks for its holder twice a second

/// A robust `pthread_mutex_t` in memory that children share.
#[derive(Clone, Copy)]
struct Libc(*mut libc::pthread_mutex_t);

impl Libc {
    fn new() -> Self {
        // SAFETY: a fresh shared mapping, large enough and never unmapped; the attributes are initialised first.
        unsafe {
            let (rights, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
            let page = libc::mmap(std::ptr::null_mut(), 4096, rights, flags, -1, 0);
            assert_ne!(page, libc::MAP_FAILED);
            let mut how: libc::pthread_mutexattr_t = std::mem::zeroed();
            libc::pthread_mutexattr_init(&mut how);
            libc::pthread_mutexattr_setpshared(&mut how, libc::PTHREAD_PROCESS_SHARED);
            libc::pthread_mutexattr_setrobust(&mut how, libc::PTHREAD_MUTEX_ROBUST);
            assert_eq!(libc::pthread_mutex_init(page.cast(), &how), 0);
            Libc(page.cast())
        }
    }

    fn lock(self) -> i32 {
        // SAFETY: initialised by `new`.
        unsafe { libc::pthread_mutex_lock(self.0) }
    }

    fn try_lock(self) -> i32 {
        // SAFETY: as in `lock`.
        unsafe { libc::pthread_mutex_trylock(self.0) }
    }

    fn unlock(self) {
        // SAFETY: as in `lock`; the caller holds it.
        assert_eq!(unsafe { libc::pthread_mutex_unlock(self.0) }, 0);
    }

    /// After a death: what the next one is told. Makes it whole again.
    fn take_over(self) -> i32 {
        let answer = self.try_lock();
        if answer == libc::EOWNERDEAD {
            // SAFETY: as in `lock`; the caller holds it.
            assert_eq!(unsafe { libc::pthread_mutex_consistent(self.0) }, 0);
        }
        if answer != libc::EBUSY {
            self.unlock();
        }
        answer
    }
}

#[test]
fn a_guard_around_a_libc_mutex_is_recovered() {
    within(40, || {
        let (value, lock, mutex) = (Value::new(1).unwrap(), Lock::new().unwrap(), Libc::new());
        let ready = Mark::new();
        let mut child = fork(|| {
            let mut guard = value.lock().unwrap();
            *guard = 2;
            assert_eq!(mutex.lock(), 0);
            mutex.unlock(); // empties the slot of the thread in which the kernel finds the guard
            ready.hit();
            until_killed()
        });
        ready.reaches(1);
        child.kill();
        let start = Instant::now();
        let guard = value.lock().unwrap();
        assert!(start.elapsed() < LOOKS_AGAIN);
        assert_eq!((*guard, guard.recovered_from()), (1, Some(child.pid)));
        drop(guard);

        let mut child = fork(|| {
            let _guard = lock.lock().unwrap();
            assert_eq!(mutex.lock(), 0);
            mutex.unlock();
            ready.hit();
            until_killed()
        });
        ready.reaches(2);
        child.kill();
        assert_eq!(lock.lock().unwrap_err(), LockError::OwnerDied { pid: child.pid });
        assert_eq!(mutex.take_over(), 0);
    });
}

#[test]
fn a_guard_around_a_libc_mutex_unlocks_as_ever() {
    let (value, mutex) = (Value::new(1).unwrap(), Libc::new());
    for _ in 0..100 {
        let mut guard = value.lock().unwrap();
        assert_eq!(mutex.lock(), 0);
        *guard += 1;
        mutex.unlock();
        drop(guard);
        assert_eq!(value.try_lock().expect("free").recovered_from(), None);
    }
    assert_eq!(value.get(), 101);
}

/// Each `order` is a permutation of locks taken, then one of those given up; whatever is left at the kill is told of.
#[test]
fn locks_of_both_kinds_held_interleaved_are_all_recovered() {
    within(60, || {
        let values: Vec<_> = (0..3).map(|_| Value::new(0).unwrap()).collect();
        let mutexes: Vec<_> = (0..3).map(|_| Libc::new()).collect();
        let orders =
            [[0, 3, 1, 4, 2, 5], [3, 0, 4, 1, 5, 2], [0, 1, 2, 3, 4, 5], [5, 4, 0, 1, 2, 3], [3, 1, 2, 0, 5, 4]];
        let releases: [&[usize]; 6] = [&[], &[3, 1], &[1, 3], &[4, 0, 2], &[5, 3, 4, 1], &[0, 1, 2]];
        for (order, released) in orders.iter().flat_map(|order| releases.map(|released| (order, released))) {
            let ready = Mark::new();
            let mut child = fork(|| {
                let mut guards = [const { None }; 3];
                for i in order {
                    match *i {
                        i @ 0..3 => guards[i] = Some(values[i].lock().unwrap()),
                        i => assert_eq!(mutexes[i - 3].lock(), 0),
                    }
                }
                for i in released {
                    match *i {
                        i @ 0..3 => drop(guards[i].take()),
                        i => mutexes[i - 3].unlock(),
                    }
                }
                ready.hit();
                until_killed()
            });
            ready.reaches(1);
            child.kill();
            for i in 0..3 {
                let (own_free, libc_free) = (released.contains(&i), released.contains(&(i + 3)));
                let guard = values[i].lock_timeout(LOOKS_AGAIN).unwrap();
                assert_eq!(guard.recovered_from(), (!own_free).then_some(child.pid), "{i} of {order:?} {released:?}");
                let told = mutexes[i].take_over();
                assert_eq!(told, if libc_free { 0 } else { libc::EOWNERDEAD }, "{} of {order:?} {released:?}", i + 3);
            }
        }
    });
}

#[test]
fn exec_frees_what_the_process_held() {
    within(30, || {
        let (value, lock) = (Value::new(1).unwrap(), Lock::new().unwrap());
        let ready = Mark::new();
        let mut child = fork(|| {
            let mut guard = value.lock().unwrap();
            *guard = 2;
            let _held = lock.lock().unwrap();
            ready.hit();
            panic!("{}", Command::new("sleep").arg("60").exec());
        });
        ready.reaches(1);
        let guard = value.lock_timeout(LOOKS_AGAIN).unwrap();
        assert_eq!((*guard, guard.recovered_from()), (1, Some(child.pid)));
        assert_eq!(lock.lock().unwrap_err(), LockError::OwnerDied { pid: child.pid });
        assert_eq!(child.ended(), None, "the other program runs");
    });
}

/// The thread gets the number of its process then, so the kernel does not find it in the words: the backstop does.
#[test]
fn exec_in_another_thread_frees_what_the_thread_held() {
    within(30, || {
        let (value, lock) = (Value::new(1).unwrap(), Lock::new().unwrap());
        let ready = Mark::new();
        let mut child = fork(|| {
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    *value.lock().unwrap() = 2;
                    let _guard = value.lock().unwrap();
                    let _held = lock.lock().unwrap();
                    ready.hit();
                    panic!("{}", Command::new("sleep").arg("60").exec());
                });
            });
        });
        ready.reaches(1);
        let guard = value.lock_timeout(LOOKS_AGAIN).unwrap();
        assert_eq!((*guard, guard.recovered_from()), (2, Some(child.pid)));
        let died = lock.lock_timeout(LOOKS_AGAIN).unwrap_err();
        assert_eq!(died, LockError::OwnerDied { pid: child.pid }.into());
        assert_eq!(child.ended(), None, "the other program runs");
    });
}
