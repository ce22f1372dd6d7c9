//! Failures of a ring of messages, as errors of the methods of an end.

use crate::messages::codec::SendFailure;
use crate::ring::RingError;
use crate::{RecvError, RecvIntoError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError};

/// Why a message was not sent.
pub(super) enum Unsent {
    /// There was no room, at once or in time.
    Full,
    Error(SendError),
}

/// Why no message was received.
pub(super) enum Unreceived {
    /// There was no message, at once or in time.
    Empty,
    /// The message has this many bytes, more than the buffer.
    TooShort(usize),
    Error(RecvError),
}

impl From<SendError> for Unsent {
    fn from(error: SendError) -> Self {
        Unsent::Error(error)
    }
}

impl From<RingError> for Unsent {
    fn from(error: RingError) -> Self {
        Unsent::Error(match error {
            RingError::NotNow | RingError::Timeout => return Unsent::Full,
            RingError::Alone | RingError::Closed => SendError::BrokenPipe,
            RingError::NoSpace => SendError::NoSpace,
            RingError::Deadlock => SendError::Deadlock,
            _ => SendError::Corrupt,
        })
    }
}

impl From<SendFailure> for Unsent {
    fn from(failure: SendFailure) -> Self {
        match failure {
            SendFailure::Ring(error) => error.into(),
            SendFailure::Codec(error) => Unsent::Error(SendError::Encode(error)),
        }
    }
}

/// For a send without a time limit, which never ends as `Full`.
impl From<Unsent> for SendError {
    fn from(unsent: Unsent) -> Self {
        match unsent {
            Unsent::Error(error) => error,
            Unsent::Full => SendError::Corrupt,
        }
    }
}

impl From<Unsent> for TrySendError {
    fn from(unsent: Unsent) -> Self {
        match unsent {
            Unsent::Full => TrySendError::Full,
            Unsent::Error(error) => error.into(),
        }
    }
}

impl From<Unsent> for SendTimeoutError {
    fn from(unsent: Unsent) -> Self {
        match unsent {
            Unsent::Full => SendTimeoutError::Timeout,
            Unsent::Error(error) => error.into(),
        }
    }
}

impl From<RecvError> for Unreceived {
    fn from(error: RecvError) -> Self {
        Unreceived::Error(error)
    }
}

impl From<RingError> for Unreceived {
    fn from(error: RingError) -> Self {
        Unreceived::Error(match error {
            RingError::NotNow | RingError::Timeout => return Unreceived::Empty,
            RingError::TooShort(needed) => return Unreceived::TooShort(needed),
            RingError::Alone | RingError::Closed => RecvError::Eof,
            RingError::NoSpace => RecvError::NoSpace,
            RingError::Deadlock => RecvError::Deadlock,
            RingError::Truncated => RecvError::Truncated,
            RingError::Corrupt => RecvError::Corrupt,
        })
    }
}

impl From<SendFailure> for Unreceived {
    fn from(failure: SendFailure) -> Self {
        match failure {
            SendFailure::Ring(error) => error.into(),
            SendFailure::Codec(error) => Unreceived::Error(RecvError::Decode(error)),
        }
    }
}

/// For a receive without limits of time and length, which never ends as `Empty` or `TooShort`.
impl From<Unreceived> for RecvError {
    fn from(unreceived: Unreceived) -> Self {
        match unreceived {
            Unreceived::Error(error) => error,
            Unreceived::Empty | Unreceived::TooShort(_) => RecvError::Corrupt,
        }
    }
}

impl From<Unreceived> for TryRecvError {
    fn from(unreceived: Unreceived) -> Self {
        match unreceived {
            Unreceived::Empty => TryRecvError::Empty,
            other => RecvError::from(other).into(),
        }
    }
}

impl From<Unreceived> for RecvTimeoutError {
    fn from(unreceived: Unreceived) -> Self {
        match unreceived {
            Unreceived::Empty => RecvTimeoutError::Timeout,
            other => RecvError::from(other).into(),
        }
    }
}

impl From<Unreceived> for RecvIntoError {
    fn from(unreceived: Unreceived) -> Self {
        match unreceived {
            Unreceived::TooShort(needed) => RecvIntoError::TooShort { needed },
            other => RecvError::from(other).into(),
        }
    }
}
