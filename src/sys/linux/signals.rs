//! Signals: what a new process ignores or blocks, and what the threads of this crate do.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// The signals that this process ignores: bit `n - 1` for signal `n`. A new program has no handlers.
static IGNORED: AtomicU64 = AtomicU64::new(0);

/// Finds out once what each child would have to find out.
pub(super) fn note_ignored_signals() {
    for signal in 1..=64 {
        // SAFETY: plain data, for which zeros are valid.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        // SAFETY: a valid place; numbers that are no signals, and those of libc itself, are refused.
        let known = unsafe { libc::sigaction(signal, std::ptr::null(), &mut action) } == 0;
        if known && action.sa_sigaction == libc::SIG_IGN {
            IGNORED.fetch_or(1 << (signal - 1), Relaxed);
        }
    }
}

/// Sets signals as a new program has them: none ignored, none blocked.
pub(super) fn have_usual_signals() {
    let ignored = IGNORED.load(Relaxed);
    for signal in (1..=64).filter(|signal| ignored >> (signal - 1) & 1 == 1) {
        // SAFETY: the default action.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // SAFETY: no handler; plain data, for which zeros are valid; valid places.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_IGN); // as in every Rust program
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
    }
}

/// For threads of this crate: signals to the process are for the program's own threads.
pub(crate) fn block_signals() {
    // SAFETY: plain data, for which zeros are valid; valid places.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, std::ptr::null_mut());
    }
}

/// For a worker: Ctrl-C is meant for the program that started it.
pub(crate) fn ignore_interrupts() {
    // SAFETY: ignoring a signal is always valid.
    unsafe { libc::signal(libc::SIGINT, libc::SIG_IGN) };
}
