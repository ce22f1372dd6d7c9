//! `Imap`: a map whose inputs are taken as they are needed, and whose results are given as they are asked for.

use super::Pool;
use super::job::{Call, Sink, Task};
use super::shared::{PoolShared, locked};
use crate::sys::Deadline;
use crate::{Message, TaskError};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::thread::Thread;
use std::time::Duration;

type Job<I, R> = Arc<Call<(<I as Iterator>::Item,), R, Stream<R>>>;

/// The results of a map without end; from [`Pool::imap`] and [`Pool::imap_unordered`].
///
/// Inputs are taken from their iterator in calls of `next` alone, so it may borrow what it likes. At most
/// [`buffer`](Imap::buffer) inputs, and at least one chunk, are taken whose results were not given out yet; as many as that, as soon as
/// results are asked for, so an iterator that waits for results of its own inputs needs a buffer of 1. Dropping it takes back what has
/// not begun.
///
/// ```
/// let pool = crossproc::Pool::new(2)?;
/// let text = "some words\nand some more";
/// let counts = pool.imap(|line: String| line.split(' ').count(), text.lines().map(String::from)).chunksize(10);
/// assert_eq!(counts.collect::<Result<Vec<_>, _>>()?, [2, 3]);
/// # Ok::<(), crossproc::Error>(())
/// ```
///
/// # When a process dies
/// See [`Pool`]: the input that a worker died with is an error among the other results.
#[must_use = "nothing is done before `next`"]
pub struct Imap<'p, I: Iterator, R> {
    pool: &'p Pool,
    items: Option<I>,
    chunk: usize,
    buffer: usize,
    job: Result<Job<I, R>, TaskError>,
    stream: Stream<R>,
    /// So many inputs were taken, and so many results given out.
    taken: usize,
    given: usize,
    /// An error of the whole was given out.
    ended: bool,
    #[cfg(feature = "progress")]
    progress: Option<super::progress::Progress>,
}

impl<I: Iterator, R> std::fmt::Debug for Imap<'_, I, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Imap").field("taken", &self.taken).field("given", &self.given).finish_non_exhaustive()
    }
}

/// Results that have come.
struct Stream<R>(Arc<Mutex<Came<R>>>);

impl<R> Clone for Stream<R> {
    fn clone(&self) -> Self {
        Stream(self.0.clone())
    }
}

struct Came<R> {
    by_number: BTreeMap<usize, Result<R, TaskError>>,
    in_turn: VecDeque<Result<R, TaskError>>,
    in_order: bool,
    /// The next that is wanted, where they are wanted in order.
    next: usize,
    thread: Option<Thread>,
    is_over: bool,
}

impl<R> Came<R> {
    fn is_there(&self) -> bool {
        if self.in_order { self.by_number.contains_key(&self.next) } else { !self.in_turn.is_empty() }
    }

    fn take(&mut self) -> Option<Result<R, TaskError>> {
        if !self.in_order {
            return self.in_turn.pop_front();
        }
        let answer = self.by_number.remove(&self.next)?;
        self.next += 1;
        Some(answer)
    }
}

impl<R: Message> Sink<R> for Stream<R> {
    fn put(&self, item: usize, answer: Result<R, TaskError>, _: &PoolShared) {
        let mut came = locked(&self.0);
        if came.is_over {
            drop(came);
            return drop(answer);
        }
        match came.in_order {
            true => drop(came.by_number.insert(item, answer)),
            false => came.in_turn.push_back(answer),
        }
        if came.is_there()
            && let Some(thread) = came.thread.take()
        {
            drop(came);
            thread.unpark();
        }
    }

    fn is_over(&self) -> bool {
        locked(&self.0).is_over
    }
}

