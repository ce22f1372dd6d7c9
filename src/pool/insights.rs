//! Public statistics of a pool: the work of each worker, and the slowest tasks.

use crate::Message;
use std::fmt;
use std::time::Duration;

/// A worker of a pool, from [`Pool::workers`](crate::Pool::workers).
///
/// ```
/// let pool = crossproc::Pool::new(2)?;
/// pool.map(|x| x + 1, 0..10)?;
/// let workers = pool.workers();
/// assert_eq!((workers.len(), workers[0].name.as_str()), (2, "PoolWorker-1"));
/// assert!(workers.iter().all(|worker| worker.id != std::process::id()));
/// # Ok::<(), crossproc::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WorkerInfo {
    /// Its process id.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// How many tasks it has done.
    pub tasks: u64,
}

/// Statistics of a pool's work so far, from [`Pool::insights`](crate::Pool::insights). `Display` prints a table.
///
/// ```
/// let pool = crossproc::Pool::new(2)?;
/// pool.chunksize(1).map(|ms| std::thread::sleep(std::time::Duration::from_millis(ms)), [1, 20, 1])?;
/// let insights = pool.insights();
/// assert_eq!(insights.workers.iter().map(|worker| worker.tasks).sum::<u64>(), 3);
/// assert_eq!((insights.slowest[0].index, insights.slowest[0].input::<(u64,)>()), (Some(1), Some((20,))));
/// println!("{insights}");
/// # Ok::<(), crossproc::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Insights {
    /// One for each worker slot, with the sums of all workers that were in it.
    pub workers: Vec<WorkerInsights>,
    /// The slowest tasks, at most 5, the slowest first.
    pub slowest: Vec<SlowTask>,
}

/// The work of all workers that were in one slot of a pool, one after the other. See [`Insights`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WorkerInsights {
    /// The process id of the last worker.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// How many workers there were.
    pub starts: u64,
    /// The time they took to start, with the initializer.
    pub start_up: Duration,
    /// The time they waited for tasks.
    pub waiting: Duration,
    /// The time they worked at tasks that they completed.
    pub working: Duration,
    /// How many tasks they completed; a chunk of a map is one task.
    pub tasks: u64,
    /// How many inputs those tasks had.
    pub items: u64,
}

/// One of the slowest tasks of a pool. See [`Insights`].
#[derive(Clone)]
#[non_exhaustive]
pub struct SlowTask {
    /// The time it took in its worker.
    pub duration: Duration,
    /// The index of its input, or of its first input, among those of a map; None if it is not part of a map.
    pub index: Option<usize>,
    /// How many inputs it had.
    pub items: usize,
    /// The process id of its worker; 0 if that has ended.
    pub worker: u32,
    pub(super) input: Vec<u8>,
}

impl SlowTask {
    /// Returns its first input: the tuple of the function's arguments, which is `(T,)` for one argument. None if the
    /// input is of another type, or has handles in it.
    ///
    /// ```
    /// let pool = crossproc::Pool::new(1)?;
    /// pool.apply(u64::pow, (2, 10))?;
    /// assert_eq!(pool.insights().slowest[0].input::<(u64, u32)>(), Some((2, 10)));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn input<A: Message>(&self) -> Option<A> {
        match postcard::take_from_bytes(&self.input) {
            Ok((input, [])) => Some(input),
            _ => None,
        }
    }
}

impl fmt::Debug for SlowTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SlowTask")
            .field("duration", &self.duration)
            .field("index", &self.index)
            .field("items", &self.items)
            .field("worker", &self.worker)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Insights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<20} {:>6} {:>10} {:>10} {:>10} {:>10} {:>10}",
            "worker", "starts", "start-up", "waiting", "working", "tasks", "inputs"
        )?;
        let short = |duration: Duration| format!("{:.3} s", duration.as_secs_f64());
        for worker in &self.workers {
            let WorkerInsights { name, starts, start_up, waiting, working, tasks, items, .. } = worker;
            let [start_up, waiting, working] = [start_up, waiting, working].map(|time| short(*time));
            writeln!(f, "{name:<20} {starts:>6} {start_up:>10} {waiting:>10} {working:>10} {tasks:>10} {items:>10}")?;
        }
        for slow in &self.slowest {
            let place = slow.index.map_or_else(String::new, |index| format!(", input {index}"));
            let items = if slow.items > 1 { format!(" and {} more", slow.items - 1) } else { String::new() };
            writeln!(f, "slow: {}{place}{items}", short(slow.duration))?;
        }
        Ok(())
    }
}
