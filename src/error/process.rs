//! The errors of processes: why one was not started, or has no result.

use super::{codec::CodecError, os::Os, segment::SegmentError};
use serde::{Deserialize, Serialize};
use thiserror::Error as ThisError;

/// The reason why a process was not started.
///
/// ```
/// let text = crossproc::SpawnError::DaemonChild.to_string();
/// assert_eq!(text, "daemonic processes are not allowed to have children");
/// ```
#[derive(ThisError, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum SpawnError {
    /// A daemon may be killed at any moment, when its parent ends, so it may not have children.
    #[error("daemonic processes are not allowed to have children")]
    DaemonChild,
    /// The program's constructor did not run: it was stripped, this crate is in a library that the program loads, or
    /// the feature `auto` is off and `main` does not begin with [`init`](crate::init).
    #[error("the constructor before main is not linked, and main did not call crossproc::init() first")]
    NotHooked,
    /// The program's file is another build than the running program.
    #[error("the program's file was replaced by another build since the program started")]
    ImageChanged,
    /// The function lies in a library, or the closure captures something of the size of a pointer.
    #[error("the function is not part of the program's own image, or it is a closure that captures")]
    NotAnEntry,
    /// The program runs with rights of its file (setuid, capabilities), so it does not execute itself anew.
    #[error("a program with setuid or file capabilities cannot start processes")]
    Privileged,
    /// The arguments could not be encoded.
    #[error("cannot encode the arguments: {0}")]
    Encode(CodecError),
    /// There is no memory for the arguments.
    #[error("no memory for the arguments: {0}")]
    Segment(#[from] SegmentError),
    /// Any other error of the operating system, as when it has no more processes or descriptors.
    #[error("cannot start a process: {0}")]
    Os(Os),
}

impl From<std::io::Error> for SpawnError {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::Unsupported => SpawnError::Segment(SegmentError::Unsupported),
            _ => SpawnError::Os(error.into()),
        }
    }
}

/// The reason why a process has no result.
///
/// ```
/// use crossproc::{JoinError, Process};
/// assert_eq!(Process::spawn(|| std::process::exit(3), ())?.join(), Err::<(), _>(JoinError::Exited(3)));
/// assert_eq!(JoinError::Signaled(9).to_string(), "the process was killed by signal 9 (SIGKILL)");
/// # Ok::<(), crossproc::Error>(())
/// ```
#[derive(ThisError, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum JoinError {
    /// The function panicked.
    #[error("the process panicked: {message}")]
    Panicked {
        /// The panic's message.
        message: String,
        /// The place of the panic, as `file:line:column`.
        location: Option<String>,
        /// The backtrace, if `RUST_BACKTRACE` is set.
        backtrace: Option<String>,
    },
    /// The process exited with this code, which may be 0, before the function returned; or it closed the descriptor
    /// over which it returns its result.
    #[error("the process exited with code {0}, without a result")]
    Exited(i32),
    /// A signal killed the process.
    #[error("the process was killed by {}", signal(*.0))]
    Signaled(i32),
    /// The arguments could not be decoded in the child, or the result could not be encoded there or decoded here.
    #[error("cannot decode the arguments or the result: {0}")]
    Decode(CodecError),
    /// The process has ended, but its exit status is lost: `SIGCHLD` is ignored, or other code of this process waits
    /// for any child.
    #[error("the exit status is lost: SIGCHLD is ignored, or other code waited for the process")]
    Lost,
    /// `join_timeout` has returned the result before.
    #[error("the result was taken already")]
    Taken,
    /// In a [`scope`](crate::scope): the process was never started.
    #[error("the process was not started: {0}")]
    Spawn(#[from] SpawnError),
    /// The child could not take over its caller's limits, standard streams or working directory.
    #[error("the child could not take over limits, streams or working directory: {0}")]
    Os(Os),
}

/// An error returned from [`scope`](crate::scope).
///
/// ```
/// use crossproc::{JoinError, ScopeError, scope};
/// let error = scope(|s| { s.spawn(|| std::process::exit(1), ()); }).unwrap_err();
/// assert!(matches!(error, ScopeError::Child { error: JoinError::Exited(1), .. }));
/// ```
#[derive(ThisError, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ScopeError {
    /// A process was not started.
    #[error("a process of the scope was not started: {0}")]
    Spawn(#[from] SpawnError),
    /// A process has no result.
    #[error("{name}: {error}")]
    Child {
        /// The name of the process.
        name: String,
        /// The reason why it has no result.
        error: JoinError,
    },
}

/// A signal's number, with its name if that is the same on every Unix.
fn signal(number: i32) -> String {
    let name = match number {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        _ => return format!("signal {number}"),
    };
    format!("signal {number} ({name})")
}

/// Describes an exit code, or minus the number of the signal that killed the process.
pub(super) fn describe_exit(exit_code: i32) -> String {
    if exit_code < 0 { signal(exit_code.saturating_neg()) } else { format!("exit code {exit_code}") }
}
