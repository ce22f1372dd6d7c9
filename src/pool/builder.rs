//! `PoolBuilder`: the settings of a pool, and its start.

use super::pool::Pool;
use super::shared::{PoolConfig, PoolShared};
use super::supervisor::Supervisor;
use crate::entry::BoundCall;
use crate::entry::captures_nothing;
use crate::process::check_may_have_children;
use crate::sys::spawn;
use crate::{Entry, Message, Outcome, PoolError, SegmentError, StartMethod, cpu_count};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// The settings of a pool; from [`Pool::builder`].
///
/// ```
/// use crossproc::Pool;
/// let pool = Pool::builder().processes(2).name("cook").max_tasks_per_child(100).build()?;
/// assert_eq!(pool.apply(|| crossproc::current().name().starts_with("cook-"), ())?, true);
/// # Ok::<(), crossproc::Error>(())
/// ```
#[must_use = "nothing is started before `build`"]
pub struct PoolBuilder {
    config: PoolConfig,
    /// What is wrong with the settings.
    error: Option<PoolError>,
}

impl std::fmt::Debug for PoolBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PoolBuilder")
            .field("processes", &self.config.processes)
            .field("name", &self.config.name)
            .finish_non_exhaustive()
    }
}

impl Pool {
    /// Creates a pool of `n` workers, which are daemons.
    ///
    /// # Errors
    /// [`Zero`](PoolError::Zero) if `n` is 0; see [`PoolError`].
    ///
    /// ```
    /// let pool = crossproc::Pool::new(2)?;
    /// assert_eq!(pool.map(|x| x + 1, [1, 2, 3])?, [2, 3, 4]);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn new(n: usize) -> Result<Pool, PoolError> {
        Pool::builder().processes(n).build()
    }

    /// Returns a builder, for a pool with other settings.
    ///
    /// ```
    /// let pool = crossproc::Pool::builder().processes(2).retries(1).build()?;
    /// assert_eq!(pool.workers().len(), 2);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn builder() -> PoolBuilder {
        PoolBuilder::new()
    }

    fn start(config: PoolConfig) -> Result<Pool, PoolError> {
        check_may_have_children()?;
        let shared = Arc::new(PoolShared::new(config)?);
        let supervisor = Supervisor::start(shared.clone())?;
        let spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
            thread::Builder::new().name(name.into()).spawn(run).map_err(|error| PoolError::Spawn(error.into()))
        };
        let reader = shared.clone();
        let read = Box::new(move || {
            spawn::block_signals(); // they go to the program's threads
            reader.run_reader();
        });
        let threads = spawn("crossproc-pool", read)
            .and_then(|reader| Ok((reader, spawn("crossproc-watch", Box::new(move || supervisor.run()))?)));
        match threads {
            Ok((reader, supervisor)) => Ok(Pool { shared, threads: Mutex::new(vec![reader, supervisor]) }),
            Err(error) => {
                shared.end_without_supervisor();
                Err(error)
            }
        }
    }
}

impl PoolBuilder {
    pub(super) fn new() -> Self {
        let config = PoolConfig {
            processes: cpu_count().min(MAX_WORKERS),
            initializer: None,
            max_tasks: None,
            method: StartMethod::default(),
            name: "PoolWorker".into(),
            daemon: true,
            timeout: None,
            retries: 0,
            progress: false,
        };
        PoolBuilder { config, error: None }
    }

