//! What the hardware can do: a counter without a lock, a spin word, a futex word. None survives its holder's death.

use super::{Counter, Guarded};
use crate::process::Shared;
use anyhow::Result;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};

/// No lock at all.
pub struct FetchAdd(Shared<AtomicU64>);

impl FetchAdd {
    pub fn new() -> Result<Self> {
        Ok(FetchAdd(Shared::new(AtomicU64::new(0))?))
    }
}

impl Counter for FetchAdd {
    #[inline(always)]
    fn bump(&self) {
        self.0.fetch_add(1, Relaxed);
    }
    fn count(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Swap to take, plain store to free; never sleeps.
pub struct SpinWord(Shared<(AtomicBool, Guarded)>);

impl SpinWord {
    pub fn new() -> Result<Self> {
        Ok(SpinWord(Shared::new(Default::default())?))
    }
}

impl Counter for SpinWord {
    #[inline(always)]
    fn bump(&self) {
        while self.0.0.swap(true, Acquire) {
            std::hint::spin_loop();
        }
        // SAFETY: locked.
        unsafe { self.0.1.bump() };
        self.0.0.store(false, Release);
    }
    fn count(&self) -> u64 {
        self.0.1.get()
    }
}

/// std's own mutex on a futex word, but between processes: 0 free, 1 held, 2 held and somebody sleeps.
pub struct FutexWord(Shared<(AtomicU32, Guarded)>);

impl FutexWord {
    pub fn new() -> Result<Self> {
        Ok(FutexWord(Shared::new(Default::default())?))
    }

    #[cold]
    fn lock_contended(&self) {
        let word = &self.0.0;
        let mut state = spin(word);
        if state == 0 && word.compare_exchange(0, 1, Acquire, Relaxed).is_ok() {
            return;
        }
        loop {
            if state != 2 && word.swap(2, Acquire) == 0 {
                return;
            }
            futex(word, libc::FUTEX_WAIT, 2);
            state = spin(word);
        }
    }
}

impl Counter for FutexWord {
    #[inline(always)]
    fn bump(&self) {
        let word = &self.0.0;
        if word.compare_exchange(0, 1, Acquire, Relaxed).is_err() {
            self.lock_contended();
        }
        // SAFETY: locked.
        unsafe { self.0.1.bump() };
        if word.swap(0, Release) == 2 {
            futex(word, libc::FUTEX_WAKE, 1);
        }
    }
    fn count(&self) -> u64 {
        self.0.1.get()
    }
}

fn spin(word: &AtomicU32) -> u32 {
    for _ in 0..100 {
        let state = word.load(Relaxed);
        if state != 1 {
            return state;
        }
        std::hint::spin_loop();
    }
    word.load(Relaxed)
}

fn futex(word: &AtomicU32, operation: i32, value: u32) {
    // SAFETY: the word lives; no timeout.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, value, std::ptr::null::<libc::timespec>()) };
}
