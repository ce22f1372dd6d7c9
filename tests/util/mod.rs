//! What all tests share: forked children that can be killed, shared counters, other programs, time limits.
//!
//! The tests of a binary run as threads of one process. A forked child inherits all that they have at that moment: it
//! is another holder of each object, and keeps descriptors and streams open. So a test needs a process of its own if it
//! counts what its process has, waits until an object has no other holder, or changes what the whole process has
//! (limits, working directory, umask, user, signal handlers):
//! * [`alone`] is a fork, with one thread: enough to count descriptors, mappings and names.
//! * [`by_itself`] is this program once more: it has nothing of what other tests hold.
//! * A [role](program()) is this program in the part of another test.
//! * A static switch of the library ([`crossproc::testing::switch_backstop`]) is set in forked children only.
#![allow(dead_code, unused_imports, reason = "a toolbox: not every test needs every tool")]

mod counts;
mod example;
mod family;
mod privileges;
mod program;
mod resources;

pub use counts::Counts;
pub use example::example;
pub use family::{
    children_of, descriptors, is_running, kill, name_of, open_descriptors, servers_of, status_number, zombies_of,
};
pub use privileges::{NOBODY, NOT_RUN, become_nobody, could_not_run, is_root, unshare};
pub use program::{Program, by_itself, in_a_program, prints, program, role, role_stream, test_name};
pub use resources::{CORE, DESCRIPTORS, FILE_SIZE, MEMORY, PROCESSES, STACK, resource_limit, set_resource_limit};

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Once;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// The limit of a single wait of a test, long enough for a loaded machine.
pub const LIMIT: Duration = Duration::from_secs(20);
/// Less than the half second after which a sleeper looks whether its holder lives. A sleeper that wakes within this
/// time was woken.
pub const AT_ONCE: Duration = Duration::from_millis(400);
pub const MS: Duration = Duration::from_millis(1);
/// The exit code of a child that panicked.
pub const PANICKED: i32 = 101;

/// A child by `fork`. A drop kills and reaps it.
pub struct Child {
    pub pid: u32,
    parent: u32,
    code: Option<i32>,
}

static IS_CHILD: AtomicBool = AtomicBool::new(false);

/// Runs `body` in a child process, which then ends without destructors: with 0, or [`PANICKED`]. The kernel kills the
/// child when the thread that forked it ends.
pub fn fork(body: impl FnOnce()) -> Child {
    report_panics();
    let parent = std::process::id();
    // SAFETY: the child has one thread; it allocates, which libc prepares for.
    match unsafe { libc::fork() } {
        -1 => panic!("fork: {}", std::io::Error::last_os_error()),
        0 => {
            // SAFETY: no pointers.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            // SAFETY: no arguments.
            if unsafe { libc::getppid() } as u32 != parent {
                exit(1);
            }
            IS_CHILD.store(true, SeqCst);
            let done = catch_unwind(AssertUnwindSafe(body)).is_ok();
            exit(if done { 0 } else { PANICKED })
        }
        pid => Child { pid: pid as u32, parent, code: None },
    }
}

/// Ends the process at once.
pub fn exit(code: i32) -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(code) }
}

/// Has panics of forked children written by a system call: the harness would keep their text, or wait for a lock that
/// the fork left locked.
fn report_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !IS_CHILD.load(SeqCst) {
                usual(info);
            } else if !QUIET.load(SeqCst) {
                say(&format!("child {}: {info}\n", std::process::id()));
            }
        }));
    });
}

static QUIET: AtomicBool = AtomicBool::new(false);

/// Hides panics of a forked child. For a child whose panic is part of the test.
pub fn quiet_panics() {
    QUIET.store(true, SeqCst);
}

/// Writes to the standard error past the harness, which would keep it.
pub fn say(text: &str) {
    // SAFETY: a valid buffer.
    unsafe { libc::write(2, text.as_ptr().cast(), text.len()) };
}

impl Child {
    /// Waits for the end, at most [`LIMIT`]. Returns the exit code, or minus the signal.
    pub fn wait(&mut self) -> i32 {
        self.wait_for(LIMIT)
    }

    pub fn wait_for(&mut self, limit: Duration) -> i32 {
        until_within(limit, "the child ends", || self.ended().is_some());
        self.code.expect("it ended")
    }

    /// Returns the exit code if the child has ended.
    pub fn ended(&mut self) -> Option<i32> {
        if self.code.is_none() {
            let mut status = 0;
            // SAFETY: a child of ours that was not reaped; status is valid.
            let answer = unsafe { libc::waitpid(self.pid as i32, &mut status, libc::WNOHANG) };
            if answer == self.pid as i32 {
                self.code =
                    Some(if libc::WIFSIGNALED(status) { -libc::WTERMSIG(status) } else { libc::WEXITSTATUS(status) });
            } else if answer == -1 {
                panic!("waitpid: {}", std::io::Error::last_os_error());
            }
        }
        self.code
    }

    /// Waits for a child that must end with 0.
    pub fn join(mut self) {
        assert_eq!(self.wait(), 0, "exit code of child {}", self.pid);
    }

    /// Sends SIGKILL and reaps the child.
    pub fn kill(&mut self) -> i32 {
        self.signal(libc::SIGKILL);
        self.wait()
    }

    /// Sends SIGKILL and does not wait for the end.
    pub fn shoot(&mut self) {
        self.signal(libc::SIGKILL);
    }

    /// Sends SIGSTOP and waits until the child has stopped.
    pub fn stop(&mut self) {
        self.signal(libc::SIGSTOP);
        until("the child stops", || state(self.pid) == Some('T'));
    }

    pub fn go_on(&mut self) {
        self.signal(libc::SIGCONT);
    }

