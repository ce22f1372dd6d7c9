//! `MessageQueue`: what `Queue` and `JoinableQueue` share. Every item is put and got here, and every failure becomes a
//! typed error here.
//!
//! The protocol is that of `messages`. The two queues differ in their [`Delivery`]: how an item leaves the queue.

use super::holders::NOTIFY_AT_MOST;
use crate::marker::{self, Element, Message};
use crate::messages::codec::{self, SendFailure};
use crate::messages::record::{Flags, Record};
use crate::messages::{self, MessageGeometry, MessageRing};
use crate::ring::{Peers, RingSource, WaitFor};
use crate::segment::{Handle, Holders, ObjectLayout};
use crate::sync::Timeout;
use crate::{GetError, GetTimeoutError, PutError, PutTimeoutError, SegmentError, TryGetError, TryPutError};
use serde::de::DeserializeOwned;
use std::marker::PhantomData;
use std::time::Duration;

/// The bound that stands for no limit.
pub(super) const UNBOUNDED: usize = 0;

/// `put_many` encodes at most this many items before it puts them.
const BATCH: usize = 128;

/// What happens to a queue when its holders change.
pub(super) const HOLDERS: Holders = Holders {
    on_add: messages::mark_shared,
    on_import: messages::notify_arrival,
    on_release: messages::notify_change,
    notify_at_most: NOTIFY_AT_MOST,
};

/// How items leave a queue.
pub(super) trait Delivery: Sized {
    /// Whether there is an item to take.
    fn has_items(queue: &MessageQueue<Self>) -> bool;

    /// Whether `get` would return at once, with an item or an error.
    fn is_ready(queue: &MessageQueue<Self>) -> bool;

    /// Which other processes may put an item, or make room.
    fn peers(queue: &MessageQueue<Self>, what: WaitFor) -> Peers;

    /// Whether the next item is the ring's next one.
    fn takes_from_ring(queue: &MessageQueue<Self>) -> bool;

    /// Takes the next item out for good; waits for it.
    fn receive<T: DeserializeOwned>(
        queue: &MessageQueue<Self>,
        to: &mut Option<T>,
        timeout: Timeout,
    ) -> Result<(), SendFailure>;

    /// Takes the bytes of the next item out for good; waits for it.
    fn receive_bytes(queue: &MessageQueue<Self>) -> Result<Vec<u8>, SendFailure>;

    /// Takes all items out, and releases the handles in them.
    fn discard_all(queue: &MessageQueue<Self>);
}

/// A queue of messages, with a delivery `D`.
pub(super) struct MessageQueue<D: Delivery> {
    pub(super) handle: Handle,
    pub(super) messages: MessageRing,
    pub(super) bound: usize,
    delivery: PhantomData<D>,
}

fn geometry(bound: usize) -> MessageGeometry {
    MessageGeometry::of_items((bound != UNBOUNDED).then_some(bound))
}

pub(super) fn layout(bound: usize) -> Option<ObjectLayout> {
    let (locks, bytes) = geometry(bound).layout()?;
    Some(ObjectLayout { locks, bytes })
}

/// The bound that a caller gave, if it is one.
pub(super) fn check_bound(items: usize) -> Result<usize, SegmentError> {
    match items {
        UNBOUNDED => Err(SegmentError::Invalid("a queue for 0 items".into())),
        bound => Ok(bound),
    }
}

impl<D: Delivery> MessageQueue<D> {
    pub(super) fn new(handle: Handle, bound: usize) -> Self {
        let messages = MessageRing::of(&handle, &geometry(bound), 0);
        MessageQueue { handle, messages, bound, delivery: PhantomData }
    }

    #[inline(always)]
    pub(super) fn put<T: Message>(&self, item: T) -> Result<(), PutError<T>> {
        self.send(&item, Timeout::Never).map_err(|failure| PutError::of(item, failure))
    }

    #[inline(always)]
    pub(super) fn try_put<T: Message>(&self, item: T) -> Result<(), TryPutError<T>> {
        self.send(&item, Timeout::Now).map_err(|failure| TryPutError::of(item, failure))
    }

    pub(super) fn put_timeout<T: Message>(&self, item: T, duration: Duration) -> Result<(), PutTimeoutError<T>> {
        self.send(&item, Timeout::at_most(duration)).map_err(|failure| PutTimeoutError::of(item, failure))
    }

    #[inline]
    fn send<T: Message>(&self, item: &T, timeout: Timeout) -> Result<(), SendFailure> {
        self.messages.send_value(item, timeout, &|| D::peers(self, WaitFor::Room))
    }

