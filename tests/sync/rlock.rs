//! `RLock`: levels, owners, release without a guard, a holder that is killed at depth three, crowds.

use crate::util::{Mark, fork, until_killed, within};
use crossproc::{LockError, Process, RLock, ReleaseError, TryLockError};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

#[test]
fn three_in_three_out_and_a_fourth_is_an_error() {
    within(30, || {
        let lock = RLock::new().unwrap();
        for _ in 0..3 {
            lock.lock().unwrap().forget();
        }
        for _ in 0..3 {
            assert_eq!(lock.holder(), Some(std::process::id()));
            lock.release().unwrap();
        }
        assert_eq!((lock.release(), lock.holder()), (Err(ReleaseError::NotOwner), None));
        let guards = [lock.lock().unwrap(), lock.try_lock().unwrap(), lock.lock_timeout(Duration::ZERO).unwrap()];
        drop(guards);
        assert_eq!(lock.holder(), None);
    });
}

#[test]
fn another_thread_or_process_is_not_the_owner() {
    within(30, || {
        let lock = RLock::new().unwrap();
        let held = lock.lock().unwrap();
        let not_mine = |lock: &RLock| {
            assert_eq!(lock.release(), Err(ReleaseError::NotOwner));
            assert_eq!(lock.try_lock().unwrap_err(), TryLockError::WouldBlock);
            assert!(lock.lock_timeout(Duration::from_millis(5)).unwrap_err().is_timeout());
        };
        std::thread::scope(|scope| {
            scope.spawn(|| not_mine(&lock));
        });
        fork(|| not_mine(&lock)).join();
        Process::spawn(|lock: RLock| lock.release() == Err(ReleaseError::NotOwner), (lock.clone(),))
            .unwrap()
            .join()
            .map(|right| assert!(right))
            .unwrap();
        drop(held);
        assert!(lock.try_lock().is_ok());
    });
}

#[test]
fn a_copy_of_a_guard_in_a_fork_child_releases_nothing() {
    within(30, || {
        let lock = RLock::new().unwrap();
        let mut guards = Some((lock.lock().unwrap(), lock.lock().unwrap()));
        fork(|| drop(guards.take())).join();
        let other = fork(|| assert!(lock.try_lock().is_err()));
        other.join();
        drop(guards);
        assert_eq!(lock.holder(), None);
    });
}

#[test]
fn a_holder_killed_at_depth_three_leaves_a_mark_until_one_repair() {
    within(30, || {
        let lock = RLock::new().unwrap();
        let mark = Mark::new();
        let mut child = fork(|| {
            let _levels = [lock.lock().unwrap(), lock.lock().unwrap(), lock.lock().unwrap()];
            mark.hit();
            until_killed()
        });
        mark.reaches(1);
        let pid = child.pid;
        child.kill();
        let start = Instant::now();
        assert_eq!(lock.lock().unwrap_err(), LockError::OwnerDied { pid });
        assert!(start.elapsed() < Duration::from_millis(400));
        let panics =
            catch_unwind(AssertUnwindSafe(|| lock.lock_or_repair(|| std::panic::resume_unwind(Box::new(0))).map(drop)));
        assert!(panics.is_err());
        assert_eq!(lock.lock().unwrap_err(), LockError::OwnerDied { pid }, "not repaired");
        let mut repairs = 0;
        let outer = lock.lock_or_repair(|| repairs += 1).unwrap();
        let inner = lock.lock_or_repair(|| unreachable!("it is ours")).unwrap();
        drop((outer, inner));
        assert_eq!((repairs, lock.holder()), (1, None));
        assert!(lock.lock().is_ok());
    });
}

#[test]
fn eight_processes_count_in_a_file() {
    fn count(lock: RLock, path: std::path::PathBuf) -> crossproc::Result<()> {
        for _ in 0..50 {
            let (_outer, _inner) = (lock.lock()?, lock.lock()?);
            let number: u32 = std::fs::read_to_string(&path)?.trim().parse().map_err(crossproc::Error::other)?;
            std::thread::sleep(Duration::from_micros(50));
            std::fs::write(&path, (number + 1).to_string())?;
        }
        Ok(())
    }
    within(60, || {
        let path = std::env::temp_dir().join(format!("crossproc-rlock-{}", std::process::id()));
        std::fs::write(&path, "0").unwrap();
        let lock = RLock::new().unwrap();
        let spawn = |_| Process::spawn(count, (lock.clone(), path.clone())).unwrap();
        let children: Vec<_> = (0..8).map(spawn).collect();
        children.into_iter().for_each(|child| child.join().unwrap().unwrap());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "400");
        std::fs::remove_file(path).unwrap();
    });
}
