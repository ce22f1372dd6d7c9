//! A lock whose holder is killed: another crate's lock, and the lock of this library.

use crate::util::{Mark, fork, until_killed, within};
use crossproc::{Lock, LockError};
use raw_sync::Timeout;
use raw_sync::locks::{LockInit, Mutex};
use shared_memory::ShmemConf;
use std::time::Duration;

const WHILE: Duration = Duration::from_secs(2);

#[test]
fn a_lock_of_raw_sync_stays_taken_for_ever() {
    within(30, || {
        let memory = ShmemConf::new().size(4096).create().unwrap();
        // SAFETY: a fresh page, as large as the lock asks for.
        let lock = unsafe { Mutex::new(memory.as_ptr(), memory.as_ptr().add(Mutex::size_of(None))) }.unwrap().0;
        let held = Mark::new();
        let mut child = fork(|| {
            let _guard = lock.lock().unwrap();
            held.hit();
            until_killed()
        });
        held.reaches(1);
        assert!(lock.try_lock(Timeout::Val(Duration::from_millis(50))).is_err(), "the child has it");
        child.kill();
        assert!(lock.try_lock(Timeout::Val(WHILE)).is_err(), "no thread has it, and none gets it");
    });
}

#[test]
fn ours_does_not() {
    within(30, || {
        let lock = Lock::new().unwrap();
        let held = Mark::new();
        let mut child = fork(|| {
            let _guard = lock.lock().unwrap();
            held.hit();
            until_killed()
        });
        held.reaches(1);
        child.kill();
        assert_eq!(lock.lock_timeout(WHILE).unwrap_err(), LockError::OwnerDied { pid: child.pid }.into());
        drop(lock.lock_or_repair(|| ()).unwrap());
        drop(lock.lock_timeout(WHILE).unwrap());
    });
}
