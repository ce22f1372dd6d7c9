//! What can go wrong with a pipe or a channel.

use super::CodecError;
use serde::{Deserialize, Serialize};
use thiserror::Error as ThisError;

/// Why a message was not sent.
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
    /// Nobody is left who could receive it.
    #[error("broken pipe")]
    BrokenPipe,
    /// The message cannot be encoded: why.
    #[error("encode: {0}")]
    Encode(CodecError),
    /// There is no memory for it.
    #[error("no space left for shared memory")]
    NoSpace,
    /// This thread itself has the `Slot` that is in the way.
    #[error("this thread writes in place already")]
    Deadlock,
    /// What stands in the pipe's memory is nothing that this library writes.
    #[error("the pipe is corrupt")]
    Corrupt,
}

/// Why `try_send` did not send a message.
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
    /// It has no room now.
    #[error("full")]
    Full,
    /// It would not be sent with more time either.
    #[error(transparent)]
    Send(#[from] SendError),
}

/// Why `send_timeout` did not send a message.
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
    /// It had no room all the time.
    #[error("timed out")]
    Timeout,
    /// It would not be sent with more time either.
    #[error(transparent)]
    Send(#[from] SendError),
}

/// Why no message was received.
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
    /// Nobody is left who could send one, and all that was sent was received.
    #[error("end of file")]
    Eof,
    /// The message is shorter than it says; it stays.
    #[error("the message is cut short")]
    Truncated,
    /// The message is no value of this type, or its handles lead nowhere; it is gone.
    #[error("decode: {0}")]
    Decode(CodecError),
    /// There is no memory to receive the message with; it stays.
    #[error("no space left for the message")]
    NoSpace,
    /// This thread itself has the `Frame` that is in the way.
    #[error("this thread reads in place already")]
    Deadlock,
    /// What stands in the pipe's memory is nothing that this library writes.
    #[error("the pipe is corrupt")]
    Corrupt,
}

/// Why `try_recv` received no message.
///
/// ```
/// let (_sender, receiver) = crossproc::Pipe::<u8>::one_way()?;
/// assert_eq!(receiver.try_recv(), Err(crossproc::TryRecvError::Empty));
/// # Ok::<(), crossproc::Error>(())
/// ```
#[derive(ThisError, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum TryRecvError {
    /// There is none now.
    #[error("empty")]
    Empty,
    /// None would come with more time either.
    #[error(transparent)]
    Recv(#[from] RecvError),
}

/// Why `recv_timeout` received no message.
///
/// ```
/// let (_sender, receiver) = crossproc::Pipe::<u8>::one_way()?;
/// assert!(receiver.recv_timeout(std::time::Duration::from_millis(1)).unwrap_err().is_timeout());
/// # Ok::<(), crossproc::Error>(())
/// ```
#[derive(ThisError, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum RecvTimeoutError {
    /// There was none all the time.
    #[error("timed out")]
    Timeout,
    /// None would come with more time either.
    #[error(transparent)]
    Recv(#[from] RecvError),
}

/// Why `recv_bytes_into` received no message.
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
    /// The message does not fit; it stays.
    #[error("{needed} bytes are needed")]
    TooShort {
        /// How many bytes it has.
        needed: usize,
    },
    /// None would come into a longer buffer either.
    #[error(transparent)]
    Recv(#[from] RecvError),
}

macro_rules! timeouts {
    ($($error:ident)*) => { $(
        impl $error {
            /// Whether the time ran out.
            ///
            /// ```
            #[doc = concat!("assert!(crossproc::", stringify!($error), "::Timeout.is_timeout());")]
            /// ```
            pub fn is_timeout(&self) -> bool {
                matches!(self, $error::Timeout)
            }
        }
    )* };
}
timeouts! { SendTimeoutError RecvTimeoutError }
