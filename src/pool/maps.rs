//! Maps: of a pool, and of a pool whose chunks have a size.

use super::Pool;
use super::job::{All, Call, Task, caught};
use super::promise::Promise;
use super::result::AsyncResult;
use crate::{Message, TaskError};
use std::sync::Arc;

/// A pool whose maps send so many inputs at a time; from [`Pool::chunksize`].
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

impl<'p> Chunked<'p> {
    pub(super) fn new(pool: &'p Pool, size: usize) -> Self {
        Chunked { pool, size }
    }

    fn parts(&self) -> (&Pool, Option<usize>) {
        (self.pool, Some(self.size))
    }
}

/// So that each worker has four chunks, as in Python.
fn usual_size(items: usize, processes: usize) -> usize {
    items.div_ceil(processes.saturating_mul(4)).max(1)
}

/// Starts a map. Inputs are taken only for a pool that can work at them.
pub(super) fn start<A: Message, R: Message>(
    pool: &Pool,
    size: Option<usize>,
    task: Result<Task<A>, TaskError>,
    items: impl Iterator<Item = A>,
    waits: bool,
) -> AsyncResult<Vec<R>> {
    let hub = &pool.hub;
    let ready = hub.check().and(task).and_then(|task| match size {
        Some(0) => Err(TaskError::ChunkSize),
        _ => Ok(task),
    });
    let task = match ready {
        Ok(task) => task,
        Err(error) => return AsyncResult::kept(Err(error)),
    };
    let items: Vec<A> = items.collect();
    if items.is_empty() {
        return AsyncResult::kept(Ok(Vec::new()));
    }
    let count = items.len();
    let size = size.unwrap_or_else(|| usual_size(count, hub.plan.processes));
    let promise = Promise::new();
    let job = Call::<A, R, _>::new(task, items, All::new(promise.clone(), count, hub));
    match hub.submit(job.clone(), (0, count), size, waits) {
        Ok(()) => AsyncResult::of(promise, hub.clone(), job),
        Err(error) => AsyncResult::kept(Err(error)),
    }
}

/// A map with a shared value: this thread gives it to each worker that asks for it.
pub(super) fn with<S: Message, T: Message, R: Message>(
    pool: &Pool,
    size: Option<usize>,
    shared: &S,
    f: fn(&S, T) -> R,
    items: impl Iterator<Item = T>,
) -> Result<Vec<R>, TaskError> {
    let hub = &pool.hub;
    hub.check()?;
    if let Some(error) = hub.refusal() {
        return Err(error);
    }
    if size == Some(0) {
        return Err(TaskError::ChunkSize);
    }
    let items: Vec<_> = items.map(|item| (item,)).collect();
    if items.is_empty() {
        return Ok(Vec::new());
    }
    /// Nobody is to ask for it any more, nor to wait for it, also when an encoding panics.
    struct Offer<'a>(&'a super::shared::PoolShared, u64);
    impl Drop for Offer<'_> {
        fn drop(&mut self) {
            self.0.withdraw(self.1);
        }
    }
    let (number, oldest) = hub.share();
    let offer = Offer(hub, number);
    let count = items.len();
    let size = size.unwrap_or_else(|| usual_size(count, hub.plan.processes));
    let promise = Promise::new();
    let job =
        Call::<(T,), R, _>::giving(Task::with(f, (number, oldest))?, items, All::new(promise.clone(), count, hub));
    hub.offer(number, job.clone());
    hub.submit(job.clone(), (0, count), size, true)?;
    while !promise.is_done() {
        hub.drive(&|thread| promise.await_by(thread) && !job.has_wants(), None);
        for to in job.take_wants() {
            // A worker that is gone does not want it any more; what cannot be encoded, it hears by the end of the pipe.
            let serving = hub.serve(); // until it has this, a worker does nothing else
            let sent = caught("encoding", || match to?.send_and_keep(shared) {
                Err(crate::SendError::Encode(error)) => Err(error),
                sent => Ok(sent),
            });
            drop(serving);
            match sent {
                Ok(Ok(custody)) => custody.into_iter().for_each(|custody| job.keep(custody)),
                Ok(Err(_)) => {}
                Err(error) => {
                    hub.cancel(&(job.clone() as Arc<dyn super::job::Job>));
                    promise.resolve(Err(TaskError::Encode(error)), hub);
                }
            }
        }
    }
    drop(offer);
    promise.take().unwrap_or(Err(TaskError::PoolClosed))
}

macro_rules! maps {
    ($type:ty, $chunks:literal) => {
        impl $type {
            /// Maps a function over inputs, and waits for all results, which come in the inputs' order.
            ///
            /// The function is an `fn`, or a closure without captures. The inputs are all taken from the iterator first.
            ///
            /// # Errors
            /// When all inputs have been worked at: that of the first that failed, with its index if that is one of
            /// a panic or a death. See [`TaskError`].
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
                $crate::pool::maps::start(pool, size, $crate::pool::job::Task::of(f), items, true).get()
            }

            /// The same, with the results to come.
            ///
            /// ```
            #[doc = concat!("let pool = crossproc::Pool::new(2)?;\nlet later = pool", $chunks, ".map_async(|x| x * x, 0..4);")]
            /// assert_eq!(later.get()?, [0, 1, 4, 9]);
            /// # Ok::<(), crossproc::Error>(())
            /// ```
            pub fn map_async<I: IntoIterator, R: Message>(&self, f: fn(I::Item) -> R, items: I) -> $crate::AsyncResult<Vec<R>>
            where
                I::Item: Message,
            {
                let (pool, size) = self.parts();
                let items = items.into_iter().map(|item| (item,));
                $crate::pool::maps::start(pool, size, $crate::pool::job::Task::of(f), items, false)
            }

            /// Maps a function of several arguments over tuples.
            ///
            /// # Errors
            /// As `map`.
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
                $crate::pool::maps::start(pool, size, $crate::pool::job::Task::of(f), items, true).get()
            }

            /// The same, with the results to come.
            ///
            /// ```
            #[doc = concat!("let pool = crossproc::Pool::new(2)?;\nlet later = pool", $chunks, ".starmap_async(u64::pow, [(2, 10)]);")]
            /// assert_eq!(later.get()?, [1024]);
            /// # Ok::<(), crossproc::Error>(())
            /// ```
            pub fn starmap_async<I: IntoIterator, M, F: $crate::Entry<I::Item, M>>(&self, f: F, items: I) -> $crate::AsyncResult<Vec<F::Output>>
            where
                I::Item: Message,
            {
                const { $crate::entry::captures_nothing::<F>() };
                let (pool, size) = self.parts();
                let items = items.into_iter();
                $crate::pool::maps::start(pool, size, $crate::pool::job::Task::of(f), items, false)
            }

            /// Maps a function of a shared value and an input. The value goes to each worker once, as it is now, and is kept there until
            /// the next such map.
            ///
            /// # Errors
            /// As `map`.
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
                $crate::pool::maps::with(pool, size, shared, f, items.into_iter())
            }
        }
    };
}
pub(super) use maps;

maps!(Chunked<'_>, ".chunksize(3)");
