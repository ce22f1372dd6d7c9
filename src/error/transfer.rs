//! The error of sending messages over sockets.

use super::{codec::CodecError, os::Os};
use serde::{Deserialize, Serialize};
use thiserror::Error as ThisError;

/// An error of sending or receiving a message over a socket, with the functions of [`transfer`](crate::transfer).
///
/// ```
/// assert_eq!(crossproc::TransferError::Eof.to_string(), "end of file: the peer closed the socket");
/// ```
#[derive(ThisError, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum TransferError {
    /// The message could not be encoded.
    #[error("cannot encode the message: {0}")]
    Encode(CodecError),
    /// The message could not be decoded, or a handle in it could not be attached.
    #[error("cannot decode the message: {0}")]
    Decode(CodecError),
    /// The peer closed its end.
    #[error("end of file: the peer closed the socket")]
    Eof,
    /// The peer runs as another user.
    #[error("the peer runs as another user")]
    WrongOwner,
    /// Any other error of the operating system.
    #[error("cannot send or receive over the socket: {0}")]
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
