//! What can go wrong: one small enum per verb.
//!
//! Every error is `Clone + PartialEq + Serialize + Deserialize`, so that a child process can hand back what `?` gave
//! it; an error of the system travels as its number.

mod pipe;
mod pool;
mod queue;
mod sync;

pub use pipe::{RecvError, RecvIntoError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError};
pub use pool::{NotReady, PoolError, TaskError};
pub use queue::{GetError, GetTimeoutError, PutError, PutTimeoutError, TaskDoneError, TryGetError, TryPutError};
pub use sync::{AcquireError, AcquireTimeoutError, BarrierError, ReleaseError, TryAcquireError};

use serde::{Deserialize, Serialize};
use thiserror::Error as ThisError;

/// A system call's error number, as in `errno`.
///
/// ```
/// assert_eq!(crossproc::Os(2).to_string(), std::io::Error::from_raw_os_error(2).to_string());
/// ```
#[derive(ThisError, Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[error("{}", std::io::Error::from_raw_os_error(*.0))]
pub struct Os(pub i32);

impl Os {
    /// E2BIG, on every system that has it.
    pub(crate) const TOO_LONG: Self = Os(7);
}

impl From<std::io::Error> for Os {
    fn from(error: std::io::Error) -> Self {
        // 5 is EIO everywhere: an error without a number never came from a system call.
        Os(error.raw_os_error().unwrap_or(5))
    }
}

impl From<Os> for std::io::Error {
    fn from(Os(number): Os) -> Self {
        std::io::Error::from_raw_os_error(number)
    }
}

/// Why a shared object could not be made, opened or attached.
///
/// ```
/// use crossproc::{SegmentError, Value};
/// assert_eq!(Value::<u8>::named("a/b").open().unwrap_err(), SegmentError::InvalidName);
/// ```
#[derive(ThisError, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum SegmentError {
    /// `create`: the name is taken.
    #[error("the name exists already")]
    AlreadyExists,
    /// `open`, `remove`: nothing has this name.
    #[error("no such name")]
    NotFound,
    /// A name has 1 to 200 bytes without NUL and slash, and is neither `.` nor `..`.
    #[error("not a valid name")]
    InvalidName,
    /// An argument that makes no sense here; the text says which.
    #[error("{0}")]
    Invalid(String),
    /// The object belongs to another user, or other users may write it and it would be used in place.
    #[error("owned or writable by another user")]
    WrongOwner,
    /// The object holds another kind or type of data.
    #[error("another type of data")]
    WrongType,
    /// The object's items have another size or alignment.
    #[error("another size")]
    WrongSize,
    /// Made by another version, word size, byte order or layout of this library.
    #[error("another version or layout")]
    WrongVersion,
    /// Made in another PID namespace, where process numbers mean something else.
    #[error("made in another PID namespace")]
    WrongNamespace,
    /// What the name leads to is no segment of this library, or is damaged.
    #[error("not a segment")]
    NotASegment,
    /// A length that no memory could hold.
    #[error("too large")]
    TooLarge,
    /// The memory, the memory cgroup, or `/dev/shm` has not that much left.
    #[error("no space left for shared memory")]
    NoSpace,
    /// The handle came from elsewhere, and nobody alive holds its memory.
    #[error("the object is gone")]
    Gone,
    /// Not on this operating system.
    #[error("unsupported on this system")]
    Unsupported,
    /// Anything else that the system said.
    #[error("{0}")]
    Os(Os),
}

impl From<std::io::Error> for SegmentError {
    fn from(error: std::io::Error) -> Self {
        use std::io::ErrorKind as Kind;
        match error.kind() {
            Kind::OutOfMemory | Kind::StorageFull | Kind::QuotaExceeded => SegmentError::NoSpace,
            Kind::FileTooLarge => SegmentError::TooLarge,
            Kind::Unsupported => SegmentError::Unsupported,
            _ => SegmentError::Os(error.into()),
        }
    }
}

