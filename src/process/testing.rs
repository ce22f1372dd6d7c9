//! The pieces of a hand-over, each for itself, so that the kill suite can kill one party while it stands at any instruction.

use super::child_main;
use super::fork_server_client::{self, HandOver, Plan, StartMethod};
use super::handle::Process;
use super::reexec::Executed;
use super::{current, fork_server, registry};
use crate::entry::{Code, Entry};
use crate::segment::{sweep_names, transfer};
use crate::sys::image::Start;
use crate::sys::pidfd::PidFd;
use crate::sys::socket::Link;
use crate::sys::{Fd, OwnedFd};
use crate::{Message, SpawnError};

/// Ends this process's fork server, and the child that it has forked ahead, and reaps both.
pub fn close_nursery() {
    fork_server_client::close();
}

/// Waits for this process's children, as its end does.
pub fn join_children() {
    registry::join_all();
}

/// Removes the names that nobody holds, as a fork server does.
pub fn sweep() {
    sweep_names();
}

/// Both ends of a link between a parent and a server.
pub fn link() -> std::io::Result<(OwnedFd, OwnedFd)> {
    Link::pair().map(|(here, there)| [here, there].map(Link::into_fd).into())
}

/// This process is a server for one call.
pub fn serve_one(link: OwnedFd) -> bool {
    Link::of(link).is_some_and(|link| fork_server::serve_one(link).is_ok())
}

/// This process is a child that was just forked: gives its exit code.
pub fn live(control: OwnedFd) -> Option<i32> {
    child_main::live(control, &Start::of_main()).ok()
}

/// A hand-over whose answer was not read yet.
#[derive(Debug)]
pub struct TestHandOver(HandOver);

impl TestHandOver {
    /// Calls a server and tells the child everything, or all but the word.
    pub fn begin<A: Message, M, F: Entry<A, M>>(link: OwnedFd, f: F, args: A, word: bool) -> Result<Self, SpawnError> {
        let link = Link::of(link).ok_or(SpawnError::NotHooked)?;
        let executed = Executed { link, pid: std::process::id(), pidfd: PidFd::open(std::process::id())? };
        let who = current::next_child(None, false, false);
        let streams = [const { None::<Fd> }; 3];
        let plan = Plan { code: Code::of(f)?, who, environment: Vec::new(), streams, method: StartMethod::ForkServer };
        let packed = transfer::encode(&args).map_err(SpawnError::Encode)?;
        HandOver::begin(executed, &plan, packed, word).map(TestHandOver)
    }

    /// What a parent makes of the answer, or of its absence.
    pub fn finish<R: Message>(self) -> Result<Option<Process<R>>, SpawnError> {
        Ok(self.0.finish()?.map(Process::of))
    }

    /// The server's part, but for the fork: the child's end.
    pub fn take_call(link: OwnedFd) -> Option<OwnedFd> {
        let mut packet = [0; 16];
        Link::of(link)?.recv(&mut packet).ok()??.1.pop()
    }

    /// What the child reported, as a parent reads it that nobody else told anything.
    pub fn read_report<R: Message>(self) -> Option<R> {
        self.0.read_report()?.decode().ok()
    }

    /// The parent dies before the word.
    pub fn abandon(self) {
        self.0.abandon();
    }
}
