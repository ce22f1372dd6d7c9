//! Failures of a ring of messages, as errors of the methods of a queue.

use crate::messages::codec::SendFailure;
use crate::ring::RingError;
use crate::{GetError, GetTimeoutError, PutError, PutTimeoutError, TryGetError, TryPutError};

impl<T> PutError<T> {
    pub(super) fn of(item: T, failure: SendFailure) -> Self {
        match failure {
            SendFailure::Codec(error) => PutError::Encode(item, error),
            SendFailure::RingError(RingError::Closed) => PutError::Closed(item),
            SendFailure::RingError(RingError::NoSpace) => PutError::NoSpace(item),
            SendFailure::RingError(_) => PutError::Corrupt(item),
        }
    }
}

impl<T> TryPutError<T> {
    pub(super) fn of(item: T, failure: SendFailure) -> Self {
        match failure {
            SendFailure::Codec(error) => TryPutError::Encode(item, error),
            SendFailure::RingError(RingError::Closed) => TryPutError::Closed(item),
            SendFailure::RingError(RingError::NoSpace) => TryPutError::NoSpace(item),
            SendFailure::RingError(RingError::NotNow | RingError::Timeout) => TryPutError::Full(item),
            SendFailure::RingError(_) => TryPutError::Corrupt(item),
        }
    }
}

impl<T> PutTimeoutError<T> {
    pub(super) fn of(item: T, failure: SendFailure) -> Self {
        match failure {
            SendFailure::Codec(error) => PutTimeoutError::Encode(item, error),
            SendFailure::RingError(RingError::Closed) => PutTimeoutError::Closed(item),
            SendFailure::RingError(RingError::NoSpace) => PutTimeoutError::NoSpace(item),
            SendFailure::RingError(RingError::NotNow | RingError::Timeout) => PutTimeoutError::Timeout(item),
            SendFailure::RingError(_) => PutTimeoutError::Corrupt(item),
        }
    }
}

impl From<SendFailure> for GetError {
    fn from(failure: SendFailure) -> Self {
        match failure {
            SendFailure::Codec(error) => GetError::Decode(error),
            SendFailure::RingError(RingError::Closed) => GetError::Closed,
            SendFailure::RingError(RingError::Alone) => GetError::Disconnected,
            SendFailure::RingError(RingError::NoSpace) => GetError::NoSpace,
            SendFailure::RingError(_) => GetError::Corrupt,
        }
    }
}

impl From<SendFailure> for TryGetError {
    fn from(failure: SendFailure) -> Self {
        match failure {
            SendFailure::RingError(RingError::NotNow | RingError::Timeout) => TryGetError::Empty,
            SendFailure::Codec(error) => TryGetError::Decode(error),
            SendFailure::RingError(RingError::Closed) => TryGetError::Closed,
            SendFailure::RingError(RingError::Alone) => TryGetError::Disconnected,
            SendFailure::RingError(RingError::NoSpace) => TryGetError::NoSpace,
            SendFailure::RingError(_) => TryGetError::Corrupt,
        }
    }
}

impl From<SendFailure> for GetTimeoutError {
    fn from(failure: SendFailure) -> Self {
        match failure {
            SendFailure::RingError(RingError::NotNow | RingError::Timeout) => GetTimeoutError::Timeout,
            SendFailure::Codec(error) => GetTimeoutError::Decode(error),
            SendFailure::RingError(RingError::Closed) => GetTimeoutError::Closed,
            SendFailure::RingError(RingError::Alone) => GetTimeoutError::Disconnected,
            SendFailure::RingError(RingError::NoSpace) => GetTimeoutError::NoSpace,
            SendFailure::RingError(_) => GetTimeoutError::Corrupt,
        }
    }
}