    pub(super) fn put_many<T: Message>(&self, items: impl IntoIterator<Item = T>) -> Result<usize, PutError<T>> {
        let mut put = 0;
        // The items that are encoded and not yet put, and their records.
        let (mut records, mut encoded) = (Vec::new(), Vec::new());
        for item in items {
            let mut record = Record::default();
            match codec::encode(&item, &mut record) {
                Ok(None) => {
                    records.push(record);
                    encoded.push(item);
                    if records.len() == BATCH {
                        put += self.put_records(&mut records, &mut encoded)?;
                    }
                }
                Ok(Some(long)) => {
                    put += self.put_records(&mut records, &mut encoded)?;
                    let sent = self.messages.send_encoded(long, Timeout::Never, &|| D::peers(self, WaitFor::Room));
                    sent.map_err(|failure| PutError::of(item, failure))?;
                    put += 1;
                }
                Err(error) => {
                    self.put_records(&mut records, &mut encoded)?;
                    return Err(PutError::Encode(item, error));
                }
            }
        }
        Ok(put + self.put_records(&mut records, &mut encoded)?)
    }

    fn put_records<T>(&self, records: &mut Vec<Record>, items: &mut Vec<T>) -> Result<usize, PutError<T>> {
        let mut put = 0;
        while put < records.len() {
            match self.messages.send_many(&records[put..], Timeout::Never, &|| D::peers(self, WaitFor::Room)) {
                Ok(sent) => put += sent,
                Err(error) => return Err(PutError::of(items.swap_remove(put), error.into())),
            }
        }
        records.clear();
        items.clear();
        Ok(put)
    }

    #[inline(always)]
    pub(super) fn get<T: Message>(&self) -> Result<T, GetError> {
        let mut item = None;
        D::receive(self, &mut item, Timeout::Never)?;
        item.ok_or(GetError::Corrupt) // not reached: `receive` sets it
    }

    #[inline(always)]
    pub(super) fn try_get<T: Message>(&self) -> Result<T, TryGetError> {
        let mut item = None;
        D::receive(self, &mut item, Timeout::Now)?;
        item.ok_or(TryGetError::Corrupt)
    }

    pub(super) fn get_timeout<T: Message>(&self, duration: Duration) -> Result<T, GetTimeoutError> {
        let mut item = None;
        D::receive(self, &mut item, Timeout::at_most(duration))?;
        item.ok_or(GetTimeoutError::Corrupt)
    }

    pub(super) fn get_many<T: Message>(&self, max: usize) -> Result<Vec<T>, GetError> {
        let mut items = Vec::new();
        if max == 0 {
            return Ok(items);
        }
        items.push(self.get()?);
        while items.len() < max {
            if !D::takes_from_ring(self) {
                match self.try_get() {
                    Ok(item) => items.push(item),
                    Err(_) => break,
                }
                continue;
            }
            match self.messages.receive_values(max - items.len(), &mut items) {
                Ok(taken) if taken > 0 => {}
                _ => break,
            }
        }
        Ok(items)
    }

    pub(super) fn put_bytes(&self, bytes: &[u8]) -> Result<(), PutError<()>> {
        let sent = self.messages.send(bytes, Flags::default(), Timeout::Never, &|| D::peers(self, WaitFor::Room));
        sent.map(drop).map_err(|error| PutError::of((), error.into()))
    }

    pub(super) fn get_bytes(&self) -> Result<Vec<u8>, GetError> {
        Ok(D::receive_bytes(self)?)
    }

    pub(super) fn get_vec<E: Element>(&self) -> Result<Vec<E>, GetError> {
        marker::from_bytes(&self.get_bytes()?).map_err(GetError::Decode)
    }

    pub(super) fn has_items(&self) -> bool {
        D::has_items(self)
    }

    pub(super) fn capacity(&self) -> Option<usize> {
        (self.bound != UNBOUNDED).then_some(self.bound)
    }

    pub(super) fn is_full(&self) -> bool {
        self.capacity().is_some_and(|bound| self.messages.len() >= bound)
    }

    pub(super) fn close(&self) {
        self.messages.close();
    }

    pub(super) fn ring_source(&self) -> RingSource<'_> {
        RingSource::new(&self.messages.ring, move || D::is_ready(self))
    }
}

/// The last handle that could take items out discards them, with the handles in them.
impl<D: Delivery> Drop for MessageQueue<D> {
    fn drop(&mut self) {
        if self.handle.roles() != 0 && self.has_items() {
            let holders = self.handle.holder_count(0);
            if holders.here == 1 && holders.elsewhere.is_none() {
                D::discard_all(self);
            }
        }
    }
}
