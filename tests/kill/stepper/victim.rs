//! The process that is going to die: forked, traced, stopped in front of its operation.

use std::io;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use super::child::{Child, Shared};
use super::procfs::{Sighting, asleep, pause_a_little, sight, state};
use super::tracer::{REMEDY, ptrace};
use super::{arch, watch};

/// How long a step may take before the suite checks whether the victim sleeps in a futex.
const FUTEX_PATIENCE: Duration = Duration::from_micros(200);
/// The same for sleep in any other system call, which may be meant to be short.
const CALL_PATIENCE: Duration = Duration::from_millis(5);
/// Nothing here takes that long unless it hangs.
const LIMIT: Duration = Duration::from_secs(10);

/// What the victim tells the tracer.
#[derive(Debug, Default)]
struct Control {
    done: AtomicU32,        // 1 once the operation has returned
    refused: AtomicI32,     // errno of PTRACE_TRACEME
    robust_head: AtomicU64, // address of the robust list head in the victim, or 0
}

/// Why the victim does not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// One instruction was executed, or a breakpoint was reached.
    Trap,
    /// It is at the entry or at the exit of a system call.
    Call,
    /// A signal arrived and is delivered when it goes on.
    Signal(i32),
    /// It sleeps in a system call: [`Victim::wait`] after it was woken.
    Asleep,
    /// It ended, with this wait status.
    Ended(i32),
}

/// A traced child before, inside or after its operation.
#[derive(Debug)]
pub struct Victim {
    child: Child,
    control: Shared<Control>,
    signal: i32,
}

impl Victim {
    /// Forks, runs `prepare` at full speed and stops in front of `operation`.
    pub fn start<T>(prepare: impl FnOnce() -> T, operation: impl FnOnce(T)) -> Self {
        let control = Shared::new(Control::default());
        let child = Child::fork(|| live(&control, prepare, operation));
        let mut victim = Self { child, control, signal: 0 };
        victim.await_first_stop();
        victim
    }

    /// The process id.
    pub fn pid(&self) -> i32 {
        self.child.pid()
    }

    /// Whether the operation has returned: what it did is acknowledged.
    pub fn finished(&self) -> bool {
        self.control.done.load(SeqCst) == 1
    }

    /// Executes one instruction.
    pub fn step(&mut self) -> Stop {
        self.resume(libc::PTRACE_SINGLESTEP.into());
        self.wait()
    }

    /// Runs to the next system call entry, exit or breakpoint.
    pub fn run_to_call(&mut self) -> Stop {
        self.resume(libc::PTRACE_SYSCALL.into());
        self.wait()
    }

    /// Waits for the next stop, or until it sleeps for longer than a moment.
    pub fn wait(&mut self) -> Stop {
        self.wait_unless(Self::sleeps)
    }

    /// Waits for the next stop of a victim that was asleep and has been woken; panics if it is
    /// still asleep after ten seconds.
    pub fn wait_woken(&mut self) -> Stop {
        self.wait_unless(|_, _| false)
    }

    /// Sends SIGKILL and reaps it.
    pub fn kill(&mut self) {
        self.child.kill();
    }

    /// Makes [`run_to_call`](Self::run_to_call) trap at `address`; false if that is impossible.
    pub(super) fn set_breakpoint(&mut self, address: u64) -> bool {
        arch::set_breakpoint(self.pid(), address)
    }

    pub(super) fn clear_breakpoint(&mut self) {
        arch::clear_breakpoint(self.pid());
    }

    /// The stopped victim's next instruction and the system call it has just left, if any.
    pub(super) fn sighting(&self) -> Sighting {
        let begun = Instant::now();
        loop {
            if let Some(sighting) = arch::sight(self.pid()).or_else(|| sight(self.pid())) {
                return sighting;
            }
            assert!(begun.elapsed() < LIMIT, "neither its registers nor procfs say where the victim is");
        }
    }

