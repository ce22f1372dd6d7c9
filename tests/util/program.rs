//! Another program: this test binary started anew by exec, in the role of one of its tests.
//!
//! A role is a `#[test]` that begins with `let Some(argument) = role() else { return };`: run by the harness it does
//! nothing, run by [`program`] it plays its part.

use super::{LIMIT, until_within};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};

const ARGUMENT: &str = "CROSSPROC_TEST_ROLE";
const STREAM: i32 = 97;

/// A program that runs. Dropped, it is killed and reaped.
pub struct Program {
    child: std::process::Child,
}

/// Starts the test `name` of this binary as another program, with an argument, and a socket if it needs one.
pub fn program(name: &str, argument: &str, stream: Option<&UnixStream>) -> Program {
    let mut command = Command::new(std::env::current_exe().expect("the path of this program"));
    command.args([name, "--exact", "--nocapture", "--test-threads=1"]).env(ARGUMENT, argument);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let stream = stream.map(AsRawFd::as_raw_fd);
    // SAFETY: system calls only.
    unsafe {
        command.pre_exec(move || {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            match stream {
                Some(fd) if libc::dup2(fd, STREAM) == -1 => Err(std::io::Error::last_os_error()),
                _ => Ok(()),
            }
        });
    }
    Program { child: command.spawn().expect("the program starts") }
}

/// In a role: its argument. `None` when the harness runs the test as such.
pub fn role() -> Option<String> {
    std::env::var(ARGUMENT).ok()
}

/// In a role: the socket that came with it.
pub fn role_stream() -> UnixStream {
    // SAFETY: `program` put a socket there, and this is asked once.
    unsafe { UnixStream::from_raw_fd(STREAM) }
}

impl Program {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The exit code, or minus the signal.
    pub fn wait(&mut self) -> i32 {
        let mut status = None;
        until_within(LIMIT, "the program ends", || {
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
