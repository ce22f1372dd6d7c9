//! `SimpleQueue`: items of one size, copied as they are. The protocol is that of the [`Ring`].
#![allow(unsafe_code)] // addresses in shared memory, and items from their bytes

use super::iter::{Get, Iter};
use crate::marker::Element;
use crate::messages::codec::SendFailure;
use crate::ring::{Addresses, Growth, Ring, RingError, RingSource, WaitFor, slot_bytes};
use crate::segment::{self, Handle, Holders, Kind, LINE, Object, ObjectLayout, RegionIndex, Spec, handle_type};
use crate::sync::Timeout;
use crate::{GetError, GetTimeoutError, PutError, PutTimeoutError, SegmentError, TryGetError, TryPutError};
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::time::Duration;

/// A queue of plain data between processes: first in, first out, for any number of producers and consumers.
///
/// Items are copied without serde: numbers, arrays of numbers, structs that derive [`bytemuck::Pod`]. They are
/// delivered in the order in which their `put` calls completed, over all producers. Like any handle, a queue can be an
/// argument, a result, or part of a message.
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
/// A process can be killed at any instruction: an item is in the queue or not, and was taken or not. An item whose
/// `put` returned is delivered once. A killed consumer takes with it at most the items of the call that it was in. The
/// other processes go on at once. If all other holders are gone, `get` on an empty queue returns
/// [`Disconnected`](GetError::Disconnected): at once if they ended, within two seconds if they were killed. There is
/// one exception: a process was killed before it read a message with a handle of this queue. That handle counts as long
/// as the memory exists, so `get` waits; [`close`](SimpleQueue::close) ends that.
pub struct SimpleQueue<T> {
    handle: Handle,
    items: usize,
    ring: Ring,
    item: PhantomData<fn() -> T>,
}

handle_type!(SimpleQueue<T>);

impl<T> Object for SimpleQueue<T> {
    const IN_PLACE: bool = false;
    const HOLDERS: Option<Holders> = Some(Holders {
        on_add: |object| ring_at::<T>(object, 1).mark_shared(),
        on_import: |object| ring_at::<T>(object, 1).notify_arrival(),
        on_release: |object| ring_at::<T>(object, 1).notify_change(),
        notify_at_most: super::NOTIFY_AT_MOST,
    });

    fn spec(count: usize) -> Result<Spec, SegmentError> {
        Spec::of::<T>(Kind::SimpleQueue, count)
    }

    fn layout(count: usize) -> Option<ObjectLayout> {
        let slots = if count == UNBOUNDED { FIRST_SLOTS } else { count };
        Some(ObjectLayout { locks: 1, bytes: slot_bytes(slots, size_of::<T>())?.checked_add(SLOTS_AT)? })
    }

    fn of(handle: Handle, items: usize) -> Self {
        let growth = || Growth::new(handle.location().clone(), RegionIndex(0), None);
        let ring = match items {
            UNBOUNDED => ring_at::<T>(handle.object(), FIRST_SLOTS).growing(NO_LIMIT, growth()),
            _ => ring_at::<T>(handle.object(), items),
        };
        SimpleQueue { handle, items, ring, item: PhantomData }
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
        let ring = &self.ring;
        let peers = || super::peers(&self.handle, ring, WaitFor::Items);
        RingSource::new(ring, move || ring.has_items() || ring.is_closed() || ring.is_alone(&peers))
    }
}

/// The largest number of items that are collected before they are put.
const BATCH: usize = 256;
/// The number of items that stands for no limit.
const UNBOUNDED: usize = 0;
/// The number of items for which a queue without a limit has room before it grows.
const FIRST_SLOTS: usize = 1024;
/// More items than there is memory for.
const NO_LIMIT: u64 = 1 << 48;
/// After two halves and the wait queues.
const SLOTS_AT: usize = 3 * LINE;