    /// A hash of the stopped victim's robust list and pending slot.
    pub(super) fn robust_state(&self) -> u64 {
        watch::robust_state(self.pid(), self.control.robust_head.load(SeqCst))
    }

    fn resume(&mut self, request: i64) {
        let signal = std::mem::take(&mut self.signal);
        // ESRCH means that it died meanwhile: the next wait reports that.
        if let Err(error) = ptrace(request, self.pid(), 0, signal as usize)
            && error.raw_os_error() != Some(libc::ESRCH)
        {
            panic!("ptrace: {error}\n{REMEDY}");
        }
    }

    fn wait_unless(&mut self, gives_up: impl Fn(&Self, Duration) -> bool) -> Stop {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.poll() {
                return self.classify(status);
            }
            let waited = begun.elapsed();
            if gives_up(self, waited) {
                // It may have stopped just before it was looked at: a stop looks like sleep.
                let status = self.child.poll();
                return status.map_or(Stop::Asleep, |status| self.classify(status));
            }
            assert!(waited < LIMIT, "the victim neither stops nor sleeps");
            pause_a_little(waited);
        }
    }

    fn sleeps(&self, waited: Duration) -> bool {
        (waited > FUTEX_PATIENCE && asleep(self.pid())) || (waited > CALL_PATIENCE && state(self.pid()) == 'S')
    }

    fn classify(&mut self, status: i32) -> Stop {
        const CALL: i32 = libc::SIGTRAP | 0x80; // marked so by PTRACE_O_TRACESYSGOOD
        if !libc::WIFSTOPPED(status) {
            return Stop::Ended(status);
        }
        match libc::WSTOPSIG(status) {
            libc::SIGTRAP => Stop::Trap,
            CALL => Stop::Call,
            signal => {
                self.signal = signal;
                Stop::Signal(signal)
            }
        }
    }

    fn await_first_stop(&mut self) {
        match self.wait_woken() {
            Stop::Signal(libc::SIGSTOP) => self.signal = 0,
            stop => self.explain_failed_start(stop),
        }
        let options = libc::PTRACE_O_EXITKILL | libc::PTRACE_O_TRACESYSGOOD;
        ptrace(libc::PTRACE_SETOPTIONS.into(), self.pid(), 0, options as usize)
            .unwrap_or_else(|error| panic!("PTRACE_SETOPTIONS: {error}\n{REMEDY}"));
    }

    fn explain_failed_start(&self, stop: Stop) -> ! {
        match self.control.refused.load(SeqCst) {
            0 => panic!("the victim did not get through its preparation: {stop:?}"),
            errno => {
                let error = io::Error::from_raw_os_error(errno);
                panic!("PTRACE_TRACEME: {error}\n{REMEDY}")
            }
        }
    }
}

/// The victim's whole life.
fn live<T>(control: &Control, prepare: impl FnOnce() -> T, operation: impl FnOnce(T)) {
    let prepared = prepare();
    control.robust_head.store(own_robust_head(), SeqCst);
    if let Err(error) = ptrace(libc::PTRACE_TRACEME.into(), 0, 0, 0) {
        let errno = error.raw_os_error().unwrap_or(libc::EPERM);
        control.refused.store(errno, SeqCst);
        return;
    }
    stop_here();
    operation(prepared);
    control.done.store(1, SeqCst);
    loop {
        stop_here();
    }
}

/// The raw call: `raise` would add its own instructions and calls to the operation.
fn stop_here() {
    // SAFETY: getpid and kill have no memory preconditions.
    unsafe { libc::syscall(libc::SYS_kill, libc::getpid(), libc::SIGSTOP) };
}

fn own_robust_head() -> u64 {
    let (mut head, mut len) = (0_usize, 0_usize);
    // SAFETY: the kernel writes one word to each of the two live locals.
    unsafe { libc::syscall(libc::SYS_get_robust_list, 0, &raw mut head, &raw mut len) };
    head as u64
}
