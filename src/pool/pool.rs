//! `Pool`: worker processes that run functions.

use super::insights::{Insights, WorkerInfo};
use super::job::{TaskCode, TypedJob};
use super::locked::locked;
use super::promise::Promise;
use super::result::AsyncResult;
use super::shared::{PoolPhase, PoolShared};
use super::sinks::SingleResult;
use crate::entry::captures_nothing;
use crate::{Entry, Message, PoolError, TaskError};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// A pool of worker processes that run functions.
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
/// A task is any [`Entry`] with any [`Message`]s: arguments and results of any length, also with handles in them. Each
/// task goes to a worker that is free. The maps send inputs in chunks of several inputs, whose size
/// [`chunksize`](Pool::chunksize) sets; other calls send one.
///
/// If a task panics, its worker continues, and the result is [`Panicked`](TaskError::Panicked). Workers ignore Ctrl-C:
/// the program handles it, and by default ends, and its workers with it. Programs that a task starts inherit that,
/// unless they change it. Workers inherit what children inherit ([`Process`](crate::Process)). Their statics have
/// initial values, or those that an [`initializer`](crate::PoolBuilder::initializer) sets.
///
/// Dropping a pool [terminates](Pool::terminate) it. To have all results first, wait for them, or
/// [`close`](Pool::close) and [`join`](Pool::join) the pool. Threads that wait for results read them; if none waits, a
/// thread of the pool reads them. A second thread starts and watches the workers, and a third runs callbacks, from the
/// first callback on.
///
/// # When a process dies
/// If a worker dies, at any instruction, the input that it was working at has the result
/// [`WorkerDied`](TaskError::WorkerDied), or is tried again ([`retries`](crate::PoolBuilder::retries)). Nothing else is
/// lost, and nothing runs twice: results that the worker had are delivered, and inputs that it had not begun run in
/// other workers, also those of the same chunk. Another worker is started.
///
/// If this process dies, its workers die at once. Processes that a task started live on; a copy of a worker, made by
/// `fork`, ends when its task ends.
///
/// Handles in tasks that were not run are released. Handles in a result count until the family ends if its worker was
/// killed while it sent the result, or if this process had no descriptors for them, as with any message.
///
/// # Code that a pool runs in this process
/// Serde code of inputs and results, and their destructors, run in any thread that uses the pool, or in one of the
/// pool; callbacks run in their own. A callback may wait for other tasks. The other code may submit tasks, but not wait
/// for the pool, since the pool waits for it: a wait returns [`Deadlock`](TaskError::Deadlock), and
/// [`join`](Pool::join) returns [`StillRunning`](PoolError::StillRunning). A deadlock by way of another thread is not
/// detected.
///
/// # What cannot be sent
/// A closure that captures values does not compile, since captures are not sent. Pass values as arguments, or share
/// them by [`map_with`](Pool::map_with):
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
/// References cannot be inputs, since they are invalid in another process, and a pool cannot be an argument:
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
    pub(super) shared: Arc<PoolShared>,
    /// The reader and the supervisor.
    pub(super) threads: Mutex<Vec<JoinHandle<()>>>,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool")
            .field("processes", &self.shared.config.processes)
            .field("name", &self.shared.config.name)
            .finish_non_exhaustive()
    }
}

impl Pool {
    /// Runs `f(args..)` in a worker, and waits for the result. The arguments are a tuple.
    ///
    /// # Errors
    /// See [`TaskError`].
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
        self.submit(f, args, true).get()
    }

    /// Submits `f(args..)` to a worker, and returns the result to come. Tasks begin in the order in which they were
    /// submitted.
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
        self.submit(f, args, false)
    }

    fn submit<A: Message, M, F: Entry<A, M>>(&self, f: F, args: A, waits: bool) -> AsyncResult<F::Output> {
        let task = match self.shared.check().and_then(|()| TaskCode::of(f)) {
            Ok(task) => task,
            Err(error) => return AsyncResult::ready_with(Err(error)),
        };
        let promise = Promise::new();
        let job = TypedJob::new(task, vec![args], SingleResult(promise.clone()));
        match self.shared.submit(job.clone(), (0, 1), 1, waits) {
            Ok(()) => AsyncResult::of(promise, self.shared.clone(), job),
            Err(error) => AsyncResult::ready_with(Err(error)),
        }
    }

    /// Closes the pool: it accepts no more tasks, runs those that it has, and then ends its workers. Does nothing if
    /// the pool is closed or terminated.
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
        if self.shared.is_owner() {
            self.shared.close();
        }
    }

    /// Kills the workers. Every result that has not come becomes [`Cancelled`](TaskError::Cancelled).
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
        if self.shared.is_owner() {
            self.shared.terminate();
        }
    }

    /// Waits until a pool that was closed or terminated has ended: all results have come, all callbacks have run, and
    /// no worker is left. In a callback, it does not wait for the callbacks.
    ///
    /// # Errors
    /// [`StillRunning`](PoolError::StillRunning) before `close` or `terminate`; [`Broken`](PoolError::Broken) if the
    /// pool broke.
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
        if !self.shared.is_owner() {
            return Ok(()); // a fork, which has no workers
        }
        if self.shared.runs_user_code_here() {
            return Err(PoolError::StillRunning); // the pool waits for this code
        }
        let broken = match &self.shared.lock().phase {
            PoolPhase::Running => return Err(PoolError::StillRunning),
            PoolPhase::Closed | PoolPhase::Terminated => None,
            PoolPhase::Broken(why) => Some(PoolError::Broken(why.clone())),
        };
        self.wait_for_end();
        broken.map_or(Ok(()), Err)
    }

    fn wait_for_end(&self) {
        self.shared.wait_for_end();
        // A panic in them would be this crate's own; the panic hook has reported it.
        locked(&self.threads).drain(..).for_each(|thread| drop(thread.join()));
    }

    /// Returns the workers that are running.
    ///
    /// ```
    /// let pool = crossproc::Pool::new(3)?;
    /// let mut ids: Vec<u32> = pool.workers().iter().map(|worker| worker.id).collect();
    /// ids.dedup();
    /// assert_eq!(ids.len(), 3);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn workers(&self) -> Vec<WorkerInfo> {
        if !self.shared.is_owner() {
            return Vec::new();
        }
        self.shared.lock().workers.infos(&self.shared.table)
    }

    /// Returns how the work was distributed so far, and the slowest tasks. The workers count in shared memory and are
    /// not interrupted.
    ///
    /// ```
    /// let pool = crossproc::Pool::new(2)?;
    /// pool.map(|x| x + 1, 0..1000)?;
    /// assert_eq!(pool.insights().workers.iter().map(|worker| worker.items).sum::<u64>(), 1000);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn insights(&self) -> Insights {
        match self.shared.is_owner() {
            true => {
                let state = self.shared.lock();
                Insights { workers: state.workers.insights(&self.shared.table), slowest: state.slowest.to_vec() }
            }
            false => Insights { workers: Vec::new(), slowest: Vec::new() },
        }
    }
}

/// Terminates the pool, and waits for its end.
impl Drop for Pool {
    fn drop(&mut self) {
        if self.shared.is_owner() {
            self.shared.terminate();
            if !self.shared.runs_user_code_here() {
                self.wait_for_end();
            }
        }
    }
}
