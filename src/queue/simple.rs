//! `SimpleQueue`: items of one size, copied as they are. The protocol is the [`Ring`]'s.
#![allow(unsafe_code)] // items as bytes

use super::iter::{Get, Iter};
use crate::marker::Element;
use crate::messages::codec::SendFailure;
use crate::ring::{AdaptiveSpin, Addresses, For, Growth, Ring, RingError, RingSource};
use crate::segment::{self, Handle, Holders, Kind, LINE, Object, ObjectLayout, RingIndex, Spec, handle_type};
use crate::sync::Timeout;
use crate::{GetError, GetTimeoutError, PutError, PutTimeoutError, SegmentError, TryGetError, TryPutError};
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::time::Duration;

/// A queue of plain data between processes: first in, first out, for any number of producers and consumers.
///
/// Items are copied, without serde: numbers, arrays of them, structs that derive [`bytemuck::Pod`]. They are delivered in
/// the order in which their `put`s came to their end, over all producers. A queue is an argument, a result, or part of a
/// message like any handle.
///
/// ```
/// use crossproc::{Process, Result, SimpleQueue};
/// fn square(jobs: SimpleQueue<u64>, results: SimpleQueue<u64>) -> Result<()> {
///     for n in &jobs {
///         let n = n?;
///         results.put(n * n)?;
///     }
///     Ok(())
/// }
/// let (jobs, results) = (SimpleQueue::bounded(100)?, SimpleQueue::bounded(100)?);
/// let worker = Process::spawn(square, (jobs.clone(), results.clone()))?;
/// jobs.put_many(1..=10)?;
/// jobs.close(); // the worker's loop ends when nothing is left
/// worker.join()??;
/// assert_eq!(results.get_many(100)?.into_iter().sum::<u64>(), 385);
/// # Ok::<(), crossproc::Error>(())
/// ```
///
/// # When a process dies
/// At any instruction: an item is in the queue or not, and out of it or not; what a `put` has acknowledged is delivered,
/// once. A killed consumer takes at most the items with it that it was just getting. The others go on at once. If everybody
/// else is gone, `get` on an empty queue is [`Disconnected`](GetError::Disconnected): at once when they ended, within
/// two seconds when they were killed. Not so if a process was killed that had a handle in a message which it had not read: that
/// handle counts as long as the memory lives, so `get` waits; [`close`](SimpleQueue::close) ends that.
pub struct SimpleQueue<T> {
    handle: Handle,
    items: usize,
    ring: Ring,
    looks: AdaptiveSpin,
    item: PhantomData<fn() -> T>,
}

handle_type!(SimpleQueue<T>);

impl<T> Object for SimpleQueue<T> {
    const IN_PLACE: bool = false;
    const HOLDERS: Option<Holders> = Some(Holders {
        more: |object| ring_at(object, 1).share(),
        came: |object| ring_at(object, 1).tell_arrival(),
        gone: |object| ring_at(object, 1).tell_change(),
        few: super::NOTIFY_AT_MOST,
    });

    fn spec(count: usize) -> Result<Spec, SegmentError> {
        Spec::of::<T>(Kind::SimpleQueue, count)
    }

    fn shape(count: usize) -> Option<ObjectLayout> {
        let slots = if count == UNBOUNDED { FIRST_SLOTS } else { count };
        Some(ObjectLayout { locks: 1, bytes: crate::ring::room_for(slots, size_of::<T>())?.checked_add(SLOTS_AT)? })
    }

    fn of(handle: Handle, items: usize) -> Self {
        let growth = || Growth::new(handle.place().clone(), RingIndex(0), None);
        let ring = match items {
            UNBOUNDED => ring_at(handle.object(), FIRST_SLOTS).growing(ENDLESS, growth()),
            _ => ring_at(handle.object(), items),
        };
        SimpleQueue { handle, items, ring, looks: AdaptiveSpin::new(), item: PhantomData }
    }

    fn handle(&self) -> &Handle {
        &self.handle
    }

    fn count(&self) -> usize {
        self.items
    }
}

impl<T> SimpleQueue<T> {
    pub(crate) fn ring_source(&self) -> RingSource<'_> {
        let (ring, looks, size) = (&self.ring, &self.looks, size_of::<T>());
        let company = || super::peers(&self.handle, ring, For::Items);
        RingSource::new(ring, size, move || ring.has_items(size) || ring.is_closed() || looks.is_alone(ring, &company))
    }
}

