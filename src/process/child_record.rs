//! A child, as its parent has it: whether it runs, how it ended, what it reported.
//!
//! # If a process dies here
//! The exit status is the kernel's own. A report that its writer did not finish is none.

use super::protocol::{self, HELLO, Report, Who};
use crate::segment::transfer::{Bytes, ReceivedMessage};
use crate::sys::Deadline;
use crate::sys::pidfd::{PidFd, Signal, Status};
use crate::sys::socket::{self, UnixStream};
use crate::sys::watcher;
use std::io::{self, Read};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Mutex, MutexGuard};

#[derive(Debug)]
pub(super) struct Life {
    pub(super) pid: u32,
    pub(super) name: String,
    pub(super) daemon: bool,
    /// Whether it ends with this process.
    pub(super) bound: bool,
    pub(super) pidfd: PidFd,
    /// Who started it: a fork child has copies of its parent's handles, and reads none of their streams.
    parent: u32,
    /// Until the report is read.
    control: Mutex<Option<UnixStream>>,
    /// The list of the handles in its arguments, if there are any, and whether it may be that the child never took them.
    handles: Option<Vec<u8>>,
    untaken: AtomicBool,
    end: Mutex<Option<End>>,
    detached: AtomicBool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    /// The exit code, or minus the signal.
    pub(super) code: i32,
    /// Somebody else was told the code.
    pub(super) lost: bool,
}

/// What Python says where nobody knows.
const UNKNOWN: i32 = 255;

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    crate::error::locked(mutex)
}

impl Life {
    pub(super) fn new(pid: u32, who: &Who, pidfd: PidFd, control: UnixStream) -> Self {
        Life::with(pid, who, pidfd, control, None)
    }

    /// Of a child whose arguments have such a list of handles.
    pub(super) fn with(pid: u32, who: &Who, pidfd: PidFd, control: UnixStream, handles: Option<Vec<u8>>) -> Self {
        let control = Mutex::new(Some(control));
        Life {
            pid,
            name: who.name.clone(),
            daemon: who.daemon,
            bound: who.daemon || who.bound,
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
    pub(super) fn ended(&self) -> Option<End> {
        let mut end = locked(&self.end);
        if end.is_none() {
            *end = match self.pidfd.reap() {
                Status::Running => None,
                Status::Ended(code) => Some(End { code, lost: false }),
                Status::Lost => Some(End { code: UNKNOWN, lost: true }),
            };
            if end.is_some() {
                self.give_up_arguments();
                watcher::tell(); // what it held of queues and pipes is let go, and who sleeps there may be the last
            }
        }
        *end
    }

    /// It has ended: if it was killed before it had taken its arguments, the handles in them are nobody's.
    fn give_up_arguments(&self) {
        if self.parent != std::process::id() || !self.untaken.swap(false, SeqCst) {
            return;
        }
        let taken = locked(&self.control).as_ref().is_none_or(|control| {
            let mut said = [0; HELLO + protocol::TAKEN.len()];
            matches!(socket::peek(control, &mut said), Ok(got) if got == said.len()) && said[HELLO..] == protocol::TAKEN
        });
        if let Some(handles) = self.handles.as_ref().filter(|_| !taken) {
            ReceivedMessage { bytes: Bytes::Here(Vec::new()), manifest: handles.clone(), fds: Vec::new(), taken: None }
                .discard();
        }
    }

    /// Whether its arguments may still be on their way. Its end is news then.
    pub(super) fn may_have_left_arguments(&self) -> bool {
        self.untaken.load(SeqCst) && self.ended().is_none()
    }

    /// Waits for the end, at most until the deadline.
    pub(super) fn wait(&self, deadline: Option<Deadline>) -> Option<End> {
        loop {
            if let Some(end) = self.ended() {
                return Some(end);
            }
            if !self.pidfd.wait(deadline) {
                return self.ended();
            }
        }
    }

    pub(super) fn wait_for_good(&self) -> End {
        loop {
            if let Some(end) = self.wait(None) {
                return end;
            }
        }
    }

    /// Nobody joins it any more, not even the end of this process.
    pub(super) fn detach(&self) {
        self.detached.store(true, SeqCst);
    }

    pub(super) fn is_detached(&self) -> bool {
        self.detached.load(SeqCst)
    }

    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        self.pidfd.signal(signal)
    }

    /// What the child reported, when it has ended; once.
    pub(super) fn take_report(&self) -> Option<Report> {
        let control = locked(&self.control).take()?;
        let mut hello = [0; HELLO];
        (&control).read_exact(&mut hello).ok()?;
        let mut taken = [0; protocol::TAKEN.len()];
        if self.handles.is_some() && socket::peek(&control, &mut taken).is_ok() && taken == protocol::TAKEN {
            (&control).read_exact(&mut taken).ok()?;
        }
        protocol::read_report(&control)
    }
}

impl Drop for Life {
    /// A result that nobody wanted gives up its handles.
    fn drop(&mut self) {
        if self.parent == std::process::id()
            && self.ended().is_some()
            && let Some(Report::Returned(result)) = self.take_report()
        {
            result.discard();
        }
    }
}
