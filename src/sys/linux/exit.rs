//! How a process ends.

use std::io::Write;

/// Makes `function` run when the program ends by `exit` or at the end of `main`.
pub(crate) fn at_exit(function: extern "C" fn()) {
    // SAFETY: a function of this program. A failure (no memory) leaves it out.
    unsafe { libc::atexit(function) };
}

/// Declares a function for [`at_exit`].
macro_rules! exit_function {
    ($name:ident, $body:expr) => {
        extern "C" fn $name() {
            $body
        }
    };
}
pub(crate) use exit_function;

/// Ends the process in order: exit functions run, buffers are written.
pub(crate) fn exit(code: i32) -> ! {
    std::process::exit(code)
}

/// Ends a fork child: buffers are written, but exit functions are its parent's.
pub(crate) fn exit_copy(code: i32) -> ! {
    flush();
    // SAFETY: ends the process.
    unsafe { libc::_exit(code) }
}

/// Ends a process in which no code of the program has run.
pub(crate) fn exit_at_once(code: i32) -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(code) }
}

/// Writes the contents of std's buffers, which a fork would duplicate.
pub(crate) fn flush() {
    let _ = std::io::stdout().flush();
    let _ = std::io::stderr().flush();
}

/// Kills this process.
pub(super) fn kill_self() {
    // SAFETY: no pointers.
    unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
}
