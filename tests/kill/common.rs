//! What the worlds of all scenarios need.

use super::stepper::{Child, Kill, Shared, Survivor, Watched, until_asleep};
use std::fmt::Debug;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// The number in an environment variable.
pub fn number(variable: &str) -> Option<u32> {
    std::env::var(variable).ok()?.parse().ok()
}

static FULL: AtomicBool = AtomicBool::new(false);

/// Whether this is the full pass.
pub fn is_full() -> bool {
    FULL.load(SeqCst)
}

/// How long a survivor may take: for ever, as far as a test can tell.
pub fn patience() -> Duration {
    Duration::from_millis(number("KILL_PATIENCE_MS").unwrap_or(10_000).into())
}

/// Before the first scenario: no descriptors but the standard streams, no backstop, which would hide a lost wake-up,
/// and list mode as it is in a process that has held several guards at once, so that each victim is the fork child of
/// such a process.
pub fn settle(full: bool) {
    FULL.store(full, SeqCst);
    // In `spawn/`, forks of the suite play the server and its children. Those close all descriptors, and receive the
    // memory of the suite again: under the same numbers only if the suite's own are the first ones.
    // SAFETY: no pointers, and nothing has been opened yet.
    assert_eq!(unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) }, 0, "close_range");
    crossproc::testing::switch_backstop(false);
    let locks: Vec<_> = (0..3).map(|_| crossproc::Lock::new().expect("memory for a lock")).collect();
    let guards: Vec<_> = locks.iter().map(|lock| lock.lock().expect("a new lock")).collect();
    assert!(locks[0].try_lock().is_err(), "a slow path, after which the number of processors is known");
    drop(guards);
}

/// The flag that sends sleepers to sleep, and how long they may take.
pub const BEDTIME: usize = 0;
pub const TO_BED: Duration = Duration::from_secs(10);

pub fn put_to_bed(flags: &Flags, sleepers: &[Survivor]) {
    flags.set(BEDTIME);
    see_asleep(flags, sleepers);
}

/// The same for sleepers that set the flag themselves.
pub fn see_asleep(flags: &Flags, sleepers: &[Survivor]) {
    flags.wait_for(BEDTIME);
    for sleeper in sleepers {
        assert!(until_asleep(sleeper.pid(), TO_BED), "a sleeper does not sleep");
    }
}

/// Whether it comes to be so, while a survivor may take.
pub fn eventually(mut is_so: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    while !is_so() {
        if begun.elapsed() > patience() {
            return false;
        }
        std::thread::sleep(Duration::from_micros(20));
    }
    true
}

/// In the victim: its thread has locked something before.
pub fn warm_up() {
    let lock = crossproc::Lock::new().expect("memory for a lock");
    drop(lock.lock().expect("a new lock"));
}

/// A reference that a guard in the same world can have.
#[expect(clippy::borrowed_box, reason = "what is in a box does not move")]
pub fn pinned<T>(boxed: &Box<T>) -> &'static T {
    // SAFETY: a world keeps its boxes to its end and declares, so drops, what refers to them before them.
    unsafe { &*std::ptr::from_ref(&**boxed) }
}

/// Words that all processes of a world share; they begin as 0.
#[derive(Clone)]
pub struct Flags(Rc<Shared<[AtomicU64; 8]>>);

impl Flags {
    pub fn new() -> Self {
        Flags(Rc::new(Shared::new([const { AtomicU64::new(0) }; 8])))
    }

    pub fn set(&self, which: usize) {
        self.put(which, 1);
    }

    pub fn put(&self, which: usize, value: u64) {
        self.0[which].store(value, SeqCst);
    }

    pub fn get(&self, which: usize) -> u64 {
        self.0[which].load(SeqCst)
    }

    pub fn is_set(&self, which: usize) -> bool {
        self.get(which) != 0
    }

    /// Waits without a futex, so that the waiter does not look like one that waits for a lock.
    pub fn wait_for(&self, which: usize) {
        let begun = Instant::now();
        while !self.is_set(which) {
            assert!(begun.elapsed() < Duration::from_secs(60), "the flag never came");
            std::thread::sleep(Duration::from_micros(20));
        }
    }
}

/// Runs `work` in a process that is killed afterwards, with all guards that it left; gives its number.
pub fn die_after(work: impl FnOnce()) -> u32 {
    let flags = Flags::new();
    let mut child = Child::fork(|| {
        work();
        flags.set(0);
        std::thread::sleep(Duration::from_secs(60));
    });
    flags.wait_for(0);
    child.kill();
    child.pid() as u32
}

/// Every survivor must come back with 1 in time: that it got what it waited for.
pub fn demand_all(kill: &mut Kill, survivors: &mut [Survivor]) {
    for (index, survivor) in survivors.iter_mut().enumerate() {
        match survivor.wait_result(patience()) {
            Some(1) => kill.recovered(),
            Some(other) => kill.demand(false, format!("sleeper {index} got an error: {other}")),
            None => kill.demand(false, format!("sleeper {index} sleeps for ever")),
        }
    }
}

/// Where an object of the library lies, which only its `Debug` tells.
pub fn address(object: &impl Debug) -> usize {
    let text = format!("{object:?}");
    let digits = text.split("0x").nth(1).expect("an address in the debug form");
    let digits: String = digits.chars().take_while(char::is_ascii_hexdigit).collect();
    usize::from_str_radix(&digits, 16).expect("hexadecimal digits")
}

/// The first `bytes` of an object, to be watched.
pub fn watch(object: &impl Debug, bytes: usize) -> Watched {
    // SAFETY: the object's memory, which the world keeps mapped; callers pass no more than its size.
    unsafe { Watched::new(address(object) as *const u8, bytes) }
}
