//! `Pool`: workers that wait for functions.

use super::builder::PoolBuilder;
use super::imap::Imap;
use super::insights::{Insights, WorkerInfo};
use super::job::{Call, One, Task};
use super::maps::{Chunked, maps};
use super::promise::Promise;
use super::result::AsyncResult;
use super::shared::{Phase, Plan, PoolShared, locked};
use super::supervisor::Crew;
use crate::entry::captures_nothing;
use crate::process::check_may_have_children;
use crate::sys::signals;
use crate::{Entry, Message, PoolError, TaskError};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

/// Processes that wait for functions to run.
///
/// ```
/// use crossproc::{Pool, Result};
/// fn cube(x: u64) -> u64 {
///     x * x * x
/// }
/// let pool = Pool::new(4)?;
/// assert_eq!(pool.map(cube, 0..5)?, [0, 1, 8, 27, 64]); // in order, spread over the workers
/// assert_eq!(pool.apply(|text: String| text.len(), ("four".to_string(),))?, 4);
/// let later = pool.apply_async(u64::pow, (2, 10));
/// assert_eq!(later.get()?, 1024);
/// # Ok::<(), crossproc::Error>(())
/// ```
///
/// A task is any [`Entry`] with any [`Message`]s: arguments and results of any length, with handles in them as well. Tasks go to
/// whichever worker is free. `map` and its kin send several inputs at a time, in chunks, unless [`chunksize`](Pool::chunksize)
/// says how many; the others send one.
///
/// Where a panic ends a task, the worker goes on; the result is [`Panicked`](TaskError::Panicked). Workers ignore Ctrl-C, which
/// is the program's to answer: by default it ends, and the workers with it; programs that a task starts ignore it as well, unless they
/// say otherwise. They inherit what children inherit
/// ([`Process`](crate::Process)), and have no values of statics but those that an
/// [`initializer`](PoolBuilder::initializer) sets.
///
/// A pool that is dropped is [terminated](Pool::terminate). To have all results first, wait for them, or [`close`](Pool::close)
/// and [`join`](Pool::join). Results are read by whoever waits for one; where nobody does, by a thread of the pool's. Another one starts
/// and watches the workers, and from the first callback on there is one for these.
///
/// # When a process dies
/// A worker, at any instruction: the input that it was working at has the result [`WorkerDied`](TaskError::WorkerDied), or is
/// tried again ([`retries`](PoolBuilder::retries)). Nothing else is lost, and nothing runs twice: results that it had are
/// delivered, inputs that it had not begun, also those of the same chunk, run elsewhere. Another worker takes its place. This
/// process: its workers die with it, whatever they do, at once. (What a task starts by itself is the program's; a copy of the worker, by
/// `fork`, ends where its task does.) Handles in tasks that came to nothing are given up; those in a result
/// that a worker was sending when somebody killed it, or that this process had no descriptors for, count until the family ends, as with
/// any message.
///
/// # Code that a pool runs in this process
/// Serde code of inputs and results, and their destructors, run in whichever thread needs them, callbacks in the pool's own. A
/// callback may wait for other tasks; the others may give the pool more tasks, but not wait for it, since somebody waits for them:
/// [`Deadlock`](TaskError::Deadlock), and [`join`](Pool::join) is [`StillRunning`](PoolError::StillRunning). (Nobody can tell where one
/// of them waits for a thread that waits for the pool: that lasts for ever, as with a lock.)
///
/// # What cannot be sent
/// What a closure captures stays behind, so captures do not compile; pass values as arguments, or share them by
/// [`map_with`](Pool::map_with):
///
/// ```compile_fail,E0308
/// let (pool, k) = (crossproc::Pool::new(1).unwrap(), 3);
/// pool.map(|x| x * k, 0..10).unwrap();
/// ```
/// ```text
/// error[E0308]: mismatched types
///   |     pool.map(|x| x * k, 0..10).unwrap();
///   |          --- ^^^^^^^^^ expected fn pointer, found closure
/// note: closures can only be coerced to `fn` types if they do not capture any variables
/// ```
///
/// A function of two arguments needs tuples, and [`starmap`](Pool::starmap):
///
/// ```compile_fail,E0308
/// fn add(a: i32, b: i32) -> i32 {
///     a + b
/// }
/// crossproc::Pool::new(1).unwrap().map(add, 0..3).unwrap();
/// ```
/// ```text
/// error[E0308]: mismatched types
///   |     crossproc::Pool::new(1).unwrap().map(add, 0..3).unwrap();
///   |                                      --- ^^^ incorrect number of function parameters
///   = note: expected fn pointer `fn({integer}) -> _`
///                 found fn item `fn(i32, i32) -> i32 {add}`
/// ```
///
/// References are no inputs, since what they lead to is not there, and a pool is no argument:
///
/// ```compile_fail
/// let words = vec!["a".to_string()];
/// crossproc::Pool::new(1).unwrap().map(|word| word.len(), &words).unwrap();
/// ```
/// ```compile_fail
/// let pool = crossproc::Pool::new(1).unwrap();
/// crossproc::Process::spawn(|pool: crossproc::Pool| drop(pool), (pool,)).unwrap();
/// ```
pub struct Pool {
    pub(super) hub: Arc<PoolShared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool")
            .field("processes", &self.hub.plan.processes)
            .field("name", &self.hub.plan.name)
            .finish_non_exhaustive()
    }
}

