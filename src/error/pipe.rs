//! The errors of pipes and channels.

use super::codec::CodecError;
use serde::{Deserialize, Serialize};
use thiserror::Error as ThisError;

/// An error returned from the `send` methods: the message was not sent.
///
/// ```
/// use crossproc::{Pipe, SendError};
/// let (sender, receiver) = Pipe::one_way()?;
/// drop(receiver);
/// assert_eq!(sender.send(&1), Err(SendError::BrokenPipe));
/// # Ok::<(), crossproc::Error>(())
/// ```
#[derive(ThisError, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum SendError {
    /// No receiver is left.
    #[error("broken pipe: no receiver is left")]
    BrokenPipe,
    /// The message cannot be encoded.
    #[error("cannot encode the message: {0}")]
    Encode(CodecError),
    /// There is no memory for the message.
    #[error("no space left for the message")]
    NoSpace,
    /// This thread holds a `Slot` of this pipe, which must be sent or dropped first.
    #[error("deadlock: this thread holds a slot of the pipe")]
    Deadlock,
    /// The pipe was overwritten with bytes that this library does not write.
    #[error("the pipe is corrupt")]
    Corrupt,
}

/// An error returned from the `try_send` methods: the message was not sent.
///
/// ```
/// let (sender, _receiver) = crossproc::channel(1)?;
/// sender.send(&1)?;
/// assert_eq!(sender.try_send(&2), Err(crossproc::TrySendError::Full));
/// # Ok::<(), crossproc::Error>(())
/// ```
#[derive(ThisError, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum TrySendError {
    /// The pipe has no room for the message now.
    #[error("the pipe is full")]
    Full,
    /// Waiting would fail, too.
    #[error(transparent)]
    Send(#[from] SendError),
}

/// An error returned from the `send_timeout` methods: the message was not sent.
///
/// ```
/// let (sender, _receiver) = crossproc::channel(1)?;
/// sender.send(&1)?;
/// assert!(sender.send_timeout(&2, std::time::Duration::from_millis(1)).unwrap_err().is_timeout());
/// # Ok::<(), crossproc::Error>(())
/// ```
#[derive(ThisError, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum SendTimeoutError {
    /// The pipe had no room for the message until the time ran out.
    #[error("timed out waiting for room in the pipe")]
    Timeout,
    /// Waiting would fail, too.
    #[error(transparent)]
    Send(#[from] SendError),
}

/// An error returned from the `recv` methods: no message was received.
///
/// ```
/// use crossproc::{Pipe, RecvError};
/// let (sender, receiver) = Pipe::one_way()?;
/// sender.send(&1)?;
/// drop(sender);
/// assert_eq!((receiver.recv(), receiver.recv()), (Ok(1), Err(RecvError::Eof)));
/// # Ok::<(), crossproc::Error>(())
/// ```
#[derive(ThisError, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum RecvError {
    /// No sender is left, and every message was received.
    #[error("end of file: no sender is left")]
    Eof,
    /// The message is shorter than its length field says. It stays in the pipe.
    #[error("the message is cut short")]
    Truncated,
    /// The message is not a value of this type, or the objects of its handles are gone. It is removed from the pipe.
    #[error("cannot decode the message: {0}")]
    Decode(CodecError),
    /// There is no memory to receive the message. It stays in the pipe.
    #[error("no space left for the message")]
    NoSpace,
    /// This thread holds a `Frame` of this pipe, which must be dropped first.
    #[error("deadlock: this thread holds a frame of the pipe")]
    Deadlock,
    /// The pipe was overwritten with bytes that this library does not write.
    #[error("the pipe is corrupt")]
    Corrupt,
}

/// An error returned from the `try_recv` methods: no message was received.
///
/// ```
/// let (_sender, receiver) = crossproc::Pipe::<u8>::one_way()?;
/// assert_eq!(receiver.try_recv(), Err(crossproc::TryRecvError::Empty));
/// # Ok::<(), crossproc::Error>(())
/// ```
#[derive(ThisError, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum TryRecvError {
    /// There is no message now.
    #[error("the pipe is empty")]
    Empty,
    /// Waiting would fail, too.
    #[error(transparent)]
    Recv(#[from] RecvError),
}

/// An error returned from the `recv_timeout` methods: no message was received.
///
/// ```
/// let (_sender, receiver) = crossproc::Pipe::<u8>::one_way()?;
/// assert!(receiver.recv_timeout(std::time::Duration::from_millis(1)).unwrap_err().is_timeout());
/// # Ok::<(), crossproc::Error>(())
/// ```
#[derive(ThisError, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum RecvTimeoutError {
    /// No message came until the time ran out.
    #[error("timed out waiting for a message")]
    Timeout,
    /// Waiting would fail, too.
    #[error(transparent)]
    Recv(#[from] RecvError),
}

/// An error returned from the `recv_bytes_into` methods: no message was received.
///
/// ```
/// use crossproc::{Pipe, RecvIntoError};
/// let (sender, receiver) = Pipe::<()>::one_way()?;
/// sender.send_bytes(b"hello")?;
/// assert_eq!(receiver.recv_bytes_into(&mut [0; 4]), Err(RecvIntoError::TooShort { needed: 5 }));
/// assert_eq!(receiver.recv_bytes()?, b"hello", "the message stayed");
/// # Ok::<(), crossproc::Error>(())
/// ```
#[derive(ThisError, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum RecvIntoError {
    /// The message does not fit into the buffer. It stays in the pipe.
    #[error("the buffer is too short: the message has {needed} bytes")]
    TooShort {
        /// The length of the message in bytes.
        needed: usize,
    },
    /// A longer buffer would fail, too.
    #[error(transparent)]
    Recv(#[from] RecvError),
}

impl SendTimeoutError {
    /// Returns whether the time ran out.
    ///
    /// ```
    /// assert!(crossproc::SendTimeoutError::Timeout.is_timeout());
    /// ```
    pub fn is_timeout(&self) -> bool {
        matches!(self, SendTimeoutError::Timeout)
    }
}

impl RecvTimeoutError {
    /// Returns whether the time ran out.
    ///
    /// ```
    /// assert!(crossproc::RecvTimeoutError::Timeout.is_timeout());
    /// ```
    pub fn is_timeout(&self) -> bool {
        matches!(self, RecvTimeoutError::Timeout)
    }
}