/// Why a lock was not taken.
///
/// ```
/// let value = crossproc::Value::new(1)?;
/// let guard = value.lock()?;
/// assert_eq!(value.lock().unwrap_err(), crossproc::LockError::Deadlock);
/// # drop(guard);
/// # Ok::<(), crossproc::Error>(())
/// ```
#[derive(ThisError, Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum LockError {
    /// This thread holds the lock already.
    #[error("this thread holds the lock already")]
    Deadlock,
    /// The lock word, or the value under it, is none that this library writes.
    #[error("the lock or the value under it is corrupt")]
    Corrupt,
    /// This thread holds about 2,000 locks already, as many as the kernel would free at its death.
    #[error("too many locks are held by this thread")]
    TooMany,
    /// Process `pid` died while it held the lock, and what the lock protects may be half-written: `lock_or_repair`.
    #[error("process {pid} died holding the lock")]
    OwnerDied {
        /// The process that died.
        pid: u32,
    },
}

/// Why `try_lock` did not take a lock.
///
/// ```
/// use crossproc::{LockError, TryLockError};
/// assert_eq!(TryLockError::from(LockError::TooMany).to_string(), LockError::TooMany.to_string());
/// # Ok::<(), crossproc::Error>(())
/// ```
#[derive(ThisError, Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum TryLockError {
    /// Another thread or process holds it.
    #[error("locked by another")]
    WouldBlock,
    /// What any way of locking may say.
    #[error(transparent)]
    Lock(#[from] LockError),
}

/// Why `lock_timeout` did not take a lock.
///
/// ```
/// assert_eq!(crossproc::LockTimeoutError::Timeout.to_string(), "timed out");
/// # Ok::<(), crossproc::Error>(())
/// ```
#[derive(ThisError, Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum LockTimeoutError {
    /// The time ran out.
    #[error("timed out")]
    Timeout,
    /// What any way of locking may say.
    #[error(transparent)]
    Lock(#[from] LockError),
}

impl LockTimeoutError {
    /// Whether the time ran out.
    ///
    /// ```
    /// assert!(crossproc::LockTimeoutError::Timeout.is_timeout());
    /// ```
    pub fn is_timeout(&self) -> bool {
        matches!(self, LockTimeoutError::Timeout)
    }
}

/// What calls on an [`Array`](crate::Array) may say.
///
/// ```
/// use crossproc::{Array, ArrayError};
/// assert_eq!(Array::<u8>::zeroed(2)?.get(2), Err(ArrayError::OutOfBounds { index: 2, len: 2 }));
/// # Ok::<(), crossproc::Error>(())
/// ```
#[derive(ThisError, Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ArrayError {
    /// There is no such item.
    #[error("index {index} out of {len}")]
    OutOfBounds {
        /// The index that was asked for.
        index: usize,
        /// How many items there are.
        len: usize,
    },
    /// A slice of another length.
    #[error("{got} items for {len}")]
    LengthMismatch {
        /// The length of the slice.
        got: usize,
        /// How many items there are.
        len: usize,
    },
    /// Parts of another number are alive.
    #[error("divided into another number of parts")]
    Partitioned,
    /// What the lock said.
    #[error(transparent)]
    Lock(#[from] LockError),
}

/// What an encoder or decoder had to say.
///
/// ```
/// let (here, there) = std::os::unix::net::UnixStream::pair()?;
/// crossproc::transfer::send(&here, &1u8)?;
/// let error = crossproc::transfer::recv::<(u8, u64)>(&there).unwrap_err();
/// assert!(matches!(error, crossproc::TransferError::Decode(crossproc::CodecError { .. })));
/// # Ok::<(), crossproc::Error>(())
/// ```
#[derive(ThisError, Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[error("{0}")]
pub struct CodecError(pub(crate) String);

