//! Processes that measure: forked, pinned to a core, and memory that they share.
//!
//! The harness has one thread, so that a forked child may do anything.

use anyhow::{Context, Result, bail};
use std::io::Error;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// A cache line (two, for the prefetcher takes pairs) for what one side writes.
#[repr(C, align(128))]
#[derive(Default)]
pub struct Line<T>(pub T);

/// A value in memory that is shared with forked children. Never dropped as a value: for atomics and plain data.
pub struct Shared<T>(NonNull<T>);

// SAFETY: it gives a shared T, and unmaps it once, in whatever thread.
unsafe impl<T: Sync> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Shared<T> {}

impl<T: Sync> Shared<T> {
    pub fn new(value: T) -> Result<Self> {
        let shared = Self::map()?;
        // SAFETY: mapped, big enough, aligned to a page.
        unsafe { shared.0.write(value) };
        Ok(shared)
    }

    /// For what is too large for a stack.
    ///
    /// # Safety
    /// Zeros are a value.
    pub unsafe fn zeroed() -> Result<Self> {
        Self::map()
    }

    /// Not a value yet.
    fn map() -> Result<Self> {
        const { assert!(!std::mem::needs_drop::<T>() && align_of::<T>() <= 4096) };
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping, at no address in particular.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), size_of::<T>().max(1), protection, flags, -1, 0) };
        if at == libc::MAP_FAILED {
            return Err(Error::last_os_error()).context("mmap");
        }
        Ok(Shared(NonNull::new(at.cast::<T>()).context("mapped at 0")?))
    }

    pub fn as_ptr(&self) -> *mut T {
        self.0.as_ptr()
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: initialised by `new` or by its caller's promise, mapped until `drop`.
        unsafe { self.0.as_ref() }
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping of `map`; nobody refers into it any more.
        unsafe { libc::munmap(self.0.as_ptr().cast(), size_of::<T>().max(1)) };
    }
}

/// A forked child; dropped before it was waited for, it is killed.
pub struct Child {
    pid: libc::pid_t,
}

impl Child {
    /// Runs `job` in a child that is pinned to `core`. What goes wrong there is printed, and `wait` fails.
    pub fn fork(core: usize, job: impl FnOnce() -> Result<()>) -> Result<Self> {
        // SAFETY: this process has one thread.
        match unsafe { libc::fork() } {
            -1 => Err(Error::last_os_error()).context("fork"),
            0 => {
                end_in_time();
                let run = || pin(core).and_then(|()| job());
                let code = match catch_unwind(AssertUnwindSafe(run)) {
                    Ok(Ok(())) => 0,
                    Ok(Err(error)) => {
                        eprintln!("child: {error:#}");
                        1
                    }
                    Err(_) => 2,
                };
                // SAFETY: no arguments in memory; destructors of the parent's objects must not run here.
                unsafe { libc::_exit(code) }
            }
            pid => Ok(Child { pid }),
        }
    }

    pub fn pid(&self) -> u32 {
        self.pid.unsigned_abs()
    }

    pub fn kill(&self) {
        // SAFETY: a child of ours that has not been waited for.
        unsafe { libc::kill(self.pid, libc::SIGKILL) };
    }

    /// Waits for its end, whatever it is.
    fn reap(&mut self) -> i32 {
        let mut status = 0;
        // SAFETY: as in `kill`.
        while unsafe { libc::waitpid(self.pid, &raw mut status, 0) } == -1
            && Error::last_os_error().raw_os_error() == Some(libc::EINTR)
        {}
        self.pid = 0;
        status
    }

    /// Waits for a good end.
    pub fn wait(mut self) -> Result<()> {
        match self.reap() {
            0 => Ok(()),
            status => bail!("a measuring child ended with status {status:#x}"),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.pid != 0 {
            self.kill();
            self.reap();
        }
    }
}

/// Not longer than its parent, and not for ever when the other side of a measurement is gone.
pub fn end_in_time() {
    const MOST_SECONDS: u32 = 120;
    let _ = end_with_parent();
    // SAFETY: plain arguments.
    unsafe { libc::alarm(MOST_SECONDS) };
}

/// Killed when the parent ends, however it does; one system call.
pub fn end_with_parent() -> std::io::Result<()> {
    // SAFETY: plain arguments.
    match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } {
        0 => Ok(()),
        _ => Err(Error::last_os_error()),
    }
}

