//! `pthread_mutex_t` between processes, plain and robust.

use super::{Counter, Guarded};
use crate::process::Shared;
use anyhow::{Result, ensure};
use std::cell::UnsafeCell;
use std::mem::MaybeUninit;

#[repr(C)]
struct Locked {
    mutex: UnsafeCell<libc::pthread_mutex_t>,
    number: Guarded,
}

// SAFETY: a pthread mutex is made for that.
unsafe impl Sync for Locked {}

pub struct Pthread(Shared<Locked>);

impl Pthread {
    pub fn new(robust: bool) -> Result<Self> {
        let mutex = UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER);
        let locked = Shared::new(Locked { mutex, number: Guarded::default() })?;
        let mut attributes = MaybeUninit::uninit();
        let at = attributes.as_mut_ptr();
        let robust = if robust { libc::PTHREAD_MUTEX_ROBUST } else { libc::PTHREAD_MUTEX_STALLED };
        // SAFETY: the attributes are initialised first; the mutex stays where it is and nobody uses it yet.
        let answers = unsafe {
            [
                libc::pthread_mutexattr_init(at),
                libc::pthread_mutexattr_setpshared(at, libc::PTHREAD_PROCESS_SHARED),
                libc::pthread_mutexattr_setrobust(at, robust),
                libc::pthread_mutex_init(locked.mutex.get(), at),
            ]
        };
        ensure!(answers == [0; 4], "pthread_mutex_init: {answers:?}");
        Ok(Pthread(locked))
    }
}

impl Counter for Pthread {
    #[inline(always)]
    fn bump(&self) {
        let mutex = self.0.mutex.get();
        // SAFETY: initialised; locked between the two calls.
        unsafe {
            assert_eq!(libc::pthread_mutex_lock(mutex), 0);
            self.0.number.bump();
            libc::pthread_mutex_unlock(mutex);
        }
    }
    fn count(&self) -> u64 {
        self.0.number.get()
    }
}