/// Why a message did not pass over a socket: see [`travel`](crate::travel).
///
/// ```
/// assert_eq!(crossproc::TransferError::Eof.to_string(), "end of file");
/// # Ok::<(), crossproc::Error>(())
/// ```
#[derive(ThisError, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum TransferError {
    /// The message could not be encoded.
    #[error("encode: {0}")]
    Encode(CodecError),
    /// The message could not be decoded, or a handle in it could not be attached.
    #[error("decode: {0}")]
    Decode(CodecError),
    /// The peer closed its end.
    #[error("end of file")]
    Eof,
    /// The peer runs as another user.
    #[error("the peer is another user")]
    WrongOwner,
    /// Anything else that the system said.
    #[error("{0}")]
    Os(Os),
}

impl From<std::io::Error> for TransferError {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::UnexpectedEof => TransferError::Eof,
            _ => TransferError::Os(error.into()),
        }
    }
}

/// Why a process was not started.
///
/// ```
/// let text = crossproc::SpawnError::DaemonChild.to_string();
/// assert_eq!(text, "daemonic processes are not allowed to have children");
/// ```
#[derive(ThisError, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum SpawnError {
    /// A daemon dies with its parent at any moment, so it may not have children.
    #[error("daemonic processes are not allowed to have children")]
    DaemonChild,
    /// The program's constructor did not run: it was stripped, this crate is in a library that the program loads, or the
    /// feature `auto` is off and `main` does not begin with [`init`](crate::init).
    #[error("the hook before main is not linked, and init() was not called")]
    NotHooked,
    /// The program, executed anew, is another build than the one that runs.
    #[error("the program's file has changed")]
    ImageChanged,
    /// The function lies in a library, or the closure captures something of the size of a pointer.
    #[error("the function is not in the program's own image, or captures")]
    NotAnEntry,
    /// The program has the rights of its file (setuid, capabilities) and does not execute itself anew.
    #[error("a program with the rights of its file cannot start processes")]
    Privileged,
    /// The arguments could not be encoded.
    #[error("encode: {0}")]
    Encode(CodecError),
    /// No memory for the arguments.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// Anything else that the system said: no more processes, no more descriptors.
    #[error("{0}")]
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

/// Why a process has no result.
///
/// ```
/// use crossproc::{JoinError, Process};
/// assert_eq!(Process::spawn(|| std::process::exit(3), ())?.join(), Err::<(), _>(JoinError::Exited(3)));
/// # Ok::<(), crossproc::Error>(())
/// ```
#[derive(ThisError, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum JoinError {
    /// The function panicked.
    #[error("panicked: {message}")]
    Panicked {
        /// What it said.
        message: String,
        /// `file:line:column`.
        location: Option<String>,
        /// Where it came from, if `RUST_BACKTRACE` asked for it.
        backtrace: Option<String>,
    },
    /// The process ended itself with this code, which may be 0; or it closed the way back, so that its result is lost.
    #[error("exited with {0}")]
    Exited(i32),
    /// The process was killed by this signal.
    #[error("killed by signal {0}")]
    Signaled(i32),
    /// The arguments could not be decoded in the child, or the result not encoded there or decoded here.
    #[error("decode: {0}")]
    Decode(CodecError),
    /// The process has ended, and somebody else was told how: `SIGCHLD` is ignored, or other code waits for any child.
    #[error("its end was told to somebody else")]
    Lost,
    /// `join_timeout` has given the result out already.
    #[error("its result was taken already")]
    Taken,
    /// In a [`scope`](crate::scope): it was never started.
    #[error("not started: {0}")]
    Spawn(#[from] SpawnError),
    /// The child could not take over what it should have from its caller: limits, streams, folder.
    #[error("{0}")]
    Os(Os),
}

/// What went wrong in a [`scope`](crate::scope).
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
    #[error("not started: {0}")]
    Spawn(#[from] SpawnError),
    /// A process has no result.
    #[error("{name}: {error}")]
    Child {
        /// Its name.
        name: String,
        /// What happened to it.
        error: JoinError,
    },
}

