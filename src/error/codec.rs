//! The error of an encoder or decoder.

use serde::{Deserialize, Serialize};
use thiserror::Error as ThisError;

/// An error of an encoder or decoder, as its text.
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

impl CodecError {
    pub(crate) fn new(error: impl std::fmt::Display) -> Self {
        CodecError(error.to_string())
    }
}
