//! Events of descriptors for threads that sleep on words: processes that end, sockets that become readable.
//!
//! A thread that sleeps on a futex cannot wait for a descriptor too. So one thread of this process, the *watcher*,
//! waits for all descriptors that threads asked for, and increments one word, the *epoch*, on which those threads sleep
//! too. It exists as long as there is something to watch.
//!
//! # Invariants
//! * watcher-N1: the epoch changes after an event has happened. A thread that reads the epoch, then checks everything,
//!   and then sleeps while the epoch is the one that it read, misses nothing.
//! * watcher-N2: a fork child has an epoch, and no watcher: what was watched before must be watched again.
//!
//! # If a process dies here
//! The watcher and its descriptors are its own, and end with it.

use super::pidfd::PidFd;
use super::poll::Poll;
use super::process_id::{self};
use super::{AsFd, Deadline, OwnedFd, futex};
use crate::sys::ForkHandoff;
use crate::sys::fork_hooks;
use crate::sys::fork_hooks::ForkHooks;
use crate::sys::fork_hooks::Layer;
use crate::sys::signals;
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex, MutexGuard};

static EPOCH: AtomicU32 = AtomicU32::new(0);
static WATCHER: Mutex<Option<Watcher>> = Mutex::new(None);
static PASSAGE: ForkHandoff<MutexGuard<'static, Option<Watcher>>> = ForkHandoff::new();

struct Watcher {
    poll: Arc<Poll>,
    /// By the number under which the kernel knows them.
    watched: BTreeMap<u64, Watched>,
    next: u64,
}

struct Watched {
    fd: OwnedFd,
    /// 0, or the process that it stands for.
    tag: u64,
}

/// The outcome of a request to watch a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WatchOutcome {
    /// Its end will change the epoch.
    Watched,
    Ended,
    /// There is no room for a descriptor or a thread.
    Unable,
}

/// A descriptor that is watched until this is dropped.
#[derive(Debug)]
pub(crate) struct Watch(u64);

/// The word to sleep on, beside others.
pub(crate) fn epoch() -> &'static AtomicU32 {
    &EPOCH
}

/// Changes the epoch: sleepers of this process should check.
pub(crate) fn advance() {
    EPOCH.fetch_add(1, SeqCst);
    futex::wake(&EPOCH, u32::MAX);
}

/// From here on the end of this process changes the epoch, once. By its [`process_id::ProcessId::tag`].
pub(crate) fn process(tag: u64) -> WatchOutcome {
    let mut watcher = lock();
    if watcher.as_ref().is_some_and(|watcher| watcher.watched.values().any(|watched| watched.tag == tag)) {
        return WatchOutcome::Watched;
    }
    let pidfd = match PidFd::open(tag as u32) {
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return WatchOutcome::Ended,
        Err(_) => return WatchOutcome::Unable,
        Ok(pidfd) => pidfd,
    };
    // Checked only now: the pid may have been another process's before.
    if pidfd.wait(Some(Deadline::now())) || !process_id::tag_is_alive(tag) {
        return WatchOutcome::Ended;
    }
    match add(&mut watcher, pidfd.into_fd(), tag) {
        Ok(_) => WatchOutcome::Watched,
        Err(_) => WatchOutcome::Unable,
    }
}

/// From here on, once, the epoch changes when there is something to read, or the end.
pub(crate) fn descriptor(fd: &impl AsFd) -> io::Result<Watch> {
    let again = fd.as_fd().try_clone_to_owned()?;
    add(&mut lock(), again, 0).map(Watch)
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(watcher) = lock().as_mut() {
            watcher.remove(self.0);
        }
    }
}

fn lock() -> MutexGuard<'static, Option<Watcher>> {
    fork_hooks::set(Layer::Watcher, ForkHooks { prepare: before_fork, parent: after_fork, child: after_fork_in_child });
    guard()
}

fn guard() -> MutexGuard<'static, Option<Watcher>> {
    crate::error::locked(&WATCHER)
}

fn before_fork() {
    // SAFETY: the guard is of the lock that all users of the handoff hold.
    unsafe { PASSAGE.put(guard()) };
}