impl<'p, I: Iterator, R: Message> Imap<'p, I, R>
where
    I::Item: Message,
{
    pub(super) fn new(pool: &'p Pool, f: fn(I::Item) -> R, items: I, in_order: bool) -> Self {
        let stream = Stream(Arc::new(Mutex::new(Came {
            by_number: BTreeMap::new(),
            in_turn: VecDeque::new(),
            in_order,
            next: 0,
            thread: None,
            is_over: false,
        })));
        let task = pool.hub.check().and_then(|()| Task::of(f));
        let job = task.map(|task| Call::new(task, Vec::new(), stream.clone()));
        Imap {
            pool,
            #[cfg(feature = "progress")]
            progress: pool.hub.progress(items.size_hint().1),
            items: Some(items),
            chunk: 1,
            buffer: 4 * pool.hub.plan.processes,
            job,
            stream,
            taken: 0,
            given: 0,
            ended: false,
        }
    }

    /// Takes inputs, as many as may be, and has them worked at. False: there is nothing to wait for.
    fn feed(&mut self) -> Result<bool, TaskError> {
        if self.chunk == 0 {
            return Err(TaskError::ChunkSize);
        }
        while let Some(items) = &mut self.items {
            let ahead = self.taken - self.given;
            let room = self.buffer.saturating_sub(ahead);
            // A whole chunk, unless nothing is on its way: then what may be taken, but one at least.
            let count = match room >= self.chunk {
                true => self.chunk,
                false if ahead == 0 => room.max(1),
                false => break,
            };
            self.pool.hub.check()?; // before an input is taken that nobody would work at
            let more: Vec<_> = items.take(count).map(|item| (item,)).collect();
            if more.len() < count {
                self.items = None;
            }
            if more.is_empty() {
                break;
            }
            let job = self.job.clone()?;
            let (from, to) = (self.taken, self.taken + more.len());
            job.extend(more);
            self.pool.hub.submit(job, (from, to), self.chunk, true)?;
            self.taken = to;
        }
        Ok(self.taken > self.given)
    }

    /// None when the time is over.
    fn next_until(&mut self, deadline: Option<Deadline>) -> Option<Option<Result<R, TaskError>>> {
        if self.ended {
            return Some(None);
        }
        match self.feed() {
            Ok(true) => {}
            Ok(false) => {
                self.end();
                return Some(None);
            }
            // What is on its way comes first.
            Err(error) if self.taken == self.given => {
                self.end();
                return Some(Some(Err(error)));
            }
            Err(_) => {}
        }
        let register = |thread: Thread| {
            let mut came = locked(&self.stream.0);
            came.thread = Some(thread);
            !came.is_there()
        };
        let hub = &self.pool.hub;
        let refusal = || hub.refusal().filter(|_| !locked(&self.stream.0).is_there());
        if !hub.drive(&register, deadline) && deadline.is_some() && refusal().is_none() {
            return None;
        }
        let Some(answer) = locked(&self.stream.0).take() else {
            let error = refusal().unwrap_or(TaskError::PoolClosed);
            self.end();
            return Some(Some(Err(error)));
        };
        self.given += 1;
        #[cfg(feature = "progress")]
        self.progress.iter().for_each(|progress| progress.step());
        Some(Some(answer))
    }

    /// The next result, if it comes within that time, by the monotonic clock; else [`Timeout`](TaskError::Timeout), and a later call
    /// may give it. The time that the iterator takes for inputs comes on top.
    ///
    /// ```
    /// use std::time::Duration;
    /// let pool = crossproc::Pool::new(1)?;
    /// let mut slow = pool.imap(|ms| std::thread::sleep(Duration::from_millis(ms)), [200]);
    /// assert!(slow.next_timeout(Duration::from_millis(1)).unwrap().unwrap_err().is_timeout());
    /// slow.next().unwrap()?;
    /// assert!(slow.next_timeout(Duration::ZERO).is_none());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn next_timeout(&mut self, duration: Duration) -> Option<Result<R, TaskError>> {
        self.next_until(Some(Deadline::after(duration))).unwrap_or(Some(Err(TaskError::Timeout)))
    }
}

impl<I: Iterator, R> Imap<'_, I, R> {
    /// So many inputs go to a worker at a time: 1 unless told otherwise; 0 makes the first result
    /// [`ChunkSize`](TaskError::ChunkSize).
    ///
    /// ```
    /// let pool = crossproc::Pool::new(2)?;
    /// assert_eq!(pool.imap(|x| x + 1, 0..100).chunksize(7).map(Result::unwrap).sum::<i32>(), 5050);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn chunksize(mut self, k: usize) -> Self {
        self.buffer = self.buffer.max(k.saturating_mul(2 * self.pool.hub.plan.processes));
        self.chunk = k;
        self
    }

    /// At most so many inputs are taken from their iterator whose results were not given out: four for each worker unless told
    /// otherwise, or two chunks. With 0 it is one.
    ///
    /// ```
    /// use std::cell::Cell;
    /// let (pool, taken) = (crossproc::Pool::new(2)?, Cell::new(0));
    /// let inputs = (0..).inspect(|_| taken.set(taken.get() + 1));
    /// assert_eq!(pool.imap(|x| x, inputs).buffer(16).take(100).count(), 100);
    /// assert!(taken.get() <= 116);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn buffer(mut self, k: usize) -> Self {
        self.buffer = k;
        self
    }

    fn end(&mut self) {
        self.ended = true;
        self.items = None;
        #[cfg(feature = "progress")]
        self.progress.take().iter().for_each(|progress| progress.end());
    }
}

impl<I: Iterator, R: Message> Iterator for Imap<'_, I, R>
where
    I::Item: Message,
{
    type Item = Result<R, TaskError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_until(None)?
    }
}

impl<I: Iterator, R> Drop for Imap<'_, I, R> {
    fn drop(&mut self) {
        let mut came = locked(&self.stream.0);
        came.is_over = true;
        let results = (std::mem::take(&mut came.by_number), std::mem::take(&mut came.in_turn));
        drop(came);
        drop(results);
        self.pool.hub.sweep();
        self.end();
    }
}
