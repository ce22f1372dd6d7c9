//! `Imap`: a map that takes inputs from its iterator as they are needed, and returns results one by one.

use super::completion::Completion;
use super::job::{TaskCode, TypedJob};
use super::locked::locked;
use super::pool::Pool;
use super::progress::MapProgress;
use super::sinks::ResultSink;
use crate::sys::Deadline;
use crate::{Message, TaskError};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::thread::Thread;
use std::time::Duration;

type ImapJob<I, R> = Arc<TypedJob<(<I as Iterator>::Item,), ResultStream<R>>>;

/// An iterator over the results of a map whose inputs may be endless; from [`Pool::imap`] and [`Pool::imap_unordered`].
///
/// Inputs are taken from their iterator in calls of `next` only, so the iterator may borrow. Each call takes inputs
/// until [`buffer`](Imap::buffer) inputs, or at least one chunk, are taken whose results were not returned yet. An
/// iterator that waits for results of its own inputs therefore needs a buffer of 1. Dropping an `Imap` takes back
/// inputs that no worker has begun.
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
#[must_use = "no input is taken before `next` is called"]
pub struct Imap<'p, I: Iterator, R> {
    pool: &'p Pool,
    items: Option<I>,
    chunk: usize,
    buffer: usize,
    job: Result<ImapJob<I, R>, TaskError>,
    stream: ResultStream<R>,
    /// How many inputs were taken, and how many results were returned.
    taken: usize,
    returned: usize,
    /// There are no more results.
    ended: bool,
    progress: Option<MapProgress>,
}

impl Pool {
    /// Maps a function over inputs, and returns an iterator over the results, in order. Inputs are taken only as they
    /// are needed, so they may be endless; see [`Imap`] for how many are taken ahead. An input that fails is an error
    /// among the results.
    ///
    /// ```
    /// let pool = crossproc::Pool::new(2)?;
    /// let squares: Result<Vec<u64>, _> = pool.imap(|x| x * x, 0..).take(4).collect();
    /// assert_eq!(squares?, [0, 1, 4, 9]);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn imap<I: IntoIterator, R: Message>(&self, f: fn(I::Item) -> R, items: I) -> Imap<'_, I::IntoIter, R>
    where
        I::Item: Message,
    {
        Imap::new(self, f, items.into_iter(), true)
    }

    /// Maps like [`imap`](Pool::imap), but returns each result as soon as it has come.
    ///
    /// ```
    /// let pool = crossproc::Pool::new(2)?;
    /// let mut squares = pool.imap_unordered(|x| x * x, 0..4).collect::<Result<Vec<u64>, _>>()?;
    /// squares.sort();
    /// assert_eq!(squares, [0, 1, 4, 9]);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn imap_unordered<I: IntoIterator, R: Message>(&self, f: fn(I::Item) -> R, items: I) -> Imap<'_, I::IntoIter, R>
    where
        I::Item: Message,
    {
        Imap::new(self, f, items.into_iter(), false)
    }
}

impl<I: Iterator, R> std::fmt::Debug for Imap<'_, I, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Imap").field("taken", &self.taken).field("returned", &self.returned).finish_non_exhaustive()
    }
}

/// Results that have come and were not returned.
struct ResultStream<R>(Arc<Mutex<ReadyResults<R>>>);

impl<R> Clone for ResultStream<R> {
    fn clone(&self) -> Self {
        ResultStream(self.0.clone())
    }
}

struct ReadyResults<R> {
    by_number: BTreeMap<usize, Result<R, TaskError>>,
    arrived: VecDeque<Result<R, TaskError>>,
    in_order: bool,
    /// The number of the next result, if they are returned in order.
    next: usize,
    thread: Option<Thread>,
    is_over: bool,
}

impl<R> ReadyResults<R> {
    fn is_there(&self) -> bool {
        if self.in_order { self.by_number.contains_key(&self.next) } else { !self.arrived.is_empty() }
    }

    fn take(&mut self) -> Option<Result<R, TaskError>> {
        if !self.in_order {
            return self.arrived.pop_front();
        }
        let answer = self.by_number.remove(&self.next)?;
        self.next += 1;
        Some(answer)
    }
}

impl<R: Message> ResultSink for ResultStream<R> {
    type Output = R;

