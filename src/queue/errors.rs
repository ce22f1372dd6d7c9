//! Failures of a ring of messages, as errors of the methods of a queue.

use crate::messages::codec::SendFailure;
use crate::ring::RingError;
use crate::{GetError, GetTimeoutError, PutError, PutTimeoutError, TryGetError, TryPutError};

impl<T> PutError<T> {
    pub(super) fn of(item: T, failure: SendFailure) -> Self {
        match failure {
            SendFailure::Codec(error) => PutError::Encode(item, error),
            SendFailure::Ring(RingError::Closed) => PutError::Closed(item),
            SendFailure::Ring(RingError::NoSpace) => PutError::NoSpace(item),
            SendFailure::Ring(_) => PutError::Corrupt(item),
        }
    }
}

impl<T> TryPutError<T> {
    pub(super) fn of(item: T, failure: SendFailure) -> Self {
        match failure {
            SendFailure::Codec(error) => TryPutError::Encode(item, error),
            SendFailure::Ring(RingError::Closed) => TryPutError::Closed(item),
            SendFailure::Ring(RingError::NoSpace) => TryPutError::NoSpace(item),
            SendFailure::Ring(RingError::NotNow | RingError::Timeout) => TryPutError::Full(item),
            SendFailure::Ring(_) => TryPutError::Corrupt(item),
        }
    }
}

impl<T> PutTimeoutError<T> {
    pub(super) fn of(item: T, failure: SendFailure) -> Self {
        match failure {
            SendFailure::Codec(error) => PutTimeoutError::Encode(item, error),
            SendFailure::Ring(RingError::Closed) => PutTimeoutError::Closed(item),
            SendFailure::Ring(RingError::NoSpace) => PutTimeoutError::NoSpace(item),
            SendFailure::Ring(RingError::NotNow | RingError::Timeout) => PutTimeoutError::Timeout(item),
            SendFailure::Ring(_) => PutTimeoutError::Corrupt(item),
        }
    }
}

impl From<SendFailure> for GetError {
    fn from(failure: SendFailure) -> Self {
        match failure {
            SendFailure::Codec(error) => GetError::Decode(error),
            SendFailure::Ring(RingError::Closed) => GetError::Closed,
            SendFailure::Ring(RingError::Alone) => GetError::Disconnected,
            SendFailure::Ring(RingError::NoSpace) => GetError::NoSpace,
            SendFailure::Ring(_) => GetError::Corrupt,
        }
    }
}

impl From<SendFailure> for TryGetError {
    fn from(failure: SendFailure) -> Self {
        match failure {
            SendFailure::Ring(RingError::NotNow | RingError::Timeout) => TryGetError::Empty,
            SendFailure::Codec(error) => TryGetError::Decode(error),
            SendFailure::Ring(RingError::Closed) => TryGetError::Closed,
            SendFailure::Ring(RingError::Alone) => TryGetError::Disconnected,
            SendFailure::Ring(RingError::NoSpace) => TryGetError::NoSpace,
            SendFailure::Ring(_) => TryGetError::Corrupt,
        }
    }
}

impl From<SendFailure> for GetTimeoutError {
    fn from(failure: SendFailure) -> Self {
        match failure {
            SendFailure::Ring(RingError::NotNow | RingError::Timeout) => GetTimeoutError::Timeout,
            SendFailure::Codec(error) => GetTimeoutError::Decode(error),
            SendFailure::Ring(RingError::Closed) => GetTimeoutError::Closed,
            SendFailure::Ring(RingError::Alone) => GetTimeoutError::Disconnected,
            SendFailure::Ring(RingError::NoSpace) => GetTimeoutError::NoSpace,
            SendFailure::Ring(_) => GetTimeoutError::Corrupt,
        }
    }
}