fn after_fork() {
    // SAFETY: the thread that forks has held the lock since `before_fork`.
    drop(unsafe { PASSAGE.take() });
}

/// watcher-N2.
fn after_fork_in_child() {
    // SAFETY: the thread that forked has held the lock since `before_fork`.
    if let Some(mut watcher) = unsafe { PASSAGE.take() } {
        *watcher = None;
    }
    EPOCH.fetch_add(1, SeqCst);
}

fn add(watcher: &mut Option<Watcher>, fd: OwnedFd, tag: u64) -> io::Result<u64> {
    if watcher.is_none() {
        let poll = Arc::new(Poll::new()?);
        start(poll.clone())?;
        *watcher = Some(Watcher { poll, watched: BTreeMap::new(), next: 1 });
    }
    let Some(watcher) = watcher else { return Err(io::ErrorKind::Other.into()) };
    let number = watcher.next;
    watcher.next += 1;
    watcher.poll.add(&fd, number)?;
    watcher.watched.insert(number, Watched { fd, tag });
    Ok(number)
}

impl Watcher {
    fn remove(&mut self, number: u64) {
        if let Some(watched) = self.watched.remove(&number) {
            self.poll.remove(&watched.fd);
        }
    }
}

/// The watcher's thread.
fn start(poll: Arc<Poll>) -> io::Result<()> {
    let thread = std::thread::Builder::new().name("crossproc-watch".into()).stack_size(64 << 10);
    thread.spawn(move || watch(&poll)).map(drop)
}

fn watch(poll: &Arc<Poll>) {
    /// How long the watcher stays after the last one: many processes in a row should not each start a thread.
    const IDLE: std::time::Duration = std::time::Duration::from_millis(200);
    signals::block_signals(); // they are the program's
    loop {
        let ready = poll.wait(Some(Deadline::after(IDLE)).filter(|_| is_idle(poll)));
        let mut watcher = guard();
        let Some(mine) = watcher.as_mut().filter(|watcher| Arc::ptr_eq(&watcher.poll, poll)) else { return };
        if ready.is_empty() && mine.watched.is_empty() {
            *watcher = None;
            return;
        }
        ready.iter().for_each(|number| mine.remove(*number));
        drop(watcher);
        if !ready.is_empty() {
            advance(); // watcher-N1
        }
    }
}

fn is_idle(poll: &Arc<Poll>) -> bool {
    guard().as_ref().is_none_or(|watcher| !Arc::ptr_eq(&watcher.poll, poll) || watcher.watched.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::process_id::ProcessId;
    use std::time::{Duration, Instant};

    fn tag_of(child: &std::process::Child) -> u64 {
        process_id::tag_of_child(child.id()).ok().flatten().unwrap()
    }

    #[test]
    fn the_end_of_a_process_is_news() {
        let mut child = std::process::Command::new("/bin/sleep").arg("1000").spawn().unwrap();
        let tag = tag_of(&child);
        assert_eq!((process(tag), process(tag)), (WatchOutcome::Watched, WatchOutcome::Watched));
        let before = epoch().load(SeqCst);
        child.kill().unwrap();
        let start = Instant::now();
        while epoch().load(SeqCst) == before {
            futex::wait(epoch(), before, Some(Deadline::after(Duration::from_secs(10))));
            assert!(start.elapsed() < Duration::from_secs(10));
        }
        child.wait().unwrap();
        assert_eq!(process(tag), WatchOutcome::Ended);
        assert_eq!(process(ProcessId { pid: 0x3fff_fff0, start: 1 }.tag()), WatchOutcome::Ended);
    }

    #[test]
    fn something_to_read_is_news_and_nobody_is_told_twice() {
        use std::io::Write;
        let (mut one, other) = std::os::unix::net::UnixStream::pair().unwrap();
        let watch = descriptor(&other).unwrap();
        let before = epoch().load(SeqCst);
        one.write_all(b"x").unwrap();
        while epoch().load(SeqCst) == before {
            futex::wait(epoch(), before, Some(Deadline::after(Duration::from_secs(10))));
        }
        assert!(lock().as_ref().is_none_or(|watcher| !watcher.watched.contains_key(&watch.0)));
    }
}
