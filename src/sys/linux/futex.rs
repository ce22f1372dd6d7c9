//! A futex: a 32-bit word in memory on which threads of any process can sleep until another thread wakes the word.
//!
//! The kernel identifies a shared word by its page, not by its address, so the mappings of two processes meet in one
//! queue. The flag for process-private words is never passed: such a sleeper would not be found from another process.

use super::{Deadline, syscall};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// How a sleep ended. A wake is a hint: the caller checks its condition in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sleep {
    /// Woken, or the word was not what was expected.
    Over,
    /// Woken at another word than the first of several.
    Elsewhere,
    TimedOut,
}

/// Sleeps while `word` is `expected`, at most until `deadline`.
pub(crate) fn wait(word: &AtomicU32, expected: u32, deadline: Option<Deadline>) -> Sleep {
    let time = deadline.map(Deadline::as_timespec);
    let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // FUTEX_WAIT_BITSET has an absolute time, so a signal does not prolong it.
    let answer: std::io::Result<libc::c_long> = syscall!(libc::syscall(
        libc::SYS_futex,
        word.as_ptr(),
        libc::FUTEX_WAIT_BITSET,
        expected,
        time,
        std::ptr::null::<u32>(),
        libc::FUTEX_BITSET_MATCH_ANY
    ));
    ended(answer)
}

/// Wakes at most `count` sleepers and returns how many there were.
pub(crate) fn wake(word: &AtomicU32, count: u32) -> usize {
    let count = count.min(i32::MAX as u32);
    let answer: std::io::Result<libc::c_long> =
        syscall!(libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, count));
    answer.map_or(0, |woken| woken as usize)
}

/// The largest number of words for [`wait_any`].
pub(crate) const MOST_WORDS: usize = 128;

/// Sleeps while every word has its expected value, at most until `deadline`.
///
/// A kernel without `futex_waitv` (before 5.16, or with a filter) sleeps on the first word alone, in slices: a change
/// of another word is then seen up to one slice late.
pub(crate) fn wait_any(words: &[(&AtomicU32, u32)], deadline: Option<Deadline>) -> Sleep {
    static MISSING: AtomicBool = AtomicBool::new(false);
    let Some((first, rest)) = words.split_first() else { return Sleep::Over };
    if rest.is_empty() {
        return wait(first.0, first.1, deadline);
    }
    if !MISSING.load(Ordering::Relaxed) {
        match wait_vector(words, deadline) {
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
                MISSING.store(true, Ordering::Relaxed);
            }
            answer => return ended(answer),
        }
    }
    wait_in_slices(words, deadline)
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Waiter {
    expected: u64,
    address: u64,
    flags: u32,
    reserved: u32,
}

fn wait_vector(words: &[(&AtomicU32, u32)], deadline: Option<Deadline>) -> std::io::Result<libc::c_long> {
    const FUTEX_32: u32 = 2;
    let mut waiters = [Waiter { expected: 0, address: 0, flags: FUTEX_32, reserved: 0 }; MOST_WORDS];
    let words = &words[..words.len().min(MOST_WORDS)];
    for (waiter, (word, expected)) in waiters.iter_mut().zip(words) {
        waiter.expected = u64::from(*expected);
        waiter.address = word.as_ptr() as u64;
    }
    let time = deadline.map(Deadline::as_timespec);
    let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    syscall!(libc::syscall(libc::SYS_futex_waitv, waiters.as_ptr(), words.len() as u32, 0, time, libc::CLOCK_MONOTONIC))
}

/// Without the system call: checks all words, and sleeps 50 ms on the first.
fn wait_in_slices(words: &[(&AtomicU32, u32)], deadline: Option<Deadline>) -> Sleep {
    const SLICE: std::time::Duration = std::time::Duration::from_millis(50);
    loop {
        if words.iter().any(|(word, expected)| word.load(Ordering::SeqCst) != *expected) {
            return Sleep::Over;
        }
        let slice = Deadline::after(SLICE);
        let until = deadline.map_or(slice, |deadline| deadline.min(slice));
        if wait(words[0].0, words[0].1, Some(until)) == Sleep::Over {
            return Sleep::Over;
        }
        if deadline.is_some_and(Deadline::has_passed) {
            return Sleep::TimedOut;
        }
    }
}

fn ended(answer: std::io::Result<libc::c_long>) -> Sleep {
    match answer {
        Err(error) if error.raw_os_error() == Some(libc::ETIMEDOUT) => Sleep::TimedOut,
        Ok(1..) => Sleep::Elsewhere,
        _ => Sleep::Over,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    fn in_ms(ms: u64) -> Option<Deadline> {
        Some(Deadline::after(Duration::from_millis(ms)))
    }

    #[test]
    fn a_wait_ends_at_its_deadline_and_not_before() {
        let word = AtomicU32::new(1);
        let start = Instant::now();
        assert_eq!(wait(&word, 1, in_ms(30)), Sleep::TimedOut);
        assert!(start.elapsed() >= Duration::from_millis(30));
        assert_eq!(wait(&word, 2, None), Sleep::Over, "another value never sleeps");
    }

    #[test]
    fn any_of_several_words_wakes_with_and_without_the_system_call() {
        type Wait = fn(&[(&AtomicU32, u32)], Option<Deadline>) -> Sleep;
        for way in [wait_any as Wait, wait_in_slices] {
            let (a, b) = (AtomicU32::new(0), AtomicU32::new(0));
            assert_eq!(way(&[(&a, 0), (&b, 0)], in_ms(20)), Sleep::TimedOut);
            std::thread::scope(|scope| {
                let sleeper = scope.spawn(|| way(&[(&a, 0), (&b, 0)], in_ms(10_000)));
                b.store(1, Ordering::SeqCst);
                while !sleeper.is_finished() {
                    wake(&b, 1);
                    std::thread::yield_now();
                }
                assert!(matches!(sleeper.join().unwrap(), Sleep::Over | Sleep::Elsewhere));
            });
        }
    }
}
