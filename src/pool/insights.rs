//! What a pool knows of its work: who did how much, and what took longest.

use super::shared::{PoolShared, WorkerSlot};
use super::task_table::Counts;
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
    /// Its process number.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// How many tasks it has done.
    pub tasks: u64,
}

/// What a pool knows of its work so far, from [`Pool::insights`](crate::Pool::insights). Printed, it is a table.
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
    /// One for each place of a worker, with what all workers did that were there.
    pub workers: Vec<WorkerInsights>,
    /// The tasks that took longest, at most 5, the longest first.
    pub slowest: Vec<SlowTask>,
}

/// What the workers did that had one place in a pool, one after the other. See [`Insights`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WorkerInsights {
    /// The process number of the last of them.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// How many there were.
    pub starts: u64,
    /// How long they took to start, with the initializer.
    pub start_up: Duration,
    /// How long they waited for tasks.
    pub waiting: Duration,
    /// How long they worked at tasks that they ended.
    pub working: Duration,
    /// How many tasks they ended; a chunk of a map is one.
    pub tasks: u64,
    /// How many inputs there were in those.
    pub items: u64,
}

/// A task that took long. See [`Insights`].
#[derive(Clone)]
#[non_exhaustive]
pub struct SlowTask {
    /// How long it took, in its worker.
    pub duration: Duration,
    /// Which input of a map it was, or the first of those.
    pub index: Option<usize>,
    /// How many inputs it had.
    pub items: usize,
    /// The process that did it; 0 where that has ended since.
    pub worker: u32,
    input: Vec<u8>,
}

impl SlowTask {
    /// Its (first) input: the tuple of the function's arguments, so `(T,)` of one. None if it is of another type, or has handles
    /// in it.
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

/// What the workers did that are gone.
#[derive(Default)]
pub(super) struct Past {
    counts: Counts,
    start_up: u64,
    starts: u64,
    /// When the last one was started.
    started: u64,
}

impl Past {
    /// A worker is gone.
    pub(super) fn add(&mut self, counts: Counts) {
        let Past { counts: sum, start_up, starts, started } = self;
        sum.tasks += counts.tasks;
        sum.items += counts.items;
        sum.working += counts.working;
        sum.waiting += counts.waiting;
        *starts += 1;
        if counts.ready_at != 0 {
            *start_up += counts.ready_at.saturating_sub(*started);
        }
    }

    pub(super) fn begin(&mut self, now: u64) {
        self.started = now;
    }
}

/// The tasks that took longest.
#[derive(Default)]
pub(super) struct Slowest(Vec<SlowTask>);

impl Slowest {
    const MOST: usize = 5;

    /// Whether such a task is one of them.
    #[inline]
    pub(super) fn wants(&self, took: u64) -> bool {
        self.0.len() < Self::MOST || self.0.last().is_some_and(|last| u128::from(took) > last.duration.as_nanos())
    }

    pub(super) fn add(&mut self, took: u64, index: Option<usize>, items: usize, worker: u32, input: Vec<u8>) {
        let duration = Duration::from_nanos(took);
        let at = self.0.partition_point(|other| other.duration >= duration);
        self.0.insert(at, SlowTask { duration, index, items, worker, input });
        self.0.truncate(Self::MOST);
    }
}

impl PoolShared {
    pub(super) fn workers(&self) -> Vec<WorkerInfo> {
        let state = self.lock();
        let alive = state.seats.iter().enumerate().filter(|(_, seat)| seat.process.is_some());
        let info = |(at, seat): (usize, &WorkerSlot)| WorkerInfo {
            id: seat.pid,
            name: seat.name.clone(),
            tasks: self.board.sheet(at).counts().tasks,
        };
        alive.map(info).collect()
    }

    pub(super) fn insights(&self) -> Insights {
        let state = self.lock();
        let workers = state.seats.iter().enumerate().map(|(at, seat)| {
            let now = match seat.is_taken {
                true => self.board.sheet(at).counts(),
                false => Counts::default(),
            };
            let Past { counts: past, start_up, starts, started } = &seat.past;
            let starting = if now.ready_at == 0 { 0 } else { now.ready_at.saturating_sub(*started) };
            WorkerInsights {
                id: seat.pid,
                name: seat.name.clone(),
                starts: starts + u64::from(seat.is_taken),
                start_up: Duration::from_nanos(start_up + starting),
                waiting: Duration::from_nanos(past.waiting + now.waiting),
                working: Duration::from_nanos(past.working + now.working),
                tasks: past.tasks + now.tasks,
                items: past.items + now.items,
            }
        });
        Insights { workers: workers.collect(), slowest: state.slowest.0.clone() }
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
