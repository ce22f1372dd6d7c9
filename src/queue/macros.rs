//! What `Queue` and `JoinableQueue` have in common.

use crate::GetError;

/// At most so many items are encoded before they are put.
pub(super) const BATCH: usize = 128;

/// Items of a queue, each taken out when it is asked for; see [`Queue::iter`](crate::Queue::iter).
///
/// ```
/// let queue = crossproc::Queue::bounded(5)?;
/// queue.put("a".to_string())?;
/// assert_eq!(queue.iter().next(), Some(Ok("a".to_string())));
/// # Ok::<(), crossproc::Error>(())
/// ```
pub struct Iter<'a, T> {
    pub(super) get: &'a dyn Get<T>,
    pub(super) ended: bool,
}

impl<T> std::fmt::Debug for Iter<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Iter").finish_non_exhaustive()
    }
}

/// A queue of whatever kind.
pub(super) trait Get<T> {
    fn get_one(&self) -> Result<T, GetError>;
}

impl<T> Iterator for Iter<'_, T> {
    type Item = Result<T, GetError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        match self.get.get_one() {
            Err(GetError::Closed) => None,
            item => {
                // Behind any other error the next item is another one.
                self.ended = !matches!(item, Ok(_) | Err(GetError::Decode(_) | GetError::NoSpace));
                Some(item)
            }
        }
    }
}

