//! The children of this process that may still run, and what happens to them at its end.
//!
//! # Invariants
//! * registry-C1: a child is in the list from its start until its end was seen, whether there is a handle on it or not.
//!   So it is joined at the end of this process, and reaped.
//! * registry-C2: a fork child starts with an empty list: its parent's children are not its own.
//!
//! # If a process dies here
//! All of this is private. A killed process joins no child; the kernel ends its daemons.

use super::child_record::ChildRecord;
use crate::sys::exit;
use crate::sys::pidfd::Signal;
use crate::sys::poll::Poll;
use crate::sys::signals;
use crate::sys::{Deadline, process_id, watcher};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

#[derive(Default)]
pub(super) struct Children {
    running: Vec<Arc<ChildRecord>>,
    /// The length at which the list is scanned again.
    next_scan: usize,
    reaper: Option<Arc<Reaper>>,
}

static CHILDREN: Mutex<Children> = Mutex::new(Children { running: Vec::new(), next_scan: 0, reaper: None });

/// How long daemons have between the request to end and the kill, at the end of their parent.
const GRACE: Duration = Duration::from_secs(1);

pub(super) fn lock() -> MutexGuard<'static, Children> {
    crate::error::locked(&CHILDREN)
}

impl Children {
    /// Adds a new child.
    pub(super) fn add(&mut self, record: Arc<ChildRecord>) {
        // Children that ended meanwhile are zombies; a look at each costs a system call.
        if self.running.len() >= self.next_scan {
            self.scan();
            self.next_scan = (self.running.len() * 9 / 8).max(16);
        }
        self.running.push(record);
    }

    fn scan(&mut self) {
        self.running.retain(|record| record.ended().is_none());
    }

    pub(super) fn running(&mut self) -> &[Arc<ChildRecord>] {
        self.scan();
        &self.running
    }

    /// Runs in a fork child (registry-C2).
    pub(super) fn forget(&mut self) {
        *self = Children::default();
    }
}

/// Called when a thread waits for a handle in flight. Arguments in flight to a child that has ended are released, and
/// the ends of the other children change the epoch.
pub(super) fn watch_pending_arguments() {
    let running = lock().running().to_vec();
    for record in running.iter().filter(|record| record.may_have_left_arguments()) {
        if let Ok(Some(tag)) = process_id::tag_of_child(record.pid) {
            watcher::process(tag);
        }
    }
}

/// Removes a child whose end was seen.
pub(super) fn remove(record: &Arc<ChildRecord>) {
    let removed = {
        let mut children = lock();
        children.running.iter().position(|other| Arc::ptr_eq(other, record)).map(|at| children.running.swap_remove(at))
    };
    drop(removed);
}

/// Makes this process join its children when it ends by `exit` or at the end of `main`.
pub(super) fn join_at_exit() {
    static HOOKED: AtomicBool = AtomicBool::new(false);
    if !HOOKED.swap(true, SeqCst) {
        exit::at_exit(at_exit);
    }
}

// Runs after the destructors of this thread's thread-locals, and uses none of those.
exit::exit_function!(at_exit, join_all());

/// Daemons get a request to end, and are killed a second later. Other children are waited for, as in Python.
pub(super) fn join_all() {
    let mut running = lock().running().to_vec();
    running.retain(|record| !record.is_detached());
    let (bound, others): (Vec<_>, Vec<_>) = running.into_iter().partition(|record| record.bound);
    bound.iter().for_each(|record| drop(record.signal(Signal::Terminate)));
    let deadline = Deadline::after(GRACE);
    for record in &bound {
        if record.wait(Some(deadline)).is_none() {
            let _ = record.signal(Signal::Kill);
            record.wait_forever();
        }
    }
    for record in &others {
        record.wait_forever();
    }
}

/// Has a thread reap a child that is not waited for any more.
pub(super) fn reap_in_background(record: Arc<ChildRecord>) {
    let mut children = lock();
    if children.reaper.is_none() {
        children.reaper = Reaper::start();
    }
    // Without a thread or descriptors for it, the child is reaped when another one is started.
    if let Some(reaper) = children.reaper.clone() {
        drop(children);
        reaper.take(record);
    }
}

/// A thread that waits for children.
struct Reaper {
    poll: Poll,
    records: Mutex<Vec<Arc<ChildRecord>>>,
}

impl Reaper {
    fn start() -> Option<Arc<Self>> {
        let reaper = Arc::new(Reaper { poll: Poll::new().ok()?, records: Mutex::default() });
        let thread = reaper.clone();
        let builder = std::thread::Builder::new().name("crossproc-reaper".into()).stack_size(64 << 10);
        builder.spawn(move || thread.run()).ok()?;
        Some(reaper)
    }

    fn records(&self) -> MutexGuard<'_, Vec<Arc<ChildRecord>>> {
        crate::error::locked(&self.records)
    }

    fn take(&self, record: Arc<ChildRecord>) {
        let mut records = self.records();
        if self.poll.add(&record.pidfd, record.pid.into()).is_ok() {
            records.push(record);
        }
    }

    fn run(&self) {
        signals::block_signals(); // they are the program's
        loop {
            self.poll.wait(None);
            let ended: Vec<_> = self.records().extract_if(.., |record| record.ended().is_some()).collect();
            ended.iter().for_each(|record| self.poll.remove(&record.pidfd));
            ended.iter().for_each(remove);
        }
    }
}