impl Pool {
    /// A pool of so many workers, which are daemons.
    ///
    /// # Errors
    /// [`Zero`](PoolError::Zero) for none; see [`PoolError`].
    ///
    /// ```
    /// let pool = crossproc::Pool::new(2)?;
    /// assert_eq!(pool.map(|x| x + 1, [1, 2, 3])?, [2, 3, 4]);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn new(n: usize) -> Result<Pool, PoolError> {
        Pool::builder().processes(n).build()
    }

    /// A pool that is told more.
    ///
    /// ```
    /// let pool = crossproc::Pool::builder().processes(2).retries(1).build()?;
    /// assert_eq!(pool.workers().len(), 2);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn builder() -> PoolBuilder {
        PoolBuilder::new()
    }

    pub(super) fn start(plan: Plan) -> Result<Pool, PoolError> {
        check_may_have_children()?;
        let hub = Arc::new(PoolShared::new(plan)?);
        let crew = Crew::start(hub.clone())?;
        let spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
            thread::Builder::new().name(name.into()).spawn(run).map_err(|error| PoolError::Spawn(error.into()))
        };
        let keeper = hub.clone();
        let keep = Box::new(move || {
            signals::block_signals(); // they are the program's
            keeper.keep();
        });
        let threads = spawn("crossproc-pool", keep)
            .and_then(|keeper| Ok((keeper, spawn("crossproc-crew", Box::new(move || crew.run()))?)));
        match threads {
            Ok((keeper, crew)) => Ok(Pool { hub, threads: Mutex::new(vec![keeper, crew]) }),
            Err(error) => {
                hub.end_all();
                Err(error)
            }
        }
    }

    /// Runs `f(args..)` in a worker, and waits for the result. The arguments are a tuple.
    ///
    /// # Errors
    /// [`TaskError`].
    ///
    /// ```
    /// use crossproc::{Pool, TaskError};
    /// let pool = Pool::new(2)?;
    /// assert_eq!(pool.apply(u64::pow, (2, 10))?, 1024);
    /// let died = pool.apply(|| std::process::exit(5), ());
    /// assert!(matches!(died, Err(TaskError::WorkerDied { exit_code: 5, index: None, .. })));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn apply<A: Message, M, F: Entry<A, M>>(&self, f: F, args: A) -> Result<F::Output, TaskError> {
        const { captures_nothing::<F>() };
        self.call(f, args, true).get()
    }

    /// Has `f(args..)` run in a worker, and gives the result to come. Tasks begin in the order in which they were given.
    ///
    /// ```
    /// let pool = crossproc::Pool::new(2)?;
    /// let results: Vec<_> = (0..10_u64).map(|n| pool.apply_async(|n: u64| n + 100, (n,))).collect();
    /// for (n, result) in (100..).zip(results) {
    ///     assert_eq!(result.get()?, n);
    /// }
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn apply_async<A: Message, M, F: Entry<A, M>>(&self, f: F, args: A) -> AsyncResult<F::Output> {
        const { captures_nothing::<F>() };
        self.call(f, args, false)
    }

    fn call<A: Message, M, F: Entry<A, M>>(&self, f: F, args: A, waits: bool) -> AsyncResult<F::Output> {
        let task = match self.hub.check().and_then(|()| Task::of(f)) {
            Ok(task) => task,
            Err(error) => return AsyncResult::kept(Err(error)),
        };
        let promise = Promise::new();
        let job = Call::new(task, vec![args], One(promise.clone()));
        match self.hub.submit(job.clone(), (0, 1), 1, waits) {
            Ok(()) => AsyncResult::of(promise, self.hub.clone(), job),
            Err(error) => AsyncResult::kept(Err(error)),
        }
    }

    /// The same pool, whose maps send so many inputs at a time. 0 makes them [`ChunkSize`](TaskError::ChunkSize).
    ///
    /// Without it, it is a quarter of each worker's share: few messages, and nobody works much longer than the others.
    ///
    /// ```
    /// let pool = crossproc::Pool::new(2)?;
    /// assert_eq!(pool.chunksize(7).map(|x| x * x, 0..100)?.len(), 100);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn chunksize(&self, k: usize) -> Chunked<'_> {
        Chunked::new(self, k)
    }

    /// Maps a function over inputs without end, in order: takes them from the iterator only as they are needed, and gives each result
    /// as it is asked for. See [`Imap`] for how far it looks ahead. An input that fails is an error among the others.
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

    /// The same, with the results as they come.
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

    /// No more tasks are taken; those that there are come to their end, and then the workers go. Once closed or terminated, it
    /// changes nothing.
    ///
    /// ```
    /// use crossproc::{Pool, TaskError};
    /// let pool = Pool::new(1)?;
    /// let before = pool.apply_async(|| 1, ());
    /// pool.close();
    /// assert_eq!((pool.apply(|| 2, ()), before.get()), (Err(TaskError::PoolClosed), Ok(1)));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn close(&self) {
        if self.hub.is_owner() {
            self.hub.close();
        }
    }

    /// Kills the workers. Every result that has not come is [`Cancelled`](TaskError::Cancelled).
    ///
    /// ```
    /// use crossproc::{Pool, TaskError};
    /// let pool = Pool::new(2)?;
    /// let result = pool.apply_async(|| loop { std::thread::park() }, ());
    /// pool.terminate();
    /// assert_eq!(result.get(), Err(TaskError::Cancelled));
    /// pool.join()?;
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn terminate(&self) {
        if self.hub.is_owner() {
            self.hub.terminate();
        }
    }

    /// Waits until a pool that was closed or terminated is at its end: all results have come, all callbacks have run, no worker is
    /// left. (In a callback, but for the callbacks.)
    ///
    /// # Errors
    /// [`StillRunning`](PoolError::StillRunning) before `close` or `terminate`; [`Broken`](PoolError::Broken) of a pool that broke.
    ///
    /// ```
    /// use crossproc::{Pool, PoolError};
    /// let pool = Pool::new(1)?;
    /// assert_eq!(pool.join(), Err(PoolError::StillRunning));
    /// pool.close();
    /// pool.join()?;
    /// pool.join()?; // again, at once
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn join(&self) -> Result<(), PoolError> {
        if !self.hub.is_owner() {
            return Ok(()); // in a fork, which has no workers
        }
        if self.hub.is_served_here() {
            return Err(PoolError::StillRunning); // with what this very code is for
        }
        let broken = match &self.hub.lock().phase {
            Phase::Running => return Err(PoolError::StillRunning),
            Phase::Closed | Phase::Terminated => None,
            Phase::Broken(why) => Some(PoolError::Broken(why.clone())),
        };
        self.wait_for_end();
        broken.map_or(Ok(()), Err)
    }

    fn parts(&self) -> (&Pool, Option<usize>) {
        (self, None)
    }

    fn wait_for_end(&self) {
        self.hub.wait_for_end();
        // A panic in them would be this crate's own; what there is to say, the panic hook has said.
        locked(&self.threads).drain(..).for_each(|thread| drop(thread.join()));
    }

    /// The workers that there are now.
    ///
    /// ```
    /// let pool = crossproc::Pool::new(3)?;
    /// let mut ids: Vec<u32> = pool.workers().iter().map(|worker| worker.id).collect();
    /// ids.dedup();
    /// assert_eq!(ids.len(), 3);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn workers(&self) -> Vec<WorkerInfo> {
        if self.hub.is_owner() { self.hub.workers() } else { Vec::new() }
    }

    /// How the work was shared out so far, and what took longest. The workers count in shared memory; asking costs them nothing.
    ///
    /// ```
    /// let pool = crossproc::Pool::new(2)?;
    /// pool.map(|x| x + 1, 0..1000)?;
    /// assert_eq!(pool.insights().workers.iter().map(|worker| worker.items).sum::<u64>(), 1000);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn insights(&self) -> Insights {
        match self.hub.is_owner() {
            true => self.hub.insights(),
            false => Insights { workers: Vec::new(), slowest: Vec::new() },
        }
    }
}

maps!(Pool, "");

/// Terminates it, and waits until nothing is left.
impl Drop for Pool {
    fn drop(&mut self) {
        if self.hub.is_owner() {
            self.hub.terminate();
            if !self.hub.is_served_here() {
                self.wait_for_end();
            }
        }
    }
}