/// The methods of both. The type has a `handle`, a `mail`, and a `receive(to, patience)`.
macro_rules! queue_methods {
    ($name:ident) => {
        $crate::segment::handle_type!($name<T>);

        impl<T> Object for $name<T> {
            const IN_PLACE: bool = false;
            const HOLDERS: Option<Holders> = Some(Holders {
                on_add: messages::mark_shared,
                on_import: messages::notify_arrival,
                on_release: messages::notify_change,
                notify_at_most: $crate::queue::FEW,
            });

            fn spec(count: usize) -> Result<Spec, SegmentError> {
                Ok(Spec::of_messages::<Self>(Kind::$name, count))
            }

            fn layout(count: usize) -> Option<ObjectLayout> {
                let (locks, bytes) = plan(count).layout()?;
                Some(ObjectLayout { locks, bytes })
            }

            fn of(handle: Handle, items: usize) -> Self {
                let mail = MessageRing::of(&handle, &plan(items), 0);
                $name { handle, mail, items, item: PhantomData }
            }

            fn handle(&self) -> &Handle {
                &self.handle
            }

            fn count(&self) -> usize {
                self.items
            }
        }

        /// When nobody is left who might get them, what is in is given up, with the handles in it.
        impl<T> Drop for $name<T> {
            fn drop(&mut self) {
                if self.handle.roles() != 0 && self.has_work() {
                    let census = self.handle.holder_count(0);
                    if census.here == 1 && census.elsewhere.is_none() {
                        self.drain();
                    }
                }
            }
        }

        impl<T: Message> $name<T> {
            /// A queue without a limit: `put` never waits. Its memory grows as needed, and goes when the queue is empty.
            ///
            /// # Errors
            /// [`NoSpace`](SegmentError::NoSpace), or what the system said.
            ///
            /// ```
            #[doc = concat!("let queue = crossproc::", stringify!($name), "::new()?;")]
            /// queue.put_many((0..100_000).map(|n| n.to_string()))?;
            /// assert_eq!((queue.len(), queue.capacity(), queue.get()?), (100_000, None, "0".to_string()));
            /// # Ok::<(), crossproc::Error>(())
            /// ```
            pub fn new() -> Result<Self, SegmentError> {
                let queue: Self = segment::create(UNBOUNDED, |_| ())?;
                queue.check_room()?;
                Ok(queue)
            }

            /// A queue for at most so many items at once, of whatever length.
            ///
            /// # Errors
            /// [`Invalid`](SegmentError::Invalid) for 0 items, [`NoSpace`](SegmentError::NoSpace), or what the system said.
            ///
            /// ```
            #[doc = concat!("let queue = crossproc::", stringify!($name), "::<String>::bounded(1000)?;")]
            /// assert_eq!((queue.len(), queue.capacity()), (0, Some(1000)));
            /// # Ok::<(), crossproc::Error>(())
            /// ```
            pub fn bounded(items: usize) -> Result<Self, SegmentError> {
                match items {
                    UNBOUNDED => Err(SegmentError::Invalid("a queue for no items".into())),
                    _ => {
                        let queue: Self = segment::create(items, |_| ())?;
                        queue.check_room()?;
                        Ok(queue)
                    }
                }
            }

            /// Puts an item; waits while the queue is full.
            ///
            /// # Errors
            /// The item comes back: [`Closed`](PutError::Closed), [`Encode`](PutError::Encode) (nothing was put),
            /// [`NoSpace`](PutError::NoSpace), [`Corrupt`](PutError::Corrupt).
            ///
            /// ```
            #[doc = concat!("let queue = crossproc::", stringify!($name), "::bounded(3)?;")]
            /// queue.put(("a".to_string(), 1.5))?;
            /// assert_eq!((queue.len(), queue.get()?), (1, ("a".to_string(), 1.5)));
            /// # Ok::<(), crossproc::Error>(())
            /// ```
            #[inline]
            pub fn put(&self, item: T) -> Result<(), PutError<T>> {
                self.add(&item, Timeout::Never).map_err(|failure| PutError::of(item, failure))
            }

            /// Puts an item if there is room.
            ///
            /// # Errors
            /// [`Full`](TryPutError::Full), or as [`put`](Self::put); the item comes back.
            ///
            /// ```
            /// use crossproc::TryPutError;
            #[doc = concat!("let queue = crossproc::", stringify!($name), "::bounded(1)?;")]
            /// assert_eq!((queue.try_put(1), queue.try_put(2)), (Ok(()), Err(TryPutError::Full(2))));
            /// # Ok::<(), crossproc::Error>(())
            /// ```
            #[inline]
            pub fn try_put(&self, item: T) -> Result<(), TryPutError<T>> {
                self.add(&item, Timeout::Now).map_err(|failure| TryPutError::of(item, failure))
            }

            /// Puts an item; waits for that long while the queue is full, by the monotonic clock.
            ///
            /// # Errors
            /// [`Timeout`](PutTimeoutError::Timeout), or as [`put`](Self::put); the item comes back.
            ///
            /// ```
            #[doc = concat!("let queue = crossproc::", stringify!($name), "::bounded(1)?;")]
            /// assert!(queue.put_timeout(7, std::time::Duration::from_secs(1)).is_ok());
            /// # Ok::<(), crossproc::Error>(())
            /// ```
            pub fn put_timeout(&self, item: T, duration: Duration) -> Result<(), PutTimeoutError<T>> {
                let patience = Timeout::at_most(duration);
                self.add(&item, patience).map_err(|failure| PutTimeoutError::of(item, failure))
            }

            /// Puts all items, many at a time where they are short, which is faster than one by one; waits while the queue
            /// is full. Says how many there were. Others' items may come in between.
            ///
            /// # Errors
            /// As [`put`](Self::put), with the first item that was not put. At most 127 that had been taken from the
            /// iterator behind it are dropped.
            ///
            /// ```
            #[doc = concat!("let queue = crossproc::", stringify!($name), "::new()?;")]
            /// assert_eq!(queue.put_many(["a", "b"].map(String::from))?, 2);
            /// assert_eq!(queue.get_many(10)?, ["a", "b"]);
            /// # Ok::<(), crossproc::Error>(())
            /// ```
            pub fn put_many(&self, items: impl IntoIterator<Item = T>) -> Result<usize, PutError<T>> {
                let mut put = 0;
                // Those that are encoded and not put, behind them the one that stopped that.
                let (mut notes, mut waiting) = (Vec::new(), Vec::new());
                for item in items {
                    let mut note = Record::default();
                    match codec::encode(&item, &mut note) {
                        Ok(None) => {
                            notes.push(note);
                            waiting.push(item);
                            if notes.len() == BATCH {
                                put += self.add_notes(&mut notes, &mut waiting)?;
                            }
                        }
                        Ok(Some(encoded)) => {
                            put += self.add_notes(&mut notes, &mut waiting)?;
                            let sent = self.mail.send_encoded(encoded, Timeout::Never, &|| self.company(WaitFor::Room));
                            sent.map_err(|failure| PutError::of(item, failure))?;
                            put += 1;
                        }
                        Err(error) => {
                            self.add_notes(&mut notes, &mut waiting)?;
                            return Err(PutError::Encode(item, error));
                        }
                    }
                }
                Ok(put + self.add_notes(&mut notes, &mut waiting)?)
            }

            fn add_notes(&self, notes: &mut Vec<Record>, items: &mut Vec<T>) -> Result<usize, PutError<T>> {
                let mut put = 0;
                while put < notes.len() {
                    match self.mail.send_many(&notes[put..], Timeout::Never, &|| self.company(WaitFor::Room)) {
                        Ok(sent) => put += sent,
                        Err(stop) => return Err(PutError::of(items.swap_remove(put), stop.into())),
                    }
                }
                notes.clear();
                items.clear();
                Ok(put)
            }

            /// Takes the first item out; waits while the queue is empty.
            ///
            /// # Errors
            /// Of an empty queue: [`Closed`](GetError::Closed); [`Disconnected`](GetError::Disconnected) where others
            /// have held it and nobody does any more. [`Decode`](GetError::Decode) when the item is no `T`, or a handle
            /// in it leads nowhere: the item is gone. [`NoSpace`](GetError::NoSpace), [`Corrupt`](GetError::Corrupt).
            ///
            /// ```
            #[doc = concat!("let queue = crossproc::", stringify!($name), "::new()?;")]
            /// queue.put_many(['a', 'b'])?;
            /// assert_eq!((queue.get()?, queue.get()?), ('a', 'b'));
            /// # Ok::<(), crossproc::Error>(())
            /// ```
            #[inline]
            pub fn get(&self) -> Result<T, GetError> {
                let mut item = None;
                self.receive(&mut item, Timeout::Never)?;
                item.ok_or(GetError::Corrupt) // there is one
            }

            /// Takes the first item out if there is one.
            ///
            /// # Errors
            /// [`Empty`](TryGetError::Empty), or as [`get`](Self::get).
            ///
            /// ```
            /// use crossproc::TryGetError;
            #[doc = concat!("let queue = crossproc::", stringify!($name), "::new()?;")]
            /// queue.put(1u8)?;
            /// assert_eq!((queue.try_get(), queue.try_get()), (Ok(1), Err(TryGetError::Empty)));
            /// # Ok::<(), crossproc::Error>(())
            /// ```
            #[inline]
            pub fn try_get(&self) -> Result<T, TryGetError> {
                let mut item = None;
                self.receive(&mut item, Timeout::Now)?;
                item.ok_or(TryGetError::Corrupt)
            }

            /// Takes the first item out; waits for that long while the queue is empty, by the monotonic clock.
            ///
            /// # Errors
            /// [`Timeout`](GetTimeoutError::Timeout), or as [`get`](Self::get).
            ///
            /// ```
            #[doc = concat!("let queue = crossproc::", stringify!($name), "::new()?;")]
            /// queue.put(9u16)?;
            /// assert_eq!(queue.get_timeout(std::time::Duration::from_secs(1)), Ok(9));
            /// # Ok::<(), crossproc::Error>(())
            /// ```
            pub fn get_timeout(&self, duration: Duration) -> Result<T, GetTimeoutError> {
                let mut item = None;
                self.receive(&mut item, Timeout::at_most(duration))?;
                item.ok_or(GetTimeoutError::Corrupt)
            }

            /// Takes out what is there, at most `max` items and, unless `max` is 0, at least one: waits for that. They are in
            /// order, but others may take some that lie between them.
            ///
            /// # Errors
            /// As [`get`](Self::get), of the first item. One behind it that cannot be decoded stays for the next call.
            ///
            /// ```
            #[doc = concat!("let queue = crossproc::", stringify!($name), "::new()?;")]
            /// queue.put_many(0..7)?;
            /// assert_eq!((queue.get_many(5)?, queue.get_many(5)?), (vec![0, 1, 2, 3, 4], vec![5, 6]));
            /// # Ok::<(), crossproc::Error>(())
            /// ```
            ///
            /// # When a process dies
            /// The items of a call that did not return stay in the queue, or are gone, in order.
            pub fn get_many(&self, max: usize) -> Result<Vec<T>, GetError> {
                let mut items = Vec::new();
                if max == 0 {
                    return Ok(items);
                }
                items.push(self.get()?);
                while items.len() < max {
                    if !self.may_take_several() {
                        match self.try_get() {
                            Ok(item) => items.push(item),
                            Err(_) => break,
                        }
                        continue;
                    }
                    match self.mail.receive_values(max - items.len(), &mut items) {
                        Ok(taken) if taken > 0 => {}
                        _ => break,
                    }
                }
                Ok(items)
            }

            /// Puts bytes, as they are: for [`get_bytes`](Self::get_bytes).
            ///
            /// # Errors
            /// As [`put`](Self::put).
            ///
            /// ```
            #[doc = concat!("let queue = crossproc::", stringify!($name), "::<()>::new()?;")]
            /// queue.put_bytes(b"raw")?;
            /// queue.put_bytes(b"")?;
            /// assert_eq!((queue.get_bytes()?, queue.get_bytes()?), (b"raw".to_vec(), vec![]));
            /// # Ok::<(), crossproc::Error>(())
            /// ```
            pub fn put_bytes(&self, bytes: &[u8]) -> Result<(), PutError<()>> {
                let sent = self.mail.send(bytes, Flags::default(), Timeout::Never, &|| self.company(WaitFor::Room));
                sent.map(drop).map_err(|stop| PutError::of((), stop.into()))
            }

            /// Takes the bytes of the first item out, whatever it is; waits while the queue is empty.
            ///
            /// # Errors
            /// As [`get`](Self::get).
            ///
            /// ```
            #[doc = concat!("let queue = crossproc::", stringify!($name), "::<()>::new()?;")]
            /// queue.put_bytes(&[7; 1_000_000])?;
            /// assert_eq!(queue.get_bytes()?, vec![7; 1_000_000]);
            /// # Ok::<(), crossproc::Error>(())
            /// ```
            pub fn get_bytes(&self) -> Result<Vec<u8>, GetError> {
                Ok(self.receive_bytes()?)
            }

            /// Puts a slice, by one copy, without serde: for [`get_vec`](Self::get_vec).
            ///
            /// # Errors
            /// As [`put`](Self::put).
            ///
            /// ```
            #[doc = concat!("let queue = crossproc::", stringify!($name), "::<()>::new()?;")]
            /// queue.put_slice(&[1.5f32, 2.5])?;
            /// assert_eq!(queue.get_vec::<f32>()?, [1.5, 2.5]);
            /// # Ok::<(), crossproc::Error>(())
            /// ```
            pub fn put_slice<E: Element>(&self, items: &[E]) -> Result<(), PutError<()>> {
                self.put_bytes(marker::bytes_of(items))
            }

            /// Takes a slice out; waits while the queue is empty.
            ///
            /// # Errors
            /// As [`get`](Self::get); [`Decode`](GetError::Decode) when the item is none of such elements.
            ///
            /// ```
            #[doc = concat!("let queue = crossproc::", stringify!($name), "::<()>::new()?;")]
            /// queue.put_slice(&[1u8, 2])?;
            /// assert!(queue.get_vec::<bool>().is_err());
            /// # Ok::<(), crossproc::Error>(())
            /// ```
            pub fn get_vec<E: Element>(&self) -> Result<Vec<E>, GetError> {
                marker::from_bytes(&self.get_bytes()?).map_err(GetError::Decode)
            }

            /// How many items may be in at once; none where there is no limit.
            ///
            /// ```
            #[doc = concat!("assert_eq!(crossproc::", stringify!($name), "::<u8>::bounded(5)?.capacity(), Some(5));")]
            /// # Ok::<(), crossproc::Error>(())
            /// ```
            pub fn capacity(&self) -> Option<usize> {
                (self.items != UNBOUNDED).then_some(self.items)
            }

            /// Whether as many items as may be are in, exactly at this moment.
            ///
            /// ```
            #[doc = concat!("let queue = crossproc::", stringify!($name), "::bounded(1)?;")]
            /// queue.put(1)?;
            /// assert!(queue.is_full());
            /// # Ok::<(), crossproc::Error>(())
            /// ```
            pub fn is_full(&self) -> bool {
                self.capacity().is_some_and(|items| self.mail.len() >= items)
            }

            /// Nothing more goes in, for anybody and for good; what is in can be got. Wakes all who wait.
            ///
            /// ```
            #[doc = concat!("let queue = crossproc::", stringify!($name), "::bounded(5)?;")]
            /// queue.put(1)?;
            /// queue.close();
            /// assert!(queue.put(2).is_err() && queue.get() == Ok(1) && queue.get().is_err());
            /// # Ok::<(), crossproc::Error>(())
            /// ```
            pub fn close(&self) {
                self.mail.close();
            }

            /// The items, each taken out when it is asked for. Ends when the queue is closed and nothing is left, or behind
            /// one [`Disconnected`](GetError::Disconnected).
            ///
            /// ```
            #[doc = concat!("let queue = crossproc::", stringify!($name), "::bounded(5)?;")]
            /// queue.put_many([1, 2])?;
            /// queue.close();
            /// assert_eq!(queue.iter().collect::<Result<Vec<_>, _>>()?, [1, 2]);
            /// # Ok::<(), crossproc::Error>(())
            /// ```
            pub fn iter(&self) -> Iter<'_, T> {
                Iter { get: self, ended: false }
            }

            #[inline]
            fn add(&self, item: &T, patience: Timeout) -> Result<(), SendFailure> {
                self.mail.send_value(item, patience, &|| self.company(WaitFor::Room))
            }
        }

        impl<T: Message> Get<T> for $name<T> {
            fn get_one(&self) -> Result<T, GetError> {
                self.get()
            }
        }

        impl<'a, T: Message> IntoIterator for &'a $name<T> {
            type Item = Result<T, GetError>;
            type IntoIter = Iter<'a, T>;

            fn into_iter(self) -> Iter<'a, T> {
                self.iter()
            }
        }
    };
}
pub(super) use queue_methods;
