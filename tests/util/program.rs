//! Other programs: this test binary once more, by exec, in the role of one of its tests.
//!
//! A role is a `#[test]` that begins with `let Some(argument) = role() else { return };`: run by the harness it does
//! nothing, run by [`program`] it does its part.

use super::{LIMIT, NOT_RUN, could_not_run, nothing_is_left, unique, until, until_within, within};
use std::io::Read;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::sync::Once;
use std::time::Duration;

const ARGUMENT: &str = "CROSSPROC_TEST_ROLE";
const STREAM: i32 = 97;
const HAS_STREAM: &str = "CROSSPROC_TEST_STREAM";
const PARENT: &str = "CROSSPROC_TEST_PARENT";
/// The mark of the processes of one program, in their environment.
const RUN: &str = "CROSSPROC_TEST_RUN";

/// A running program. A drop kills and reaps it.
pub struct Program {
    child: std::process::Child,
}

/// Starts a role of this binary as another program, with an argument, and a socket if it needs one.
pub fn program<R: Fn()>(role: R, argument: &str, stream: Option<&UnixStream>) -> Program {
    let stream = stream.map(|stream| stream.try_clone().expect("a descriptor").into());
    start(test_name(&role), argument, stream, "")
}

/// Returns the name of a test in the harness: its path without the crate.
pub fn test_name<R: Fn()>(_: &R) -> &'static str {
    std::any::type_name::<R>().split_once("::").expect("a function of this crate").1
}

/// Runs a role as a program, which must end with 0 within `seconds`, or with [`NOT_RUN`] if it cannot get what it
/// needs.
pub fn in_a_program<R: Fn()>(seconds: u64, role: R) {
    let name = test_name(&role);
    within(seconds + 5, || match program(role, "", None).wait_for(Duration::from_secs(seconds)) {
        NOT_RUN => could_not_run(name, "the system refuses it to this user"),
        code => assert_eq!(code, 0, "exit code of {name}"),
    });
}

/// The new program starts by `posix_spawn`: a fork would make it a holder of all that this process holds, for as long
/// as it runs, since a holder is known by its process number and its time of birth, which an exec does not change.
fn start(name: &str, argument: &str, stream: Option<OwnedFd>, run: &str) -> Program {
    let mut command = Command::new(std::env::current_exe().expect("the path of this program"));
    command.args([name, "--exact", "--nocapture", "--test-threads=1"]);
    command.env(ARGUMENT, argument).env(RUN, run).env(PARENT, std::process::id().to_string());
    command.stdout(Stdio::null());
    match stream {
        Some(stream) => command.stdin(stream).env(HAS_STREAM, "yes"),
        None => command.stdin(Stdio::null()).env_remove(HAS_STREAM),
    };
    Program { child: command.spawn().expect("the program starts") }
}

/// Returns the argument of a role, or `None` if the harness runs the test.
pub fn role() -> Option<String> {
    static BEGIN: Once = Once::new();
    let argument = std::env::var(ARGUMENT).ok()?;
    BEGIN.call_once(begin);
    Some(argument)
}

/// The program ends with the thread that started it, and its stream moves out of the place of the standard input.
fn begin() {
    // SAFETY: no pointers.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    let parent = std::os::unix::process::parent_id().to_string();
    if std::env::var(PARENT).is_ok_and(|name| name != parent) {
        std::process::exit(1);
    }
    if std::env::var_os(HAS_STREAM).is_some() {
        // SAFETY: numbers and a constant text; the stream is owned by whoever calls `role_stream`.
        let moved = unsafe {
            let moved = libc::dup3(0, STREAM, libc::O_CLOEXEC) == STREAM && libc::close(0) == 0;
            moved && libc::open(c"/dev/null".as_ptr(), libc::O_RDONLY) == 0 // the first number that is free
        };
        assert!(moved, "the stream: {}", std::io::Error::last_os_error());
    }
}

/// Returns the socket that [`program`] gave the role.
pub fn role_stream() -> UnixStream {
    // SAFETY: `program` put a socket there, and this is asked once.
    unsafe { UnixStream::from_raw_fd(STREAM) }
}

/// Runs the calling test as another program, so that its descriptors, children and holders are its own and its forks
/// inherit nothing of other tests. The program must leave no process and no name.
pub fn by_itself(seconds: u64, test: impl FnOnce()) {
    if role().is_some() {
        test();
        crossproc::testing::close_fork_server();
        nothing_is_left();
        return;
    }
    let thread = std::thread::current();
    let name = thread.name().expect("the test's name");
    within(seconds + 5, || {
        let mut program = start(name, "by itself", None, "");
        assert_eq!(program.wait_for(Duration::from_secs(seconds)), 0, "exit code of {name} by itself");
    });
}

/// Runs the calling test as another program, in which only `body` is called, and returns the lines that this program
/// and its children print. The program must leave no process and no name.
///
/// A test with several variants calls this for each of them before it checks the first.
pub fn prints(variant: &str, body: impl FnOnce() -> crossproc::Result<()>) -> Vec<String> {
    match role() {
        Some(role) if role == variant => {
            print_to(role_stream().into());
            body().expect("the program");
            std::process::exit(0) // as at the end of `main`; the harness says no more
        }
        Some(_) => return Vec::new(),
        None => {}
    }
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    let (run, names) = (unique("run"), names());
    let thread = std::thread::current();
    let program = start(thread.name().expect("the test's name"), variant, Some(writer.into()), &run);
    let mut text = String::new();
    reader.read_to_string(&mut text).expect("its text"); // its end: no process has the other end any more
    program.join();
    for pid in processes_of(&run) {
        until("a process of the program ends", || !has_mark(pid, &run)); // a look at all processes costs more
    }
    until("no process of the program is left", || processes_of(&run).is_empty());
    // Names by other tests are not the program's.
    let foreign = |name: &String| names.contains(name) || name.starts_with("crossproc.test.");
    until("no name is left", || self::names().iter().all(foreign));
    text.lines().map(str::to_owned).collect()
}

/// Makes a stream the standard output.
fn print_to(stream: OwnedFd) {
    // SAFETY: no pointers; the harness has flushed what it said.
    let answer = unsafe { libc::dup2(stream.as_raw_fd(), 1) };
    assert_eq!(answer, 1, "dup2: {}", std::io::Error::last_os_error());
}

/// Whether a process or its parent was started with this mark.
fn has_mark(pid: u32, run: &str) -> bool {
    let mark = format!("{RUN}={run}");
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.split(|byte| *byte == 0).any(|entry| entry == mark.as_bytes())
}

fn processes_of(run: &str) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| has_mark(*pid, run)).collect()
}

/// Returns the names in `/dev/shm` that belong to this crate.
fn names() -> Vec<String> {
    let entries = std::fs::read_dir("/dev/shm").into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("crossproc.")).collect()
}

impl Program {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the end, at most [`LIMIT`]. Returns the exit code, or minus the signal.
    pub fn wait(&mut self) -> i32 {
        self.wait_for(LIMIT)
    }

    pub fn wait_for(&mut self, limit: Duration) -> i32 {
        let mut status = None;
        until_within(limit, "the program ends", || {
            status = self.child.try_wait().expect("wait");
            status.is_some()
        });
        let status = status.expect("it ended");
        status.code().unwrap_or_else(|| -status.signal().unwrap_or(0))
    }

    pub fn join(mut self) {
        assert_eq!(self.wait(), 0, "exit code of program {}", self.pid());
    }

    pub fn kill(&mut self) -> i32 {
        let _ = self.child.kill();
        self.wait()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