macro_rules! any_error {
    ($($variant:ident($error:ty)),* $(,)?) => {
        /// Any failure of this crate, or of the program that uses it: what a `main` or an entry returns.
        ///
        /// ```
        /// fn main() -> crossproc::Result<()> {
        ///     let value = crossproc::Value::new(1)?;               // a SegmentError
        ///     *value.lock()? += "41".parse::<i32>().map_err(crossproc::Error::other)?;
        ///     assert_eq!(value.get(), 42);
        ///     Ok(())
        /// }
        /// ```
        #[derive(ThisError, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum Error {
            $(
                #[doc = concat!("A [`", stringify!($error), "`].")]
                #[error(transparent)]
                $variant(#[from] $error),
            )*
            /// Why an item was not put, without it.
            #[error(transparent)]
            Put(PutError<()>),
            /// Why an item was not put at once, without it.
            #[error(transparent)]
            TryPut(TryPutError<()>),
            /// Why an item was not put in time, without it.
            #[error(transparent)]
            PutTimeout(PutTimeoutError<()>),
            /// A system call's error.
            #[error(transparent)]
            Os(#[from] Os),
            /// An error of the program's own, as its text.
            #[error("{0}")]
            Other(String),
        }
    };
}
any_error! {
    Segment(SegmentError), Lock(LockError), TryLock(TryLockError), LockTimeout(LockTimeoutError), Array(ArrayError),
    Codec(CodecError), Travel(TransferError), Spawn(SpawnError), Join(JoinError), Scope(ScopeError),
    Get(GetError), TryGet(TryGetError), GetTimeout(GetTimeoutError), TaskDone(TaskDoneError),
    Send(SendError), TrySend(TrySendError), SendTimeout(SendTimeoutError),
    Recv(RecvError), TryRecv(TryRecvError), RecvTimeout(RecvTimeoutError), RecvInto(RecvIntoError),
    Acquire(AcquireError), TryAcquire(TryAcquireError), AcquireTimeout(AcquireTimeoutError), Release(ReleaseError), Barrier(BarrierError),
    Task(TaskError), Pool(PoolError), NotReady(NotReady),
}

impl Error {
    /// An error of another kind, kept as its text.
    ///
    /// ```
    /// assert_eq!(crossproc::Error::other("no money").to_string(), "no money");
    /// ```
    pub fn other(error: impl std::fmt::Display) -> Self {
        Error::Other(error.to_string())
    }

    /// Whether a time ran out.
    ///
    /// ```
    /// assert!(crossproc::Error::from(crossproc::LockTimeoutError::Timeout).is_timeout());
    /// ```
    pub fn is_timeout(&self) -> bool {
        matches!(
            self,
            Error::LockTimeout(LockTimeoutError::Timeout)
                | Error::GetTimeout(GetTimeoutError::Timeout)
                | Error::PutTimeout(PutTimeoutError::Timeout(()))
                | Error::SendTimeout(SendTimeoutError::Timeout)
                | Error::RecvTimeout(RecvTimeoutError::Timeout)
                | Error::AcquireTimeout(AcquireTimeoutError::Timeout)
                | Error::Barrier(BarrierError::Timeout)
                | Error::Task(TaskError::Timeout)
        )
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        match error.raw_os_error() {
            Some(number) => Error::Os(Os(number)),
            None => Error::other(error),
        }
    }
}
impl From<String> for Error {
    fn from(text: String) -> Self {
        Error::Other(text)
    }
}
impl From<&str> for Error {
    fn from(text: &str) -> Self {
        Error::other(text)
    }
}
impl From<Box<dyn std::error::Error>> for Error {
    fn from(error: Box<dyn std::error::Error>) -> Self {
        Error::other(error)
    }
}
impl From<Box<dyn std::error::Error + Send + Sync>> for Error {
    fn from(error: Box<dyn std::error::Error + Send + Sync>) -> Self {
        Error::other(error)
    }
}

/// `Result` with [`Error`], unless another error is named.
pub type Result<T, E = Error> = std::result::Result<T, E>;
