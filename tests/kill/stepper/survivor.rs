//! The processes that must cope: they run a closure and report its results.

use std::ptr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use super::child::{Child, Shared};
use super::procfs::{asleep, until_asleep};

/// Results one survivor can report; then it pauses for ever.
const RESULTS: usize = 500;
/// How often a waiter looks whether the survivor is still alive.
const LOOK: Duration = Duration::from_millis(20);
/// How long a sleeper may take to fall asleep.
const TO_BED: Duration = Duration::from_secs(10);

/// Where the results go. The count is a futex word.
#[derive(Debug)]
struct Results {
    count: AtomicU32,
    values: [AtomicU64; RESULTS],
}

impl Results {
    fn shared() -> Shared<Self> {
        Shared::new(Self { count: AtomicU32::new(0), values: [const { AtomicU64::new(0) }; RESULTS] })
    }

    /// In the survivor: publishes one result; false when there is no room for another.
    fn report(&self, value: u64) -> bool {
        let count = self.count.load(SeqCst);
        self.values[count as usize].store(value, SeqCst);
        self.count.store(count + 1, SeqCst);
        // SAFETY: the word is mapped; a wake touches no memory.
        unsafe { libc::syscall(libc::SYS_futex, &raw const self.count, libc::FUTEX_WAKE, 1) };
        (count as usize) + 1 < RESULTS
    }

    /// In the parent: waits while there are exactly `seen` results, at most for `limit`.
    fn wait_while(&self, seen: u32, limit: Duration) {
        let limit = libc::timespec { tv_sec: limit.as_secs() as libc::time_t, tv_nsec: limit.subsec_nanos().into() };
        let word = &raw const self.count;
        // SAFETY: the word and the time stay valid for the call.
        unsafe {
            libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAIT, seen, &raw const limit, ptr::null::<u32>(), 0)
        };
    }
}

/// A process that runs a closure beside the victim or after its death.
#[derive(Debug)]
pub struct Survivor {
    child: Child,
    results: Shared<Results>,
    taken: u32,
}

impl Survivor {
    /// Forks a child that reports what `work` returns.
    pub fn start(work: impl FnOnce() -> u64) -> Self {
        Self::fork(|results| {
            results.report(work());
        })
    }

    /// Forks a child that calls `work` again and again and reports every result.
    pub fn repeat(mut work: impl FnMut() -> u64) -> Self {
        Self::fork(|results| while results.report(work()) {})
    }

    fn fork(body: impl FnOnce(&Results)) -> Self {
        let results = Results::shared();
        let child = Child::fork(|| {
            body(&results);
            loop {
                // SAFETY: pause has no preconditions.
                unsafe { libc::pause() };
            }
        });
        Self { child, results, taken: 0 }
    }

    /// The process id.
    pub fn pid(&self) -> i32 {
        self.child.pid()
    }

    /// Whether there is a result that was not asked for yet.
    pub fn has_result(&self) -> bool {
        self.reported() != self.taken
    }

    /// The next result; `None` if `limit` passes or the process ends before.
    pub fn wait_result(&mut self, limit: Duration) -> Option<u64> {
        let begun = Instant::now();
        while self.reported() == self.taken {
            let left = limit.checked_sub(begun.elapsed())?;
            self.results.wait_while(self.taken, left.min(LOOK));
            if self.reported() == self.taken && self.child.ended().is_some() {
                return None;
            }
        }
        let value = self.results.values[self.taken as usize].load(SeqCst);
        self.taken += 1;
        Some(value)
    }

    /// How many results there are, taken or not.
    pub fn reported(&self) -> u32 {
        self.results.count.load(SeqCst)
    }

    /// Whether it sleeps in a futex wait.
    pub fn asleep(&self) -> bool {
        asleep(self.pid())
    }

    /// Kills and reaps it.
    pub fn kill(&mut self) {
        self.child.kill();
    }
}

/// A survivor that is asleep in a futex before the victim starts, and must get woken.
#[derive(Debug)]
pub struct Sleeper(Survivor);

impl Sleeper {
    /// Starts `work` once and waits until it sleeps.
    pub fn start(work: impl FnOnce() -> u64) -> Self {
        Self::put_to_bed(Survivor::start(work))
    }

    /// Starts `work` again and again, as a consumer would, and waits until the first one sleeps.
    pub fn repeat(work: impl FnMut() -> u64) -> Self {
        Self::put_to_bed(Survivor::repeat(work))
    }

    fn put_to_bed(survivor: Survivor) -> Self {
        assert!(until_asleep(survivor.pid(), TO_BED), "the sleeper does not sleep");
        Self(survivor)
    }

    /// The process id.
    pub fn pid(&self) -> i32 {
        self.0.pid()
    }

    /// The next result; `None` if `limit` passes before, which means that it was not woken.
    pub fn wait_result(&mut self, limit: Duration) -> Option<u64> {
        self.0.wait_result(limit)
    }

    /// How many results there are, taken or not.
    pub fn reported(&self) -> u32 {
        self.0.reported()
    }

    /// Whether it sleeps in a futex wait.
    pub fn asleep(&self) -> bool {
        self.0.asleep()
    }

    /// Kills and reaps it.
    pub fn kill(&mut self) {
        self.0.kill();
    }
}
