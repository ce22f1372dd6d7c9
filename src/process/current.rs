//! This process, its parent, and its children.

use super::protocol::Identity;
use super::registry;
use crate::sys::lifeline::ParentsEnd;
use crate::sys::{Deadline, RaceOnce, process_id};
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

/// What a child was given at its start; nothing in the first process of a family.
pub(super) struct ChildContext {
    pub(super) identity: Identity,
    pub(super) parents_end: ParentsEnd,
}

static CONTEXT: RaceOnce<ChildContext> = RaceOnce::new();
/// The number of children that this process has started.
static SPAWNED: AtomicU32 = AtomicU32::new(0);

/// In a child, before anything else runs.
pub(super) fn set(me: ChildContext) {
    CONTEXT.replace(me);
    SPAWNED.store(0, SeqCst);
}

pub(super) fn identity() -> Identity {
    CONTEXT.get().map_or_else(|| Identity::called("MainProcess"), |me| me.identity.clone())
}

pub(super) fn is_daemon() -> bool {
    CONTEXT.get().is_some_and(|me| me.identity.daemon)
}

/// The identity of the next child.
pub(super) fn next_identity(name: Option<String>, daemon: bool, bound: bool) -> Identity {
    let me = identity();
    let mut line = me.line;
    line.push(SPAWNED.fetch_add(1, SeqCst) + 1);
    let numbers = || line.iter().map(u32::to_string).collect::<Vec<_>>().join(":");
    let name = name.unwrap_or_else(|| format!("Process-{}", numbers()));
    Identity { line, name, daemon, bound, parent: Some((std::process::id(), me.name)) }
}

/// This process. See [`current`].
#[derive(Clone, Debug)]
pub struct Current {
    name: String,
    daemon: bool,
}

/// Returns the current process.
///
/// ```
/// use crossproc::{Process, current};
/// assert_eq!((current().name(), current().id()), ("MainProcess", std::process::id()));
/// let child = Process::builder().name("worker").spawn(|| current().name().to_string(), ())?;
/// assert_eq!(child.join()?, "worker");
/// # Ok::<(), crossproc::Error>(())
/// ```
pub fn current() -> Current {
    let me = identity();
    Current { name: me.name, daemon: me.daemon }
}

impl Current {
    /// The process id.
    ///
    /// ```
    /// assert_eq!(crossproc::current().id(), std::process::id());
    /// ```
    pub fn id(&self) -> u32 {
        std::process::id()
    }

    /// `MainProcess`, or the name that its parent gave it: by default `Process-1`, `Process-1:2`.
    ///
    /// ```
    /// let child = crossproc::Process::spawn(|| crossproc::current().name().to_string(), ())?;
    /// let name = child.name().to_string();
    /// assert_eq!(child.join()?, name);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it ends with its parent, and must not have children.
    ///
    /// ```
    /// assert!(!crossproc::current().is_daemon());
    /// ```
    pub fn is_daemon(&self) -> bool {
        self.daemon
    }
}

/// The process that started this one. See [`parent`].
#[derive(Debug)]
pub struct Parent {
    id: u32,
    name: String,
    end: &'static ParentsEnd,
}

/// Returns the process that started this one with [`Process`](crate::Process); `None` in the first process of a family.
///
/// ```
/// use crossproc::{Process, parent};
/// assert!(parent().is_none());
/// let child = Process::spawn(|| parent().map(|parent| parent.id()), ())?;
/// assert_eq!(child.join()?, Some(std::process::id()));
/// # Ok::<(), crossproc::Error>(())
/// ```
pub fn parent() -> Option<Parent> {
    let me = CONTEXT.get()?;
    let (id, name) = me.identity.parent.clone()?;
    Some(Parent { id, name, end: &me.parents_end })
}

impl Parent {
    /// The process id, also after its end.
    ///
    /// ```
    /// let child = crossproc::Process::spawn(|| crossproc::parent().unwrap().id(), ())?;
    /// assert_eq!(child.join()?, std::process::id());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The name.
    ///
    /// ```
    /// let child = crossproc::Process::spawn(|| crossproc::parent().unwrap().name().to_string(), ())?;
    /// assert_eq!(child.join()?, "MainProcess");
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is running.
    ///
    /// ```
    /// let child = crossproc::Process::spawn(|| crossproc::parent().unwrap().is_alive(), ())?;
    /// assert!(child.join()?);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn is_alive(&self) -> bool {
        !self.end.wait(Some(Deadline::now()))
    }

    /// Waits for its end, at most for `duration`. Returns whether it has ended.
    ///
    /// ```
    /// use std::time::Duration;
    /// let child = crossproc::Process::spawn(|| crossproc::parent().unwrap().wait_timeout(Duration::ZERO), ())?;
    /// assert!(!child.join()?);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn wait_timeout(&self, duration: Duration) -> bool {
        self.end.wait(Some(Deadline::after(duration)))
    }
}

/// A running child. See [`active_children`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChildInfo {
    /// The process id.
    pub id: u32,
    /// The name.
    pub name: String,
    /// Whether it ends with this process.
    pub daemon: bool,
}

/// Returns the children of this process that have not ended, also those whose handle was dropped. Reaps those that
/// have.
///
/// ```
/// use crossproc::{Process, active_children};
/// let child = Process::spawn(|| loop { std::thread::park() }, ())?;
/// assert_eq!(active_children()[0].id, child.id());
/// child.kill()?;
/// child.wait();
/// assert!(active_children().is_empty());
/// # Ok::<(), crossproc::Error>(())
/// ```
pub fn active_children() -> Vec<ChildInfo> {
    let running = registry::lock().running().to_vec();
    running
        .iter()
        .map(|record| ChildInfo { id: record.pid, name: record.name.clone(), daemon: record.daemon })
        .collect()
}

/// Returns the number of processors of the system. How many of them this process may use is
/// [`available_parallelism`](std::thread::available_parallelism).
///
/// ```
/// assert!(crossproc::cpu_count() >= 1);
/// ```
pub fn cpu_count() -> usize {
    process_id::cores()
}