/// Pins the calling thread to one core, and what it starts.
pub fn pin(core: usize) -> Result<()> {
    allow(&[core])
}

/// Back to all the cores that this process began with.
pub fn unpin() -> Result<()> {
    allow(cores())
}

fn allow(cores: &[usize]) -> Result<()> {
    // SAFETY: all zeros is an empty set; the cores are some of `cores()`, below CPU_SETSIZE.
    let answer = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        cores.iter().for_each(|core| libc::CPU_SET(*core, &mut set));
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set)
    };
    if answer == 0 { Ok(()) } else { Err(Error::last_os_error()).context("sched_setaffinity") }
}

/// The cores that this process might use when it started, by number.
pub fn cores() -> &'static [usize] {
    static CORES: OnceLock<Vec<usize>> = OnceLock::new();
    CORES.get_or_init(|| {
        // SAFETY: the kernel fills the set; CPU_ISSET stays below CPU_SETSIZE.
        unsafe {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set);
            (0..libc::CPU_SETSIZE as usize).filter(|core| libc::CPU_ISSET(*core, &set)).collect()
        }
    })
}

/// The two cores for pairs of processes.
pub fn two_cores() -> Result<[usize; 2]> {
    match cores() {
        [first, .., last] => Ok([*first, *last]),
        _ => bail!("needs two cores"),
    }
}

/// A point that so many processes pass together.
#[derive(Default)]
pub struct Meeting(AtomicU32);

impl Meeting {
    /// Waits until `n` are here; usable again and again by the same `n`. Fails when the others do not come.
    pub fn meet(&self, n: u32) -> Result<()> {
        let turn = self.0.fetch_add(1, SeqCst) / n + 1;
        let start = Instant::now();
        let mut looks = 0_u32;
        while self.0.load(SeqCst) < turn * n {
            looks += 1;
            if looks.is_multiple_of(100_000) {
                std::thread::yield_now();
                if start.elapsed() > Duration::from_secs(60) {
                    bail!("the other side did not come");
                }
            }
        }
        Ok(())
    }
}

/// Context switches of this thread so far: those that it asked for (it slept), those that it suffered.
pub fn switches() -> (u64, u64) {
    // SAFETY: getrusage fills the struct.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage);
        usage
    };
    (usage.ru_nvcsw.unsigned_abs(), usage.ru_nivcsw.unsigned_abs())
}

/// Whether programs of the usual kind do not get in our way.
pub fn is_realtime() -> bool {
    // SAFETY: no memory involved.
    matches!(unsafe { libc::sched_getscheduler(0) }, libc::SCHED_FIFO | libc::SCHED_RR)
}

/// For more busy processes than cores: one that goes before all others would keep its own kind off the core for good.
/// Now they take turns, but with other programs too.
pub fn take_turns() -> Result<()> {
    let none = libc::sched_param { sched_priority: 0 };
    // SAFETY: the parameter lives.
    let answer = unsafe { libc::sched_setscheduler(0, libc::SCHED_OTHER, &raw const none) };
    if answer == 0 { Ok(()) } else { Err(Error::last_os_error()).context("sched_setscheduler") }
}

/// The monotonic clock in nanoseconds, the same in all processes.
pub fn now() -> u64 {
    clock(libc::CLOCK_MONOTONIC)
}

/// How long this process was on a core so far, in nanoseconds.
pub fn busy() -> u64 {
    clock(libc::CLOCK_PROCESS_CPUTIME_ID)
}

fn clock(which: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: fills the struct.
    unsafe { libc::clock_gettime(which, &raw mut time) };
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}