fn ring_at<T>(object: NonNull<u8>, items: usize) -> Ring {
    // SAFETY: the offsets are inside the object, which has the number of bytes of `shape`.
    let (wait_queues, slots) = unsafe { (object.add(2 * LINE), object.add(SLOTS_AT)) };
    Ring::attach(Addresses { halves: object, wait_queues, slots }, size_of::<T>(), items)
}

impl<T: Element> SimpleQueue<T> {
    /// Creates a queue without a limit: `put` never waits. Its memory grows as needed, and shrinks when the queue is
    /// empty.
    ///
    /// # Errors
    /// [`NoSpace`](SegmentError::NoSpace), [`TooLarge`](SegmentError::TooLarge), or the system's error.
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

    /// Creates a queue for at most `items` items at once. All of its memory is allocated here.
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

    /// Puts an item. Waits while the queue is full.
    ///
    /// # Errors
    /// [`Closed`](PutError::Closed), [`Corrupt`](PutError::Corrupt). The error contains the item.
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
            Err(error) => Err(PutError::of(item, error.into())),
        }
    }

    /// Puts an item if there is room for it.
    ///
    /// # Errors
    /// [`Full`](TryPutError::Full), or as [`put`](SimpleQueue::put). The error contains the item.
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
            Err(error) => Err(TryPutError::of(item, error.into())),
        }
    }

    /// Puts an item. Waits at most `duration` while the queue is full, by the monotonic clock.
    ///
    /// # Errors
    /// [`Timeout`](PutTimeoutError::Timeout), or as [`put`](SimpleQueue::put). The error contains the item.
    ///
    /// ```
    /// let queue = crossproc::SimpleQueue::bounded(1)?;
    /// assert!(queue.put_timeout(7, std::time::Duration::from_secs(1)).is_ok());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn put_timeout(&self, item: T, duration: Duration) -> Result<(), PutTimeoutError<T>> {
        match self.add(std::slice::from_ref(&item), Timeout::at_most(duration)) {
            Ok(_) => Ok(()),
            Err(error) => Err(PutTimeoutError::of(item, error.into())),
        }
    }

    /// Puts all items and returns their number. Waits while the queue is full.
    ///
    /// Many items are put at a time, which is several times faster than one by one. Items of other producers may come
    /// in between.
    ///
    /// # Errors
    /// As [`put`](SimpleQueue::put), with the first item that was not put. The items after it are dropped.
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
            batch.extend(items.by_ref().take(BATCH)); // code of the program, so not under the lock
            if batch.is_empty() {
                return Ok(put);
            }
            let mut rest = batch.as_slice();
            while let [first, ..] = rest {
                let added = self.add(rest, Timeout::Never).map_err(|error| PutError::of(*first, error.into()))?;
                put += added;
                rest = &rest[added..];
            }
        }
    }

    /// Removes and returns the first item. Waits while the queue is empty.
    ///
    /// # Errors
    /// If the queue is empty: [`Closed`](GetError::Closed), or [`Disconnected`](GetError::Disconnected) if it had other
    /// holders and has none left. [`NoSpace`](GetError::NoSpace), [`Corrupt`](GetError::Corrupt).
    ///
    /// ```
    /// let queue = crossproc::SimpleQueue::bounded(3)?;
    /// queue.put_many(['a', 'b'])?;
    /// assert_eq!((queue.get()?, queue.get()?), ('a', 'b'));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    #[inline]
    pub fn get(&self) -> Result<T, GetError> {
        self.take(Timeout::Never).map_err(|error| SendFailure::from(error).into())
    }

    /// Removes and returns the first item if there is one.
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
        self.take(Timeout::Now).map_err(|error| SendFailure::from(error).into())
    }

    /// Removes and returns the first item. Waits at most `duration` while the queue is empty, by the monotonic clock.
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
        self.take(Timeout::at_most(duration)).map_err(|error| SendFailure::from(error).into())
    }

    /// Removes and returns the first items: at most `max`, as many as there are. Waits for one, unless `max` is 0.
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
    /// If the process is killed in this call, either all of its items stay in the queue, or all are lost.
    pub fn get_many(&self, max: usize) -> Result<Vec<T>, GetError> {
        let mut items = Vec::new();
        if max == 0 {
            return Ok(items);
        }
        items.reserve_exact(max.min(self.len()).max(1));
        let places = items.spare_capacity_mut();
        let most = max.min(places.len());
        let taken = self.take_into(&mut places[..most], Timeout::Never).map_err(SendFailure::from)?;
        // SAFETY: `take_into` filled the first `taken` places with valid items.
        unsafe { items.set_len(taken) };
        Ok(items)
    }

    /// Returns the number of items in the queue, exact at some moment of the call.
    ///
    /// ```
    /// let queue = crossproc::SimpleQueue::bounded(10)?;
    /// queue.put(1)?;
    /// assert_eq!(queue.len(), 1);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn len(&self) -> usize {
        self.ring.len()
    }

    /// Returns true if the queue contains no items.
    ///
    /// ```
    /// assert!(crossproc::SimpleQueue::<u8>::bounded(1)?.is_empty());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn is_empty(&self) -> bool {
        !self.ring.has_items()
    }

    /// Returns true if the queue contains [`capacity`](SimpleQueue::capacity) items.
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

    /// Returns the largest number of items in the queue at once, or `None` if there is no limit.
    ///
    /// ```
    /// assert_eq!(crossproc::SimpleQueue::<u8>::bounded(5)?.capacity(), Some(5));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn capacity(&self) -> Option<usize> {
        (self.items != UNBOUNDED).then_some(self.items)
    }

    /// Closes the queue for all its holders: no item can be put from here on. The items in it can still be taken. Wakes
    /// all waiters.
    ///
    /// ```
    /// let queue = crossproc::SimpleQueue::bounded(5)?;
    /// queue.put(1)?;
    /// queue.close();
    /// assert!(queue.put(2).is_err() && queue.get() == Ok(1) && queue.get().is_err());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn close(&self) {
        self.ring.close();
    }

    /// Returns an iterator that removes the items from the queue. It ends when the queue is closed and empty, or after
    /// it returned [`Disconnected`](GetError::Disconnected).
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

    /// Puts the first of the items, at least one; waits for room. Returns their number.
    #[inline]
    fn add(&self, items: &[T], timeout: Timeout) -> Result<usize, RingError> {
        loop {
            match self.ring.push(items, timeout) {
                Err(RingError::NotNow) => self.wait(WaitFor::Room, timeout)?,
                result => return result,
            }
        }
    }

    #[inline]
    fn take(&self, timeout: Timeout) -> Result<T, RingError> {
        let mut item = [MaybeUninit::uninit()];
        self.take_into(&mut item, timeout)?;
        // SAFETY: `take_into` fills at least one place, with a valid item.
        Ok(unsafe { item[0].assume_init() })
    }

    /// Takes items into the first places, at least one; waits for one. Returns their number. All of them are valid.
    #[inline]
    fn take_into(&self, places: &mut [MaybeUninit<T>], timeout: Timeout) -> Result<usize, RingError> {
        loop {
            if !self.ring.has_items() {
                self.wait(WaitFor::Items, timeout)?;
            }
            match self.ring.pop(places, timeout) {
                Err(RingError::NotNow) => {}
                Err(error) => return Err(error),
                Ok(taken) => {
                    // SAFETY: `pop` filled the place with bytes, and any bytes are a `Bits`.
                    let bits = |item: &MaybeUninit<T>| unsafe { item.as_ptr().cast::<T::Bits>().read() };
                    let valid = places[..taken].iter().all(|item| T::is_valid_bit_pattern(&bits(item)));
                    return if valid { Ok(taken) } else { Err(RingError::Corrupt) };
                }
            }
        }
    }

    fn wait(&self, what: WaitFor, timeout: Timeout) -> Result<(), RingError> {
        let ready = || if what == WaitFor::Items { self.ring.has_items() } else { self.ring.has_room() };
        self.ring.wait(what, timeout, &ready, &|| super::peers(&self.handle, &self.ring, what))
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
