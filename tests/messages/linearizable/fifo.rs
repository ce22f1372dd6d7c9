//! Both kinds of queue, with the results that a history records.

use super::record::{CLOSED, REFUSED, TIMEOUT};
use crossproc::{Error, GetError, GetTimeoutError, PutTimeoutError, Queue, SimpleQueue, TryGetError, TryPutError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// The time limit of calls with one.
const MOMENT: Duration = Duration::from_micros(200);

/// The results of both kinds of queue, as a history records them.
pub trait Fifo: Clone + Serialize + DeserializeOwned + Send + 'static {
    /// `get_many` takes all its items at one moment, not one after the other.
    const AT_ONCE: bool;
    fn bounded(capacity: usize) -> Result<Self, Error>;
    fn put(&self, item: u64) -> u64;
    fn try_put(&self, item: u64) -> u64;
    fn put_timeout(&self, item: u64) -> u64;
    fn get(&self) -> Result<Vec<u64>, u64>;
    fn try_get(&self) -> Result<Vec<u64>, u64>;
    fn get_timeout(&self) -> Result<Vec<u64>, u64>;
    fn get_many(&self, most: usize) -> Result<Vec<u64>, u64>;
    fn len(&self) -> usize;
    fn close(&self);
}

macro_rules! fifo { ($($queue:ident $at_once:literal)*) => { $(
    impl Fifo for $queue<u64> {
        const AT_ONCE: bool = $at_once;

        fn bounded(capacity: usize) -> Result<Self, Error> {
            Ok($queue::bounded(capacity)?)
        }

        fn put(&self, item: u64) -> u64 {
            $queue::put(self, item).map_or(TIMEOUT, |()| 1)
        }

        fn try_put(&self, item: u64) -> u64 {
            match $queue::try_put(self, item) {
                Ok(()) => 1,
                Err(TryPutError::Full(_)) => REFUSED,
                Err(error) => panic!("{error}"),
            }
        }

        fn put_timeout(&self, item: u64) -> u64 {
            match $queue::put_timeout(self, item, MOMENT) {
                Ok(()) => 1,
                Err(PutTimeoutError::Timeout(_)) => TIMEOUT,
                Err(error) => panic!("{error}"),
            }
        }

        fn get(&self) -> Result<Vec<u64>, u64> {
            $queue::get(self).map(|item| vec![item]).map_err(|error| closed(&error))
        }

        fn try_get(&self) -> Result<Vec<u64>, u64> {
            match $queue::try_get(self) {
                Ok(item) => Ok(vec![item]),
                // The last of the others may have been killed a moment ago.
                Err(TryGetError::Empty | TryGetError::Disconnected) => Err(REFUSED),
                Err(TryGetError::Closed) => Err(CLOSED),
                Err(error) => panic!("{error}"),
            }
        }

        fn get_timeout(&self) -> Result<Vec<u64>, u64> {
            match $queue::get_timeout(self, MOMENT) {
                Ok(item) => Ok(vec![item]),
                Err(GetTimeoutError::Timeout) => Err(TIMEOUT),
                Err(GetTimeoutError::Closed) => Err(CLOSED),
                Err(error) => panic!("{error}"),
            }
        }

        fn get_many(&self, most: usize) -> Result<Vec<u64>, u64> {
            $queue::get_many(self, most).map_err(|error| closed(&error))
        }

        fn len(&self) -> usize {
            $queue::len(self)
        }

        fn close(&self) {
            $queue::close(self);
        }
    }
)* } }
fifo! { SimpleQueue true Queue false }

fn closed(error: &GetError) -> u64 {
    assert_eq!(*error, GetError::Closed);
    CLOSED
}
