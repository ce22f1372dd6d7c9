//! Maps: of a pool, and of a pool with a chunk size.

use super::job::{Job, TaskCode, TypedJob};
use super::pool::Pool;
use super::promise::Promise;
use super::protocol::SharedId;
use super::reentrancy::caught;
use super::result::AsyncResult;
use super::shared::PoolShared;
use super::shared_requests::SharedRequests;
use super::sinks::OrderedResults;
use crate::segment::transfer::InFlightGuard;
use crate::{CodecError, Message, TaskError};
use std::sync::Arc;

impl Pool {
    /// Returns this pool with a chunk size: its maps send `k` inputs at a time. 0 makes them return
    /// [`ChunkSize`](TaskError::ChunkSize).
    ///
    /// Without it, a chunk is a quarter of a worker's share: few messages, and all workers end at about the same time.
    ///
    /// ```
    /// let pool = crossproc::Pool::new(2)?;
    /// assert_eq!(pool.chunksize(7).map(|x| x * x, 0..100)?.len(), 100);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn chunksize(&self, k: usize) -> Chunked<'_> {
        Chunked { pool: self, size: k }
    }

    fn parts(&self) -> (&Pool, Option<usize>) {
        (self, None)
    }
}

/// A pool with a chunk size, from [`Pool::chunksize`].
///
/// ```
/// let pool = crossproc::Pool::new(2)?;
/// let one_by_one = pool.chunksize(1);
/// assert_eq!(one_by_one.map(|x| x + 1, 0..3)?, [1, 2, 3]);
/// # Ok::<(), crossproc::Error>(())
/// ```
#[derive(Debug)]
pub struct Chunked<'p> {
    pool: &'p Pool,
    size: usize,
}

impl Chunked<'_> {
    fn parts(&self) -> (&Pool, Option<usize>) {
        (self.pool, Some(self.size))
    }
}

/// The chunk size of a map: as given, or so that each worker has four chunks, as in Python.
fn chunk_size(pool: &Pool, size: Option<usize>, items: usize) -> usize {
    size.unwrap_or_else(|| items.div_ceil(pool.shared.config.processes.saturating_mul(4)).max(1))
}

fn check(pool: &Pool, size: Option<usize>) -> Result<(), TaskError> {
    pool.shared.check()?;
    if size == Some(0) { Err(TaskError::ChunkSize) } else { Ok(()) }
}

/// Starts a map. Inputs are taken from the iterator only if the pool can run them.
fn start<A: Message, R: Message>(
    pool: &Pool,
    size: Option<usize>,
    task: Result<TaskCode<A>, TaskError>,
    items: impl Iterator<Item = A>,
    waits: bool,
) -> AsyncResult<Vec<R>> {
    match check(pool, size).and(task) {
        Ok(task) => start_with(pool, size, task, items.collect(), waits),
        Err(error) => AsyncResult::ready_with(Err(error)),
    }
}

fn start_with<A: Message, R: Message>(
    pool: &Pool,
    size: Option<usize>,
    task: TaskCode<A>,
    items: Vec<A>,
    waits: bool,
) -> AsyncResult<Vec<R>> {
    if items.is_empty() {
        return AsyncResult::ready_with(Ok(Vec::new()));
    }
    let (shared, count) = (&pool.shared, items.len());
    let promise = Promise::new();
    let sink = OrderedResults::<R>::new(promise.clone(), count, shared.progress(Some(count)));
    let job = TypedJob::new(task, items, sink);
    match shared.submit(job.clone(), (0, count), chunk_size(pool, size, count), waits) {
        Ok(()) => AsyncResult::of(promise, shared.clone(), job),
        Err(error) => AsyncResult::ready_with(Err(error)),
    }
}

/// The number of a shared value, which is given up when this is dropped: later requests are refused, also if an
/// encoding panics.
struct Reservation<'a> {
    shared: &'a PoolShared,
    id: SharedId,
}

