//! How a pool is to be.

use super::Pool;
use super::shared::Plan;
use crate::entry::BoundCall;
use crate::entry::captures_nothing;
use crate::{Entry, Message, Outcome, PoolError, SegmentError, StartMethod, cpu_count};
use std::time::Duration;

/// How a pool is to be. From [`Pool::builder`].
///
/// ```
/// use crossproc::Pool;
/// let pool = Pool::builder().processes(2).name("cook").max_tasks_per_child(100).build()?;
/// assert_eq!(pool.apply(|| crossproc::current().name().starts_with("cook-"), ())?, true);
/// # Ok::<(), crossproc::Error>(())
/// ```
#[must_use = "nothing is started before `build`"]
pub struct PoolBuilder {
    plan: Plan,
    /// What is wrong with it.
    error: Option<PoolError>,
}

impl std::fmt::Debug for PoolBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PoolBuilder")
            .field("processes", &self.plan.processes)
            .field("name", &self.plan.name)
            .finish_non_exhaustive()
    }
}

impl PoolBuilder {
    pub(super) fn new() -> Self {
        let plan = Plan {
            processes: cpu_count().min(MOST_WORKERS),
            initializer: None,
            most_tasks: None,
            method: StartMethod::default(),
            name: "PoolWorker".into(),
            daemon: true,
            timeout: None,
            retries: 0,
            #[cfg(feature = "progress")]
            progress: false,
        };
        PoolBuilder { plan, error: None }
    }

    /// How many workers, at most 1,000; [`cpu_count`] unless told otherwise. 0 is [`Zero`](PoolError::Zero), more are
    /// [`TooLarge`](SegmentError::TooLarge).
    ///
    /// ```
    /// assert_eq!(crossproc::Pool::builder().processes(3).build()?.workers().len(), 3);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn processes(mut self, n: usize) -> Self {
        self.plan.processes = n;
        self
    }

    /// Runs `f(args..)` in each worker before its first task, also in those that come later. If it panics or returns an error,
    /// no worker can begin, and the pool is [`Broken`](PoolError::Broken).
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
            Ok(action) => self.plan.initializer = Some(action),
            Err(error) => self.error = Some(error.into()),
        }
        self
    }

    /// Each worker ends behind so many tasks, and another takes its place: for tasks that leave memory behind. A chunk of a map
    /// counts as one task. 0 is [`Zero`](PoolError::Zero).
    ///
    /// ```
    /// let pool = crossproc::Pool::builder().processes(1).max_tasks_per_child(2).build()?;
    /// let ids = (0..4).map(|_| pool.apply(std::process::id, ())).collect::<Result<Vec<_>, _>>()?;
    /// assert!(ids[0] == ids[1] && ids[1] != ids[2] && ids[2] == ids[3]);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn max_tasks_per_child(mut self, n: usize) -> Self {
        self.plan.most_tasks = Some(n as u64);
        self
    }

    /// How workers come to be; see [`StartMethod`].
    ///
    /// ```
    /// use crossproc::{Pool, StartMethod};
    /// let pool = Pool::builder().processes(1).start_method(StartMethod::Spawn).build()?;
    /// assert_eq!(pool.apply(|| 1, ())?, 1);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn start_method(mut self, method: StartMethod) -> Self {
        self.plan.method = method;
        self
    }

    /// The workers' name, to which a number is added; `PoolWorker` unless told otherwise.
    ///
    /// ```
    /// let pool = crossproc::Pool::builder().processes(1).name("cook").build()?;
    /// assert_eq!(pool.workers()[0].name, "cook-1");
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.plan.name = name.into();
        self
    }

    /// Whether workers are daemons, which may have no children: true unless told otherwise. Workers end with this process in
    /// either case, and so do pools in them.
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
        self.plan.daemon = yes;
        self
    }

    /// How long one input may be worked at. Who takes longer is killed, and replaced; the result is
    /// [`Timeout`](crate::TaskError::Timeout). It is looked at eight times in that time, at least ten times a second.
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
        self.plan.timeout = Some(duration);
        self
    }

    /// How often an input is tried again whose worker died with it; not at all unless told otherwise. So the function may have
    /// run, in part or in full, more than once. Panics and time-outs are not tried again.
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
        self.plan.retries = n;
        self
    }

    /// Shows a progress bar on the standard error for each `map` and `imap`: rate, time left.
    ///
    /// ```
    /// let pool = crossproc::Pool::builder().processes(2).progress(true).build()?;
    /// assert_eq!(pool.map(|x| x + 1, 0..1000)?.len(), 1000);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    #[cfg(feature = "progress")]
    #[cfg_attr(docsrs, doc(cfg(feature = "progress")))]
    pub fn progress(mut self, yes: bool) -> Self {
        self.plan.progress = yes;
        self
    }

    /// Starts the workers.
    ///
    /// # Errors
    /// [`PoolError`]; nothing is left then. That an initializer fails is known when it has run, so the first task says it.
    ///
    /// ```
    /// use crossproc::{Pool, PoolError};
    /// assert_eq!(Pool::builder().max_tasks_per_child(0).build().unwrap_err(), PoolError::Zero);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn build(self) -> Result<Pool, PoolError> {
        match self.error {
            Some(error) => Err(error),
            None if self.plan.processes == 0 || self.plan.most_tasks == Some(0) => Err(PoolError::Zero),
            None if self.plan.processes > MOST_WORKERS => Err(PoolError::Segment(SegmentError::TooLarge)),
            None => Pool::start(self.plan),
        }
    }
}

/// Each takes one of the 1,024 places that a ring has for those who hold it.
const MOST_WORKERS: usize = 1000;