/// At most so many items are collected before they are put.
const BATCH: usize = 256;
/// The number of items that stands for no limit, and how many have room before it grows.
const UNBOUNDED: usize = 0;
const FIRST_SLOTS: usize = 1024;
/// More than anybody has memory for.
const ENDLESS: u64 = 1 << 48;
/// Behind two sides and the doors.
const SLOTS_AT: usize = 3 * LINE;

fn ring_at(object: NonNull<u8>, items: usize) -> Ring {
    // SAFETY: an object of the shape above, or of one with fewer slots of which none is used.
    let site = unsafe { Addresses { sides: object, doors: object.add(2 * LINE), slots: object.add(SLOTS_AT) } };
    Ring::of(site, items)
}

impl<T: Element> SimpleQueue<T> {
    /// A queue without a limit: `put` never waits. Its memory grows as needed, and goes when the queue is empty.
    ///
    /// # Errors
    /// [`NoSpace`](SegmentError::NoSpace), [`TooLarge`](SegmentError::TooLarge), or what the system said.
    ///
    /// ```
    /// let queue = crossproc::SimpleQueue::<u64>::new()?;
    /// assert_eq!(queue.put_many(0..100_000)?, 100_000);
    /// assert_eq!((queue.len(), queue.capacity(), queue.get()?), (100_000, None, 0));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn new() -> Result<Self, SegmentError> {
        segment::create(UNBOUNDED, |_| ())
    }

    /// A queue for at most so many items at once; its memory is taken at once.
    ///
    /// # Errors
    /// [`Invalid`](SegmentError::Invalid) for 0 items, [`TooLarge`](SegmentError::TooLarge),
    /// [`NoSpace`](SegmentError::NoSpace).
    ///
    /// ```
    /// let queue = crossproc::SimpleQueue::<[f32; 4]>::bounded(1000)?;
    /// assert_eq!((queue.len(), queue.capacity()), (0, Some(1000)));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn bounded(items: usize) -> Result<Self, SegmentError> {
        if items == 0 {
            return Err(SegmentError::Invalid("a queue for no items".into()));
        }
        segment::create(items, |_| ())
    }

    /// Puts an item; waits while the queue is full.
    ///
    /// # Errors
    /// [`Closed`](PutError::Closed), [`Corrupt`](PutError::Corrupt); the item comes back.
    ///
    /// ```
    /// let queue = crossproc::SimpleQueue::bounded(3)?;
    /// queue.put(1.5)?;
    /// assert_eq!((queue.len(), queue.get()?), (1, 1.5));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    #[inline]
    pub fn put(&self, item: T) -> Result<(), PutError<T>> {
        match self.add(std::slice::from_ref(&item), Timeout::Never) {
            Ok(_) => Ok(()),
            Err(stop) => Err(PutError::of(item, stop.into())),
        }
    }

    /// Puts an item if there is room.
    ///
    /// # Errors
    /// [`Full`](TryPutError::Full), or as [`put`](SimpleQueue::put); the item comes back.
    ///
    /// ```
    /// use crossproc::{SimpleQueue, TryPutError};
    /// let queue = SimpleQueue::bounded(1)?;
    /// assert_eq!((queue.try_put(1), queue.try_put(2)), (Ok(()), Err(TryPutError::Full(2))));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    #[inline]
    pub fn try_put(&self, item: T) -> Result<(), TryPutError<T>> {
        match self.add(std::slice::from_ref(&item), Timeout::Now) {
            Ok(_) => Ok(()),
            Err(stop) => Err(TryPutError::of(item, stop.into())),
        }
    }

    /// Puts an item; waits for that long while the queue is full, by the monotonic clock.
    ///
    /// # Errors
    /// [`Timeout`](PutTimeoutError::Timeout), or as [`put`](SimpleQueue::put); the item comes back.
    ///
    /// ```
    /// let queue = crossproc::SimpleQueue::bounded(1)?;
    /// assert!(queue.put_timeout(7, std::time::Duration::from_secs(1)).is_ok());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn put_timeout(&self, item: T, duration: Duration) -> Result<(), PutTimeoutError<T>> {
        match self.add(std::slice::from_ref(&item), Timeout::at_most(duration)) {
            Ok(_) => Ok(()),
            Err(stop) => Err(PutTimeoutError::of(item, stop.into())),
        }
    }

    /// Puts all items, many at a time, which is several times faster than one by one; waits while the queue is full. Says
    /// how many there were. Others' items may come in between.
    ///
    /// # Errors
    /// As [`put`](SimpleQueue::put), with the first item that was not put. Those behind it are dropped.
    ///
    /// ```
    /// let queue = crossproc::SimpleQueue::bounded(100)?;
    /// assert_eq!(queue.put_many(0..50)?, 50);
    /// assert_eq!(queue.len(), 50);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn put_many(&self, items: impl IntoIterator<Item = T>) -> Result<usize, PutError<T>> {
        let mut items = items.into_iter();
        let mut batch = Vec::with_capacity(items.size_hint().0.clamp(1, BATCH));
        let mut put = 0;
        loop {
            batch.clear();
            batch.extend(items.by_ref().take(BATCH)); // the program's code, so not under the lock
            if batch.is_empty() {
                return Ok(put);
            }
            let mut rest = batch.as_slice();
            while let [first, ..] = rest {
                let added = self.add(rest, Timeout::Never).map_err(|stop| PutError::of(*first, stop.into()))?;
                put += added;
                rest = &rest[added..];
            }
        }
    }

    /// Takes the first item out; waits while the queue is empty.
    ///
    /// # Errors
    /// Of an empty queue: [`Closed`](GetError::Closed); [`Disconnected`](GetError::Disconnected) where others have
    /// held it and nobody does any more. [`NoSpace`](GetError::NoSpace), [`Corrupt`](GetError::Corrupt).
    ///
    /// ```
    /// let queue = crossproc::SimpleQueue::bounded(3)?;
    /// queue.put_many(['a', 'b'])?;
    /// assert_eq!((queue.get()?, queue.get()?), ('a', 'b'));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    #[inline]
    pub fn get(&self) -> Result<T, GetError> {
        self.take(Timeout::Never).map_err(|stop| SendFailure::from(stop).into())
    }

    /// Takes the first item out if there is one.
    ///
    /// # Errors
    /// [`Empty`](TryGetError::Empty), or as [`get`](SimpleQueue::get).
    ///
    /// ```
    /// use crossproc::{SimpleQueue, TryGetError};
    /// let queue = SimpleQueue::bounded(3)?;
    /// queue.put(1u8)?;
    /// assert_eq!((queue.try_get(), queue.try_get()), (Ok(1), Err(TryGetError::Empty)));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    #[inline]
    pub fn try_get(&self) -> Result<T, TryGetError> {
        self.take(Timeout::Now).map_err(|stop| SendFailure::from(stop).into())
    }

    /// Takes the first item out; waits for that long while the queue is empty, by the monotonic clock.
    ///
    /// # Errors
    /// [`Timeout`](GetTimeoutError::Timeout), or as [`get`](SimpleQueue::get).
    ///
    /// ```
    /// let queue = crossproc::SimpleQueue::bounded(1)?;
    /// queue.put(9u16)?;
    /// assert_eq!(queue.get_timeout(std::time::Duration::from_secs(1)), Ok(9));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn get_timeout(&self, duration: Duration) -> Result<T, GetTimeoutError> {
        self.take(Timeout::at_most(duration)).map_err(|stop| SendFailure::from(stop).into())
    }

    /// Takes out what is there, at most `max` items and, unless `max` is 0, at least one: waits for that.
    ///
    /// # Errors
    /// As [`get`](SimpleQueue::get).
    ///
    /// ```
    /// let queue = crossproc::SimpleQueue::bounded(10)?;
    /// queue.put_many(0..7)?;
    /// assert_eq!((queue.get_many(5)?, queue.get_many(5)?), (vec![0, 1, 2, 3, 4], vec![5, 6]));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    ///
    /// # When a process dies
    /// The items of a call that did not return stay in the queue, or are gone, all of them.
    pub fn get_many(&self, max: usize) -> Result<Vec<T>, GetError> {
        let mut items = Vec::new();
        if max == 0 {
            return Ok(items);
        }
        items.reserve_exact(max.min(self.len()).max(1));
        let room = items.spare_capacity_mut();
        let most = max.min(room.len());
        let taken = self.take_into(&mut room[..most], Timeout::Never).map_err(SendFailure::from)?;
        // SAFETY: so many were filled, and are valid.
        unsafe { items.set_len(taken) };
        Ok(items)
    }

    /// How many items are in, exactly at this moment.
    ///
    /// ```
    /// let queue = crossproc::SimpleQueue::bounded(10)?;
    /// queue.put(1)?;
    /// assert_eq!(queue.len(), 1);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn len(&self) -> usize {
        self.ring.len(size_of::<T>())
    }

    /// Whether nothing is in, exactly at this moment.
    ///
    /// ```
    /// assert!(crossproc::SimpleQueue::<u8>::bounded(1)?.is_empty());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn is_empty(&self) -> bool {
        !self.ring.has_items(size_of::<T>())
    }

    /// Whether as many items as may be are in, exactly at this moment.
    ///
    /// ```
    /// let queue = crossproc::SimpleQueue::bounded(1)?;
    /// queue.put(1)?;
    /// assert!(queue.is_full());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn is_full(&self) -> bool {
        self.capacity().is_some_and(|items| self.len() >= items)
    }

    /// How many items may be in at once; none where there is no limit.
    ///
    /// ```
    /// assert_eq!(crossproc::SimpleQueue::<u8>::bounded(5)?.capacity(), Some(5));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn capacity(&self) -> Option<usize> {
        (self.items != UNBOUNDED).then_some(self.items)
    }

    /// Nothing more goes in, for anybody and for good; what is in can be got. Wakes all who wait.
    ///
    /// ```
    /// let queue = crossproc::SimpleQueue::bounded(5)?;
    /// queue.put(1)?;
    /// queue.close();
    /// assert!(queue.put(2).is_err() && queue.get() == Ok(1) && queue.get().is_err());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn close(&self) {
        self.ring.close(size_of::<T>());
    }

    /// The items, each taken out when it is asked for. Ends when the queue is closed and nothing is left, or behind one
    /// [`Disconnected`](GetError::Disconnected).
    ///
    /// ```
    /// let queue = crossproc::SimpleQueue::bounded(5)?;
    /// queue.put_many([1, 2])?;
    /// queue.close();
    /// assert_eq!(queue.iter().collect::<Result<Vec<_>, _>>()?, [1, 2]);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn iter(&self) -> Iter<'_, T> {
        Iter::new(self)
    }

    /// At least one, or it says why not.
    #[inline]
    fn add(&self, items: &[T], patience: Timeout) -> Result<usize, RingError> {
        let size = size_of::<T>();
        loop {
            // SAFETY: so many items of that size, which have no uninitialised bytes (`NoUninit`).
            match unsafe { self.ring.push(size, items.as_ptr().cast(), items.len(), patience) } {
                Err(RingError::NotNow) => self.wait(For::Room, patience)?,
                done => return done,
            }
        }
    }

    #[inline]
    fn take(&self, patience: Timeout) -> Result<T, RingError> {
        let mut item = [MaybeUninit::uninit()];
        self.take_into(&mut item, patience)?;
        // SAFETY: it was filled, and is valid.
        Ok(unsafe { item[0].assume_init() })
    }

    /// Fills the first of them, at least one, or says why not. What is no item is not given out.
    #[inline]
    fn take_into(&self, room: &mut [MaybeUninit<T>], patience: Timeout) -> Result<usize, RingError> {
        let size = size_of::<T>();
        loop {
            if !self.ring.has_items(size) {
                self.wait(For::Items, patience)?;
            }
            // SAFETY: room for so many items of that size.
            match unsafe { self.ring.pop(size, room.as_mut_ptr().cast(), room.len(), patience) } {
                Err(RingError::NotNow) => {}
                Err(stop) => return Err(stop),
                Ok(taken) => {
                    // SAFETY: filled with the bytes of items, and any bytes are a `Bits`.
                    let bits = |item: &MaybeUninit<T>| unsafe { item.as_ptr().cast::<T::Bits>().read() };
                    let valid = room[..taken].iter().all(|item| T::is_valid_bit_pattern(&bits(item)));
                    return if valid { Ok(taken) } else { Err(RingError::Corrupt) };
                }
            }
        }
    }

    fn wait(&self, what: For, patience: Timeout) -> Result<(), RingError> {
        let size = size_of::<T>();
        let ready = || if what == For::Items { self.ring.has_items(size) } else { self.ring.has_room() };
        self.ring.wait(size, what, patience, &self.looks, &ready, &|| super::peers(&self.handle, &self.ring, what))
    }
}

impl<T: Element> Get<T> for SimpleQueue<T> {
    fn get_one(&self) -> Result<T, GetError> {
        self.get()
    }
}

impl<'a, T: Element> IntoIterator for &'a SimpleQueue<T> {
    type Item = Result<T, GetError>;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}
