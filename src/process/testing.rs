//! The pieces of a start, each by itself, so that the kill suite can kill one party at any instruction.

use super::child_record::ChildRecord;
use super::fork_server::ForkServer;
use super::fork_server_client::{
    self, ChildSpec, PreparedRequest, Reply, ServerHandle, StartMethod, parents_end, wait_for_ack,
};
use super::handle::Process;
use super::protocol::{self, Body, ChildReport, Identity};
use super::reexec::{Executed, TOO_OFTEN};
use super::{child_main, current, registry};
use crate::entry::{Code, Entry};
use crate::segment::{sweep_names, transfer};
use crate::sys::attributes::{self, ProcReader};
use crate::sys::image::Start;
use crate::sys::pidfd::PidFd;
use crate::sys::socket::{Link, UnixStream};
use crate::sys::{Fd, OwnedFd};
use crate::{Message, Os, SpawnError};
use std::sync::Arc;

/// Ends this process's fork server, and the child that it has forked ahead, and reaps both.
pub fn close_fork_server() {
    let Some(mut server) = fork_server_client::lock().server.take() else { return };
    if server.ahead.take().is_some()
        && let Ok(Reply::Child(child, _)) = server.answer()
    {
        child.wait(None);
        child.reap();
    }
    let Executed { link, pidfd, .. } = server.executed;
    drop(link);
    pidfd.wait(None);
    pidfd.reap();
}

/// Waits for this process's children, as the end of the process does.
pub fn join_children() {
    registry::join_all();
}

/// Removes names that no process holds, as a fork server does.
pub fn sweep() {
    sweep_names();
}

/// Both ends of a link between a parent and a server.
pub fn link() -> std::io::Result<(OwnedFd, OwnedFd)> {
    Link::pair().map(|(here, there)| [here, there].map(Link::into_fd).into())
}

/// Serves one fork request in this process. Returns whether it could.
pub fn serve_one(link: OwnedFd) -> bool {
    let serve = |link| ForkServer::new(link)?.receive(&Start::of_main());
    Link::of(link).is_some_and(|link| serve(link).is_ok())
}

/// Makes this process a child that was just forked. Returns its exit code.
pub fn run_request(control: OwnedFd) -> Option<i32> {
    child_main::run_request(control, &Start::of_main()).ok()
}

/// A spawn in two halves, to a server that the caller has: what a parent sends, and what it makes of the answer.
#[derive(Debug)]
pub struct TestHandOver {
    server: ServerHandle,
    here: UnixStream,
    identity: Identity,
    handles: Option<Vec<u8>>,
}

impl TestHandOver {
    /// Sends a fork request and the spawn request, and the go-ahead if `go_ahead`.
    pub fn begin<A: Message, M, F: Entry<A, M>>(
        link: OwnedFd,
        f: F,
        args: A,
        go_ahead: bool,
    ) -> Result<Self, SpawnError> {
        let link = Link::of(link).ok_or(SpawnError::NotHooked)?;
        let executed = Executed { link, pid: std::process::id(), pidfd: PidFd::open(std::process::id())? };
        let identity = current::next_identity(None, false, false);
        let streams = [const { None::<Fd> }; 3];
        let (code, method) = (Code::of(f)?, StartMethod::ForkServer);
        let spec = ChildSpec { code, identity, environment: Vec::new(), streams, method };
        let packed = transfer::encode(&args).map_err(SpawnError::Encode)?;
        let mut reader = None;
        let reader = ProcReader::of_this_thread(&mut reader)?;
        let (attributes_now, credentials) = reader.read()?;
        let limit = attributes::process_limit();
        let mut server = ServerHandle { executed, credentials, attributes_now, process_limit: limit, ahead: None };
        let environment = attributes::environment(&[]);
        let body = Body::new(&environment, &packed)?;
        let folder = attributes::working_folder()?;
        let request = PreparedRequest { spec: &spec, body, folder, fds_of_arguments: &packed.fds };
        let end = parents_end()?;
        let here = server.request_fork()?.ok_or(TOO_OFTEN)?;
        if go_ahead {
            server.send(&request, &here, &end, reader)?;
        } else {
            request.write(&here, &end)?;
        }
        drop(request);
        let handles = protocol::handles_of(&packed.manifest);
        packed.delivered();
        Ok(TestHandOver { server, here, identity: spec.identity, handles })
    }

    /// What a parent makes of the answer, or of its absence: the child, if there is or may be one.
    pub fn finish<R: Message>(self) -> Result<Option<Process<R>>, SpawnError> {
        let TestHandOver { server, here, identity, handles } = self;
        let mut greeting = [0; 64];
        // The first call on a link that broke reports that.
        let link = &server.executed.link;
        let _ = link.recv(&mut greeting).or_else(|_| link.recv(&mut [0; 64]).map(|_| None));
        let spawned = match server.answer()? {
            Reply::Child(pidfd, pid) => Some((pidfd, pid, here)),
            Reply::Dead => wait_for_ack(here)?,
            Reply::Refused(errno) => return Err(SpawnError::Os(Os(errno))),
        };
        let record = |(pidfd, pid, control)| ChildRecord::with(pid, &identity, pidfd, control, handles);
        Ok(spawned.map(|spawned| Process::of(Arc::new(record(spawned)))))
    }

    /// The server's part, except for the fork: the child's end of the control stream.
    pub fn take_request(link: OwnedFd) -> Option<OwnedFd> {
        let mut packet = [0; 16];
        Link::of(link)?.recv(&mut packet).ok()??.1.pop()
    }

    /// The result that the child reported, without any word of the server.
    pub fn read_report<R: Message>(self) -> Option<R> {
        let pidfd = PidFd::open(std::process::id()).ok()?;
        match ChildRecord::with(0, &self.identity, pidfd, self.here, self.handles).take_report() {
            Some(ChildReport::Returned(result)) => result.decode().ok(),
            _ => None,
        }
    }

    /// The parent dies before the go-ahead.
    pub fn abandon(self) {}
}
