//! The children of this process that may still run, and what happens to them at its end.
//!
//! # Invariants
//! * C1: a child is in the list from its birth until its end was seen, whether somebody has a handle on it or not: so it is
//!   joined at the end of this process, and reaped.
//! * C2: a fork child begins with an empty list: its parent's children are not its own.
//!
//! # If a process dies here
//! All of this is private. Who is killed joins nobody; daemons are the kernel's care.

use super::child_record::Life;
use crate::sys::pidfd::Signal;
use crate::sys::poll::Poll;
use crate::sys::{Deadline, process_id, spawn, watcher};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

#[derive(Default)]
pub(super) struct Children {
    running: Vec<Arc<Life>>,
    /// When the list is looked through again.
    next_look: usize,
    reaper: Option<Arc<Reaper>>,
}

static CHILDREN: Mutex<Children> = Mutex::new(Children { running: Vec::new(), next_look: 0, reaper: None });

/// How long daemons have between the request to end and the kill, at the end of their parent.
const GRACE: Duration = Duration::from_secs(1);

pub(super) fn lock() -> MutexGuard<'static, Children> {
    crate::error::locked(&CHILDREN)
}

impl Children {
    /// A child was born.
    pub(super) fn add(&mut self, life: Arc<Life>) {
        // Those that ended meanwhile are zombies; a look at each costs a system call.
        if self.running.len() >= self.next_look {
            self.look();
            self.next_look = (self.running.len() * 9 / 8).max(16);
        }
        self.running.push(life);
    }

    fn look(&mut self) {
        self.running.retain(|life| life.ended().is_none());
    }

    pub(super) fn running(&mut self) -> &[Arc<Life>] {
        self.look();
        &self.running
    }

    /// In a fork child (C2).
    pub(super) fn forget(&mut self) {
        *self = Children::default();
    }
}

/// Somebody waits for a handle that is on its way. Those that were on their way to a child that has ended are given up, and
/// the ends of the others are news.
pub(super) fn look_after_arguments() {
    let running = lock().running().to_vec();
    for life in running.iter().filter(|life| life.may_have_left_arguments()) {
        if let Ok(Some(tag)) = process_id::tag_of_child(life.pid) {
            watcher::process(tag);
        }
    }
}

/// Its end was seen.
pub(super) fn remove(life: &Arc<Life>) {
    let removed = {
        let mut children = lock();
        children.running.iter().position(|other| Arc::ptr_eq(other, life)).map(|at| children.running.swap_remove(at))
    };
    drop(removed);
}

/// Has this process join its children when it ends by `exit` or the end of `main`.
pub(super) fn join_at_exit() {
    static HOOKED: AtomicBool = AtomicBool::new(false);
    if !HOOKED.swap(true, SeqCst) {
        spawn::at_exit(at_exit);
    }
}

// Runs behind the destructors of this thread's thread-locals, and uses none of those.
spawn::exit_function!(at_exit, join_all());

/// Daemons are asked to end, and killed a second later; the others are waited for, as in Python.
pub(super) fn join_all() {
    let mut running = lock().running().to_vec();
    running.retain(|life| !life.is_detached());
    let (bound, others): (Vec<_>, Vec<_>) = running.into_iter().partition(|life| life.bound);
    bound.iter().for_each(|life| drop(life.signal(Signal::Terminate)));
    let deadline = Deadline::after(GRACE);
    for life in &bound {
        if life.wait(Some(deadline)).is_none() {
            let _ = life.signal(Signal::Kill);
            life.wait_for_good();
        }
    }
    for life in &others {
        life.wait_for_good();
    }
}

/// Has somebody reap a child that nobody waits for any more.
pub(super) fn reap_in_background(life: Arc<Life>) {
    let mut children = lock();
    if children.reaper.is_none() {
        children.reaper = Reaper::start();
    }
    // Without a thread or descriptors for it, the child is reaped when another is born.
    if let Some(reaper) = children.reaper.clone() {
        drop(children);
        reaper.take(life);
    }
}

/// A thread that waits for children.
struct Reaper {
    poll: Poll,
    lives: Mutex<Vec<Arc<Life>>>,
}

impl Reaper {
    fn start() -> Option<Arc<Self>> {
        let reaper = Arc::new(Reaper { poll: Poll::new().ok()?, lives: Mutex::default() });
        let thread = reaper.clone();
        let builder = std::thread::Builder::new().name("crossproc-reaper".into()).stack_size(64 << 10);
        builder.spawn(move || thread.run()).ok()?;
        Some(reaper)
    }

    fn lives(&self) -> MutexGuard<'_, Vec<Arc<Life>>> {
        crate::error::locked(&self.lives)
    }

    fn take(&self, life: Arc<Life>) {
        let mut lives = self.lives();
        if self.poll.add(&life.pidfd, life.pid.into()).is_ok() {
            lives.push(life);
        }
    }

    fn run(&self) {
        spawn::block_signals(); // they are the program's
        loop {
            self.poll.wait(None);
            let ended: Vec<_> = self.lives().extract_if(.., |life| life.ended().is_some()).collect();
            ended.iter().for_each(|life| self.poll.remove(&life.pidfd));
            ended.iter().for_each(remove);
        }
    }
}
