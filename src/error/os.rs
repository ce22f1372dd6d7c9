//! The error number of a system call.

use serde::{Deserialize, Serialize};
use thiserror::Error as ThisError;

/// The error number of a system call, as in `errno`. Its text is the system's; an error that holds it adds what failed.
///
/// ```
/// use crossproc::{Os, SpawnError};
/// assert_eq!(Os(2).to_string(), std::io::Error::from_raw_os_error(2).to_string());
/// assert_eq!(SpawnError::Os(Os(2)).to_string(), format!("cannot start a process: {}", Os(2)));
/// ```
#[derive(ThisError, Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[error("{}", std::io::Error::from_raw_os_error(*.0))]
pub struct Os(pub i32);

impl Os {
    /// E2BIG, which is 7 on every Unix.
    pub(crate) const TOO_LONG: Self = Os(7);
}

impl From<std::io::Error> for Os {
    fn from(error: std::io::Error) -> Self {
        // 5 is EIO on every Unix. An error without a number does not come from a system call.
        Os(error.raw_os_error().unwrap_or(5))
    }
}

impl From<Os> for std::io::Error {
    fn from(Os(number): Os) -> Self {
        std::io::Error::from_raw_os_error(number)
    }
}
