//! A child, as its parent knows it: whether it runs, how it ended, what it reported.
//!
//! # If a process dies here
//! The exit status comes from the kernel. A report that its writer did not finish does not count.

use super::protocol::{self, ACK, ChildReport, Identity};
use crate::segment::transfer::{MessageBytes, ReceivedMessage};
use crate::sys::Deadline;
use crate::sys::pidfd::{PidFd, Signal, Status};
use crate::sys::socket::{self, UnixStream};
use crate::sys::watcher;
use std::io::{self, Read};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Mutex, MutexGuard};

#[derive(Debug)]
pub(super) struct ChildRecord {
    pub(super) pid: u32,
    pub(super) name: String,
    pub(super) daemon: bool,
    /// Whether it ends with this process.
    pub(super) bound: bool,
    pub(super) pidfd: PidFd,
    /// The process that started it. A fork child has copies of its parent's handles, and must not read their streams.
    parent: u32,
    /// Present until the report is read.
    control: Mutex<Option<UnixStream>>,
    /// The list of handles in its arguments, if there are any, and whether the child may not have taken them yet.
    handles: Option<Vec<u8>>,
    untaken: AtomicBool,
    end: Mutex<Option<ChildEnd>>,
    detached: AtomicBool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct ChildEnd {
    /// The exit code, or minus the signal.
    pub(super) code: i32,
    /// Another process or thread has reaped the child, so the code is unknown.
    pub(super) lost: bool,
}

/// What Python reports for an unknown code.
const UNKNOWN: i32 = 255;

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    crate::error::locked(mutex)
}

impl ChildRecord {
    pub(super) fn new(pid: u32, identity: &Identity, pidfd: PidFd, control: UnixStream) -> Self {
        ChildRecord::with(pid, identity, pidfd, control, None)
    }

    /// For a child whose arguments contain these handles.
    pub(super) fn with(
        pid: u32,
        identity: &Identity,
        pidfd: PidFd,
        control: UnixStream,
        handles: Option<Vec<u8>>,
    ) -> Self {
        let control = Mutex::new(Some(control));
        ChildRecord {
            pid,
            name: identity.name.clone(),
            daemon: identity.daemon,
            bound: identity.daemon || identity.bound,
            pidfd,
            parent: std::process::id(),
            control,
            untaken: AtomicBool::new(handles.is_some()),
            handles,
            end: Mutex::default(),
            detached: AtomicBool::new(false),
        }
    }

    /// How it ended, if it has.
    pub(super) fn ended(&self) -> Option<ChildEnd> {
        let mut end = locked(&self.end);
        if end.is_none() {
            *end = match self.pidfd.reap() {
                Status::Running => None,
                Status::Ended(code) => Some(ChildEnd { code, lost: false }),
                Status::Lost => Some(ChildEnd { code: UNKNOWN, lost: true }),
            };
            if end.is_some() {
                self.give_up_arguments();
                watcher::advance(); // what it held of queues and pipes is released, so a sleeper there may be the last one left
            }
        }
        *end
    }

    /// The child has ended: if it was killed before it took its arguments, the handles in them belong to no process.
    fn give_up_arguments(&self) {
        if self.parent != std::process::id() || !self.untaken.swap(false, SeqCst) {
            return;
        }
        let taken = locked(&self.control).as_ref().is_none_or(|control| {
            let mut said = [0; ACK + protocol::ARGUMENTS_TAKEN.len()];
            matches!(socket::peek(control, &mut said), Ok(got) if got == said.len())
                && said[ACK..] == protocol::ARGUMENTS_TAKEN
        });
        if let Some(handles) = self.handles.as_ref().filter(|_| !taken) {
            ReceivedMessage {
                bytes: MessageBytes::Inline(Vec::new()),
                manifest: handles.clone(),
                fds: Vec::new(),
                taken: None,
            }
            .discard();
        }
    }

    /// Whether its arguments may still be in flight. Its end changes the epoch then.
    pub(super) fn may_have_left_arguments(&self) -> bool {
        self.untaken.load(SeqCst) && self.ended().is_none()
    }

    /// Waits for the end, at most until the deadline.
    pub(super) fn wait(&self, deadline: Option<Deadline>) -> Option<ChildEnd> {
        loop {
            if let Some(end) = self.ended() {
                return Some(end);
            }
            if !self.pidfd.wait(deadline) {
                return self.ended();
            }
        }
    }

    pub(super) fn wait_forever(&self) -> ChildEnd {
        loop {
            if let Some(end) = self.wait(None) {
                return end;
            }
        }
    }

    /// From here on the child is not joined any more, not even at the end of this process.
    pub(super) fn detach(&self) {
        self.detached.store(true, SeqCst);
    }

    pub(super) fn is_detached(&self) -> bool {
        self.detached.load(SeqCst)
    }

    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        self.pidfd.signal(signal)
    }

    /// The report of the child, after its end; once.
    pub(super) fn take_report(&self) -> Option<ChildReport> {
        let control = locked(&self.control).take()?;
        let mut ack = [0; ACK];
        (&control).read_exact(&mut ack).ok()?;
        let mut taken = [0; protocol::ARGUMENTS_TAKEN.len()];
        if self.handles.is_some() && socket::peek(&control, &mut taken).is_ok() && taken == protocol::ARGUMENTS_TAKEN {
            (&control).read_exact(&mut taken).ok()?;
        }
        protocol::read_report(&control)
    }
}

impl Drop for ChildRecord {
    /// Releases the handles of a result that was not taken.
    fn drop(&mut self) {
        if self.parent == std::process::id()
            && self.ended().is_some()
            && let Some(ChildReport::Returned(result)) = self.take_report()
        {
            result.discard();
        }
    }
}
