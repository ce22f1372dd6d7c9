//! What a failure of a ring means for who puts and who gets.

use crate::ring::{Failure, Stop};
use crate::{GetError, GetTimeoutError, PutError, PutTimeoutError, TryGetError, TryPutError};

impl<T> PutError<T> {
    pub(super) fn of(item: T, failure: Failure) -> Self {
        match failure {
            Failure::Codec(error) => PutError::Encode(item, error),
            Failure::Stop(Stop::Closed) => PutError::Closed(item),
            Failure::Stop(Stop::NoSpace) => PutError::NoSpace(item),
            Failure::Stop(_) => PutError::Corrupt(item),
        }
    }
}

impl<T> TryPutError<T> {
    pub(super) fn of(item: T, failure: Failure) -> Self {
        match failure {
            Failure::Codec(error) => TryPutError::Encode(item, error),
            Failure::Stop(Stop::Closed) => TryPutError::Closed(item),
            Failure::Stop(Stop::NoSpace) => TryPutError::NoSpace(item),
            Failure::Stop(Stop::NotNow | Stop::Timeout) => TryPutError::Full(item),
            Failure::Stop(_) => TryPutError::Corrupt(item),
        }
    }
}

impl<T> PutTimeoutError<T> {
    pub(super) fn of(item: T, failure: Failure) -> Self {
        match failure {
            Failure::Codec(error) => PutTimeoutError::Encode(item, error),
            Failure::Stop(Stop::Closed) => PutTimeoutError::Closed(item),
            Failure::Stop(Stop::NoSpace) => PutTimeoutError::NoSpace(item),
            Failure::Stop(Stop::NotNow | Stop::Timeout) => PutTimeoutError::Timeout(item),
            Failure::Stop(_) => PutTimeoutError::Corrupt(item),
        }
    }
}

impl From<Failure> for GetError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Codec(error) => GetError::Decode(error),
            Failure::Stop(Stop::Closed) => GetError::Closed,
            Failure::Stop(Stop::Alone) => GetError::Disconnected,
            Failure::Stop(Stop::NoSpace) => GetError::NoSpace,
            Failure::Stop(_) => GetError::Corrupt,
        }
    }
}

impl From<Failure> for TryGetError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Stop(Stop::NotNow | Stop::Timeout) => TryGetError::Empty,
            Failure::Codec(error) => TryGetError::Decode(error),
            Failure::Stop(Stop::Closed) => TryGetError::Closed,
            Failure::Stop(Stop::Alone) => TryGetError::Disconnected,
            Failure::Stop(Stop::NoSpace) => TryGetError::NoSpace,
            Failure::Stop(_) => TryGetError::Corrupt,
        }
    }
}

impl From<Failure> for GetTimeoutError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Stop(Stop::NotNow | Stop::Timeout) => GetTimeoutError::Timeout,
            Failure::Codec(error) => GetTimeoutError::Decode(error),
            Failure::Stop(Stop::Closed) => GetTimeoutError::Closed,
            Failure::Stop(Stop::Alone) => GetTimeoutError::Disconnected,
            Failure::Stop(Stop::NoSpace) => GetTimeoutError::NoSpace,
            Failure::Stop(_) => GetTimeoutError::Corrupt,
        }
    }
}