impl<'a> Reservation<'a> {
    fn new(shared: &'a PoolShared) -> Self {
        Reservation { shared, id: shared.lock().values.reserve() }
    }

    fn start(&self, job: Arc<dyn Job>) {
        self.shared.lock().values.insert(self.id.number, job);
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        let job = self.shared.lock().values.remove(self.id.number);
        // A thread that reads a request now may hold the job. It would keep the request, and so the worker would wait
        // for ever.
        job.iter().for_each(|job| job.end_requests());
        drop(job); // without the lock: it has the program's inputs
    }
}

/// A map with a shared value. This thread sends the value to each worker that requests it.
fn map_with<S: Message, T: Message, R: Message>(
    pool: &Pool,
    size: Option<usize>,
    value: &S,
    f: fn(&S, T) -> R,
    items: impl Iterator<Item = T>,
) -> Result<Vec<R>, TaskError> {
    let shared = &*pool.shared;
    shared.check()?;
    if let Some(error) = shared.refusal() {
        return Err(error);
    }
    check(pool, size)?;
    let items: Vec<_> = items.map(|item| (item,)).collect();
    if items.is_empty() {
        return Ok(Vec::new());
    }
    let reservation = Reservation::new(shared);
    let count = items.len();
    let promise = Promise::new();
    let sink = OrderedResults::<R>::new(promise.clone(), count, shared.progress(Some(count)));
    let job = TypedJob::serving_value(TaskCode::with_shared(f, reservation.id)?, items, sink);
    reservation.start(job.clone());
    shared.submit(job.clone(), (0, count), chunk_size(pool, size, count), true)?;
    while !promise.is_done() {
        shared.wait_until(&|thread| promise.register_thread(thread) && !job.requests.are_there(), None);
        if let Err(error) = serve_requests(shared, &job.requests, value) {
            shared.cancel(&(job.clone() as Arc<dyn Job>));
            promise.resolve(Err(TaskError::Encode(error)), shared);
        }
    }
    drop(reservation);
    promise.take().unwrap_or(Err(TaskError::PoolClosed))
}

/// Sends the value to the workers that request it. Returns the last error of the encoding.
fn serve_requests<S: Message>(shared: &PoolShared, requests: &SharedRequests, value: &S) -> Result<(), CodecError> {
    let mut result = Ok(());
    for request in requests.take() {
        let mark = shared.mark_user_code(); // the worker does nothing else until it has the value
        let sent: Result<Option<InFlightGuard>, _> = caught("encoding", || match request?.send_and_keep(value) {
            Err(crate::SendError::Encode(error)) => Err(error),
            // Another error: the worker is gone, and does not need the value.
            sent => Ok(sent.unwrap_or_default()),
        });
        drop(mark);
        match sent {
            Ok(handles) => handles.into_iter().for_each(|handles| requests.keep_handles(handles)),
            Err(error) => result = Err(error), // the worker sees the end of its pipe
        }
    }
    result
}