    fn put(&self, item: usize, answer: Result<R, TaskError>, _: &dyn Completion) {
        let mut ready = locked(&self.0);
        if ready.is_over {
            drop(ready);
            return drop(answer);
        }
        match ready.in_order {
            true => drop(ready.by_number.insert(item, answer)),
            false => ready.arrived.push_back(answer),
        }
        if ready.is_there()
            && let Some(thread) = ready.thread.take()
        {
            drop(ready);
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
        let stream = ResultStream(Arc::new(Mutex::new(ReadyResults {
            by_number: BTreeMap::new(),
            arrived: VecDeque::new(),
            in_order,
            next: 0,
            thread: None,
            is_over: false,
        })));
        let task = pool.shared.check().and_then(|()| TaskCode::of(f));
        let job = task.map(|task| TypedJob::new(task, Vec::new(), stream.clone()));
        Imap {
            pool,
            progress: pool.shared.progress(items.size_hint().1),
            items: Some(items),
            chunk: 1,
            buffer: 4 * pool.shared.config.processes,
            job,
            stream,
            taken: 0,
            returned: 0,
            ended: false,
        }
    }

    /// Takes as many inputs as the buffer allows, and submits them. False: there is no result to wait for.
    fn feed(&mut self) -> Result<bool, TaskError> {
        if self.chunk == 0 {
            return Err(TaskError::ChunkSize);
        }
        while let Some(items) = &mut self.items {
            let ahead = self.taken - self.returned;
            let room = self.buffer.saturating_sub(ahead);
            // A whole chunk; if no result is outstanding, as many inputs as are allowed, but at least one.
            let count = match room >= self.chunk {
                true => self.chunk,
                false if ahead == 0 => room.max(1),
                false => break,
            };
            self.pool.shared.check()?; // before an input is taken that would not be run
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
            self.pool.shared.submit(job, (from, to), self.chunk, true)?;
            self.taken = to;
        }
        Ok(self.taken > self.returned)
    }

    /// The next result; None when the time is over.
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
            // Results that are outstanding come first.
            Err(error) if self.taken == self.returned => {
                self.end();
                return Some(Some(Err(error)));
            }
            Err(_) => {}
        }
        let register = |thread: Thread| {
            let mut ready = locked(&self.stream.0);
            ready.thread = Some(thread);
            !ready.is_there()
        };
        let shared = &self.pool.shared;
        let refusal = || shared.refusal().filter(|_| !locked(&self.stream.0).is_there());
        if !shared.wait_until(&register, deadline) && deadline.is_some() && refusal().is_none() {
            return None;
        }
        let Some(answer) = locked(&self.stream.0).take() else {
            let error = refusal().unwrap_or(TaskError::PoolClosed);
            self.end();
            return Some(Some(Err(error)));
        };
        self.returned += 1;
        self.progress.iter().for_each(MapProgress::step);
        Some(Some(answer))
    }

    /// Returns the next result if it comes within `duration` of the monotonic clock; otherwise
    /// [`Timeout`](TaskError::Timeout), and a later call may return it. The time that the iterator of inputs takes is
    /// not counted.
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
    /// Sets how many inputs are sent to a worker at a time; 1 by default. With 0 the first result is
    /// [`ChunkSize`](TaskError::ChunkSize).
    ///
    /// ```
    /// let pool = crossproc::Pool::new(2)?;
    /// assert_eq!(pool.imap(|x| x + 1, 0..100).chunksize(7).map(Result::unwrap).sum::<i32>(), 5050);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn chunksize(mut self, k: usize) -> Self {
        self.buffer = self.buffer.max(k.saturating_mul(2 * self.pool.shared.config.processes));
        self.chunk = k;
        self
    }

    /// Sets how many inputs may be taken from their iterator whose results were not returned; by default four for each
    /// worker, or two chunks for each worker if that is more. With 0 it is one.
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
        self.progress.take().iter().for_each(MapProgress::end);
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
        let mut ready = locked(&self.stream.0);
        ready.is_over = true;
        let results = (std::mem::take(&mut ready.by_number), std::mem::take(&mut ready.arrived));
        drop(ready);
        drop(results);
        self.pool.shared.take_back_over();
        self.end();
    }
}