    pub fn signal(&mut self, signal: i32) {
        if self.ended().is_none() {
            // SAFETY: a child of ours that was not reaped.
            unsafe { libc::kill(self.pid as i32, signal) };
        }
    }

    /// Waits until its first thread sleeps for a lock.
    pub fn until_asleep(&self) {
        until("the child sleeps for a lock", || asleep(self.pid));
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.code.is_none() && std::process::id() == self.parent {
            // SAFETY: as in `signal`; a status is not wanted.
            unsafe {
                libc::kill(self.pid as i32, libc::SIGKILL);
                libc::waitpid(self.pid as i32, std::ptr::null_mut(), 0);
            }
        }
    }
}

/// The state letter of a process or thread, as in `/proc/PID/stat`.
pub fn state(id: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    stat[stat.rfind(')')? + 1..].trim_start().chars().next()
}

/// Whether a thread sleeps in a futex. The first thread of a process has the number of the process.
pub fn asleep(id: u32) -> bool {
    let system_call = std::fs::read_to_string(format!("/proc/{id}/task/{id}/syscall")).unwrap_or_default();
    let number = system_call.split_ascii_whitespace().next().and_then(|number| number.parse::<i64>().ok());
    let in_futex = matches!(number, Some(number) if number == libc::SYS_futex || number == libc::SYS_futex_waitv);
    in_futex && state(id) == Some('S')
}

/// Returns the number of the calling thread.
pub fn tid() -> u32 {
    // SAFETY: no arguments.
    unsafe { libc::syscall(libc::SYS_gettid) as u32 }
}

/// Waits until `condition` holds, at most [`LIMIT`].
pub fn until(what: &str, condition: impl FnMut() -> bool) {
    until_within(LIMIT, what, condition);
}

pub fn until_within(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    let mut looks = 0_u32;
    while !condition() {
        assert!(start.elapsed() < limit, "waited {limit:?} in vain until {what}");
        looks += 1;
        if looks < 50 {
            std::thread::yield_now();
        } else {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

/// Runs a test under a time limit: after it, the test is named, and the whole program is aborted.
pub fn within<R>(seconds: u64, test: impl FnOnce() -> R) -> R {
    let name = std::thread::current().name().unwrap_or("?").to_owned();
    let (done, over) = channel::<()>();
    let watchdog = std::thread::spawn(move || {
        if over.recv_timeout(Duration::from_secs(seconds)) == Err(RecvTimeoutError::Timeout) {
            say(&format!("\ntest {name} took longer than {seconds} s: all tests of this program are aborted\n"));
            std::process::abort();
        }
    });
    let result = test();
    drop(done);
    let _ = watchdog.join();
    result
}

/// Runs a test in a process of its own, with one thread, and checks that it leaves no process behind.
pub fn alone(seconds: u64, test: impl FnOnce()) {
    let mut child = fork(|| {
        test();
        nothing_is_left();
    });
    assert_eq!(child.wait_for(Duration::from_secs(seconds)), 0);
}

/// Checks that this process has no child, and none of its names are in `/dev/shm`.
fn nothing_is_left() {
    // SAFETY: a status is not wanted.
    let left = unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) };
    assert_eq!(left, -1, "a child is left behind");
    assert_eq!(names_left(), Vec::<String>::new(), "names are left behind");
}

/// Returns a name that no other test has.
pub fn unique(name: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{}{}.{name}", prefix(), COUNT.fetch_add(1, SeqCst))
}

fn prefix() -> String {
    format!("test.{}.", std::process::id())
}

/// The file of a named object.
pub fn shm_path(name: &str) -> PathBuf {
    PathBuf::from(format!("/dev/shm/crossproc.{name}"))
}

/// Whether a named object has a file, be it a link to nowhere.
pub fn name_exists(name: &str) -> bool {
    shm_path(name).symlink_metadata().is_ok()
}

/// Returns the names of [`unique`] that this process has left in `/dev/shm`.
pub fn names_left() -> Vec<String> {
    let prefix = format!("crossproc.{}", prefix());
    let names = std::fs::read_dir("/dev/shm").into_iter().flatten().flatten();
    names
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with(&prefix))
        .collect()
}

/// A number in memory that a process shares with the children that it forks later, to count or to meet.
#[derive(Clone, Copy)]
pub struct Mark {
    number: &'static AtomicU64,
}

impl Mark {
    /// Returns a mark at 0. Its page is never unmapped.
    pub fn new() -> Self {
        // SAFETY: a fresh mapping, shared with children.
        let page = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                4096,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        assert_ne!(page, libc::MAP_FAILED);
        // SAFETY: a page of zeros, aligned, for ever.
        Mark { number: unsafe { &*page.cast::<AtomicU64>() } }
    }

    pub fn get(&self) -> u64 {
        self.number.load(SeqCst)
    }

    pub fn set(&self, number: u64) {
        self.number.store(number, SeqCst);
    }

    /// Adds one, and returns the number before.
    pub fn hit(&self) -> u64 {
        self.number.fetch_add(1, SeqCst)
    }

    /// Waits until the number is at least `number`. The wait is not one in a futex, so that [`asleep`] means a lock.
    pub fn reaches(&self, number: u64) {
        until(&format!("the mark is at {number}"), || self.get() >= number);
    }

    /// Adds one, and waits until all `parties` have.
    pub fn meet(&self, parties: u64) {
        self.hit();
        self.reaches(parties);
    }
}

impl Default for Mark {
    fn default() -> Self {
        Mark::new()
    }
}

/// Sleeps until this process is killed.
pub fn until_killed() -> ! {
    loop {
        std::thread::sleep(Duration::from_secs(60));
    }
}

/// A generator of the same pseudo-random numbers in each run.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 8
    }
}