macro_rules! maps {
    ($type:ty, $chunks:literal) => {
        impl $type {
            /// Maps a function over inputs, waits for all results, and returns them in the order of the inputs.
            ///
            /// The function is an `fn`, or a closure without captures. All inputs are taken from the iterator first.
            ///
            /// # Errors
            /// The error of the first input that failed, after all inputs have been run. Errors of a panic or a death
            /// have the index of their input. See [`TaskError`].
            ///
            /// ```
            /// use crossproc::{Pool, TaskError};
            #[doc = concat!("let pool = Pool::new(2)?;\nassert_eq!(pool", $chunks, ".map(|x| x * x, 0..4)?, [0, 1, 4, 9]);")]
            #[doc = concat!("let failed = pool", $chunks, ".map(|x| if x > 1 { std::process::abort() } else { x }, 0..4);")]
            /// assert!(matches!(failed, Err(TaskError::WorkerDied { index: Some(2), exit_code: -6, .. })));
            /// # Ok::<(), crossproc::Error>(())
            /// ```
            pub fn map<I: IntoIterator, R: Message>(&self, f: fn(I::Item) -> R, items: I) -> Result<Vec<R>, TaskError>
            where
                I::Item: Message,
            {
                let (pool, size) = self.parts();
                let items = items.into_iter().map(|item| (item,));
                start(pool, size, TaskCode::of(f), items, true).get()
            }

            /// Starts a [`map`](Self::map), and returns the results to come.
            ///
            /// ```
            #[doc = concat!("let pool = crossproc::Pool::new(2)?;\nlet later = pool", $chunks, ".map_async(|x| x * x, 0..4);")]
            /// assert_eq!(later.get()?, [0, 1, 4, 9]);
            /// # Ok::<(), crossproc::Error>(())
            /// ```
            pub fn map_async<I: IntoIterator, R: Message>(&self, f: fn(I::Item) -> R, items: I) -> AsyncResult<Vec<R>>
            where
                I::Item: Message,
            {
                let (pool, size) = self.parts();
                let items = items.into_iter().map(|item| (item,));
                start(pool, size, TaskCode::of(f), items, false)
            }

            /// Maps a function of several arguments over tuples, waits for all results, and returns them in the order
            /// of the inputs.
            ///
            /// # Errors
            /// Those of [`map`](Self::map).
            ///
            /// ```
            #[doc = concat!("let pool = crossproc::Pool::new(2)?;\nassert_eq!(pool", $chunks, ".starmap(u64::pow, [(1, 2), (2, 3)])?, [1, 8]);")]
            /// # Ok::<(), crossproc::Error>(())
            /// ```
            pub fn starmap<I: IntoIterator, M, F: $crate::Entry<I::Item, M>>(&self, f: F, items: I) -> Result<Vec<F::Output>, TaskError>
            where
                I::Item: Message,
            {
                const { $crate::entry::captures_nothing::<F>() };
                let (pool, size) = self.parts();
                let items = items.into_iter();
                start(pool, size, TaskCode::of(f), items, true).get()
            }

            /// Starts a [`starmap`](Self::starmap), and returns the results to come.
            ///
            /// ```
            #[doc = concat!("let pool = crossproc::Pool::new(2)?;\nlet later = pool", $chunks, ".starmap_async(u64::pow, [(2, 10)]);")]
            /// assert_eq!(later.get()?, [1024]);
            /// # Ok::<(), crossproc::Error>(())
            /// ```
            pub fn starmap_async<I: IntoIterator, M, F: $crate::Entry<I::Item, M>>(&self, f: F, items: I) -> AsyncResult<Vec<F::Output>>
            where
                I::Item: Message,
            {
                const { $crate::entry::captures_nothing::<F>() };
                let (pool, size) = self.parts();
                let items = items.into_iter();
                start(pool, size, TaskCode::of(f), items, false)
            }

            /// Maps a function of a shared value and an input. The current value is sent to each worker once, and kept
            /// there until the next such map.
            ///
            /// # Errors
            /// Those of [`map`](Self::map).
            ///
            /// ```
            /// let weights = vec![1.0, 2.0, 3.0];
            #[doc = concat!("let pool = crossproc::Pool::new(2)?;\nlet doubled = pool", $chunks, ".map_with(&weights, |w, i: usize| w[i] * 2.0, 0..3)?;")]
            /// assert_eq!(doubled, [2.0, 4.0, 6.0]);
            /// # Ok::<(), crossproc::Error>(())
            /// ```
            pub fn map_with<S: Message, I: IntoIterator, R: Message>(&self, shared: &S, f: fn(&S, I::Item) -> R, items: I) -> Result<Vec<R>, TaskError>
            where
                I::Item: Message,
            {
                let (pool, size) = self.parts();
                map_with(pool, size, shared, f, items.into_iter())
            }
        }
    };
}
maps!(Pool, "");
maps!(Chunked<'_>, ".chunksize(3)");
