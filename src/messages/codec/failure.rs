//! Why a value was not sent or not received.

use crate::CodecError;
use crate::ring::RingError;

/// Why a value was not sent or not received.
pub(crate) enum SendFailure {
    Ring(RingError),
    Codec(CodecError),
}

impl From<RingError> for SendFailure {
    fn from(error: RingError) -> Self {
        SendFailure::Ring(error)
    }
}

impl From<CodecError> for SendFailure {
    fn from(error: CodecError) -> Self {
        SendFailure::Codec(error)
    }
}

impl From<postcard::Error> for CodecError {
    #[cold]
    fn from(error: postcard::Error) -> Self {
        CodecError::new(error)
    }
}