    /// Sets the number of workers; [`cpu_count`] by default. 0 is the error [`Zero`](PoolError::Zero), more than 1,000
    /// are [`TooLarge`](SegmentError::TooLarge).
    ///
    /// ```
    /// assert_eq!(crossproc::Pool::builder().processes(3).build()?.workers().len(), 3);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn processes(mut self, n: usize) -> Self {
        self.config.processes = n;
        self
    }

    /// Runs `f(args..)` in each worker before its first task, also in workers that are started later. If it panics or
    /// returns an error, the pool is [`Broken`](PoolError::Broken).
    ///
    /// ```
    /// use crossproc::{Pool, TaskError};
    /// use std::sync::OnceLock;
    /// static BASE: OnceLock<u32> = OnceLock::new();
    /// let pool = Pool::builder().processes(2).initializer(|base| BASE.set(base).map_err(|_| "twice".to_string()), (40,)).build()?;
    /// assert_eq!(pool.map(|x| BASE.get().unwrap() + x, 0..3_u32)?, [40, 41, 42]);
    /// let broken = Pool::builder().processes(2).initializer(|| panic!("no license"), ()).build()?;
    /// assert!(matches!(broken.apply(|| 1, ()), Err(TaskError::PoolBroken(why)) if why.contains("no license")));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn initializer<A, M, F>(mut self, f: F, args: A) -> Self
    where
        A: Message,
        M: 'static,
        F: Entry<A, M, Output: Outcome> + Sync,
    {
        const { captures_nothing::<F>() };
        match BoundCall::once(f, args) {
            Ok(call) => self.config.initializer = Some(call),
            Err(error) => self.error = Some(error.into()),
        }
        self
    }

    /// Replaces each worker after `n` tasks, for instance because tasks leak memory. A chunk of a map counts as one
    /// task. 0 is the error [`Zero`](PoolError::Zero).
    ///
    /// ```
    /// let pool = crossproc::Pool::builder().processes(1).max_tasks_per_child(2).build()?;
    /// let ids = (0..4).map(|_| pool.apply(std::process::id, ())).collect::<Result<Vec<_>, _>>()?;
    /// assert!(ids[0] == ids[1] && ids[1] != ids[2] && ids[2] == ids[3]);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn max_tasks_per_child(mut self, n: usize) -> Self {
        self.config.max_tasks = Some(n as u64);
        self
    }

    /// Sets how workers are started; see [`StartMethod`].
    ///
    /// ```
    /// use crossproc::{Pool, StartMethod};
    /// let pool = Pool::builder().processes(1).start_method(StartMethod::Spawn).build()?;
    /// assert_eq!(pool.apply(|| 1, ())?, 1);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn start_method(mut self, method: StartMethod) -> Self {
        self.config.method = method;
        self
    }

    /// Sets the name of the workers, to which a number is added; `PoolWorker` by default.
    ///
    /// ```
    /// let pool = crossproc::Pool::builder().processes(1).name("cook").build()?;
    /// assert_eq!(pool.workers()[0].name, "cook-1");
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.config.name = name.into();
        self
    }

    /// Sets whether workers are daemons, which may not have children; true by default. In both cases workers end with
    /// this process, and so do pools in them.
    ///
    /// ```
    /// use crossproc::{Pool, PoolError, Result, SpawnError};
    /// fn nested(n: u32) -> Result<Vec<u32>, PoolError> {
    ///     let pool = Pool::new(1)?;
    ///     Ok(pool.map(|x| x * x, 0..n).unwrap())
    /// }
    /// let pool = Pool::builder().processes(1).daemon(false).build()?;
    /// assert_eq!(pool.apply(nested, (3,))?, Ok(vec![0, 1, 4]));
    /// assert_eq!(Pool::new(1)?.apply(nested, (3,))?, Err(PoolError::Spawn(SpawnError::DaemonChild)));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn daemon(mut self, yes: bool) -> Self {
        self.config.daemon = yes;
        self
    }

    /// Sets the time limit of one input. A worker that takes longer is killed and replaced, and the result is
    /// [`Timeout`](crate::TaskError::Timeout). The limit is checked eight times in this time, and at least ten times a
    /// second.
    ///
    /// ```
    /// use crossproc::{Pool, TaskError};
    /// use std::time::Duration;
    /// let pool = Pool::builder().processes(1).task_timeout(Duration::from_millis(50)).build()?;
    /// assert_eq!(pool.apply(|| loop { std::thread::park() }, ()), Err(TaskError::Timeout));
    /// assert_eq!(pool.apply(|| 1, ())?, 1);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn task_timeout(mut self, duration: Duration) -> Self {
        self.config.timeout = Some(duration);
        self
    }

    /// Sets how often an input is tried again after its worker died with it; 0 by default. The function may then have
    /// run more than once, in part or in full. Panics and timeouts are not tried again.
    ///
    /// ```
    /// use crossproc::{Atomic, Pool};
    /// let pool = Pool::builder().processes(1).retries(2).build()?;
    /// let tries = Atomic::new(0_u32)?;
    /// let third = |tries: Atomic<u32>| {
    ///     if tries.fetch_add(1, std::sync::atomic::Ordering::SeqCst) < 2 {
    ///         std::process::abort();
    ///     }
    ///     "done".to_string()
    /// };
    /// assert_eq!(pool.apply(third, (tries.clone(),))?, "done");
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn retries(mut self, n: u32) -> Self {
        self.config.retries = n;
        self
    }

    /// Shows a progress bar with rate and time left on standard error, for each `map` and `imap`.
    ///
    /// ```
    /// let pool = crossproc::Pool::builder().processes(2).progress(true).build()?;
    /// assert_eq!(pool.map(|x| x + 1, 0..1000)?.len(), 1000);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    #[cfg(feature = "progress")]
    #[cfg_attr(docsrs, doc(cfg(feature = "progress")))]
    pub fn progress(mut self, yes: bool) -> Self {
        self.config.progress = yes;
        self
    }

    /// Starts the workers.
    ///
    /// # Errors
    /// See [`PoolError`]; no process is left then. The failure of an initializer is known after it has run, so the
    /// first task returns it.
    ///
    /// ```
    /// use crossproc::{Pool, PoolError};
    /// assert_eq!(Pool::builder().max_tasks_per_child(0).build().unwrap_err(), PoolError::Zero);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn build(self) -> Result<Pool, PoolError> {
        match self.error {
            Some(error) => Err(error),
            None if self.config.processes == 0 || self.config.max_tasks == Some(0) => Err(PoolError::Zero),
            None if self.config.processes > MAX_WORKERS => Err(PoolError::Segment(SegmentError::TooLarge)),
            None => Pool::start(self.config),
        }
    }
}

/// Each worker takes one of the 1,024 entries that a ring has for the processes that hold it.
const MAX_WORKERS: usize = 1000;
