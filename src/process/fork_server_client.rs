//! How a parent starts children: its fork server, its lifeline, and the exchange of a start (`protocol`).

use super::child_record::ChildRecord;
use super::protocol::{self, ACK, Body, FORK_REQUEST, ForkReply, Identity, SpawnRequest, WATCH};
use super::reexec::{Executed, TOO_OFTEN, TRIES, end, execute, own_child};
use super::registry;
use crate::entry::Code;
use crate::segment::transfer::{self, EncodedMessage};
use crate::sys::attributes::{self, Attributes, Credentials, ProcReader};
use crate::sys::fork_hooks;
use crate::sys::fork_hooks::ForkHooks;
use crate::sys::fork_hooks::Layer;
use crate::sys::lifeline::{Lifeline, ParentsEnd};
use crate::sys::pidfd::{PidFd, Status};
use crate::sys::socket::{self, MOST_FDS, UnixStream};
use crate::sys::spawn::{self, Role};
use crate::sys::{AsFd, Fd, ForkHandoff, as_number, poll};
use crate::{Os, SpawnError};
use std::ffi::OsString;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// How a child is started.
///
/// ```
/// use crossproc::{Process, StartMethod};
/// let child = Process::builder().start_method(StartMethod::Spawn).spawn(|| 7, ())?;
/// assert_eq!(child.join()?, 7);
/// # Ok::<(), crossproc::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum StartMethod {
    /// Forked from a helper: this program, executed once, with one thread. Fast, whatever the size of this process, and
    /// safe with threads.
    #[default]
    ForkServer,
    /// This program, executed again for the child: slower, and with a memory layout of its own.
    Spawn,
}

/// The specification of a child to start.
pub(super) struct ChildSpec {
    pub(super) code: Code,
    pub(super) identity: Identity,
    pub(super) environment: Vec<(OsString, OsString)>,
    pub(super) streams: [Option<Fd>; 3],
    pub(super) method: StartMethod,
}

/// A spawn request with everything that is needed to write it.
pub(super) struct PreparedRequest<'a> {
    pub(super) spec: &'a ChildSpec,
    pub(super) body: Body<'a>,
    pub(super) folder: Fd,
    pub(super) fds_of_arguments: &'a [Fd],
}

#[derive(Default)]
pub(super) struct ForkServerClient {
    lifeline: Option<Lifeline>,
    pub(super) server: Option<ServerHandle>,
    reader: Option<ProcReader>,
}

#[derive(Debug)]
pub(super) struct ServerHandle {
    pub(super) executed: Executed,
    /// Of this process when it started the server, which cannot change its own.
    pub(super) credentials: Credentials,
    pub(super) attributes_now: Attributes,
    pub(super) process_limit: (u64, u64),
    /// The control stream of a child that was forked ahead and waits for its spawn request.
    pub(super) ahead: Option<UnixStream>,
}

/// What a server replied.
pub(super) enum Reply {
    Child(PidFd, u32),
    Refused(i32),
    /// Nothing: it has died.
    Dead,
}

/// How much a child was sent.
pub(super) enum Sent {
    All,
    /// The credentials of this process have changed since it started the server, so the child must not run.
    NoGoAhead,
    /// The child has died.
    ChildDied,
}

/// A child that was sent everything, and its control stream.
pub(super) type Spawned = (PidFd, u32, UnixStream);

static CLIENT: Mutex<ForkServerClient> = Mutex::new(ForkServerClient { lifeline: None, server: None, reader: None });

pub(super) fn lock() -> MutexGuard<'static, ForkServerClient> {
    crate::error::locked(&CLIENT)
}

/// The read end of the lifeline for a child by `fork`.
pub(super) fn parents_end() -> io::Result<ParentsEnd> {
    lock().lifeline()?.end().duplicate()
}

/// A control stream, whose end in this process does not block.
pub(super) fn control_pair() -> io::Result<(UnixStream, UnixStream)> {
    let (here, there) = UnixStream::pair()?;
    here.set_nonblocking(true)?;
    Ok((here, there))
}

/// Starts the child. The handles in `packed` are delivered if this succeeds.
pub(super) fn spawn_child(spec: ChildSpec, packed: EncodedMessage) -> Result<Arc<ChildRecord>, SpawnError> {
    let environment = attributes::environment(&spec.environment);
    let body = Body::new(&environment, &packed)?;
    let request =
        PreparedRequest { spec: &spec, body, folder: attributes::working_folder()?, fds_of_arguments: &packed.fds };
    let serves = spec.method == StartMethod::ForkServer && spawn::can_clone_siblings();
    for _ in 0..TRIES {
        let mut client = lock();
        let spawned = if serves { client.send(&request)? } else { Some(client.execute(&request)?) };
        drop(client);
        if let Some((pidfd, pid, control)) = spawned {
            drop(request);
            let handles = protocol::handles_of(&packed.manifest);
            packed.delivered();
            let record = Arc::new(ChildRecord::with(pid, &spec.identity, pidfd, control, handles));
            registry::join_at_exit();
            registry::lock().add(record.clone());
            transfer::set_receiver_watch(registry::watch_pending_arguments);
            return Ok(record);
        }
    }
    Err(TOO_OFTEN)
}

impl PreparedRequest<'_> {
    pub(super) fn write(&self, here: &UnixStream, end: &ParentsEnd) -> Result<(), SpawnError> {
        let spec = self.spec;
        let streams = spec.streams.each_ref().map(Option::is_some);
        let order = SpawnRequest { code: spec.code, identity: spec.identity.clone(), streams };
        let mut fds: Vec<&dyn AsFd> = vec![end, &self.folder];
        fds.extend(spec.streams.iter().flatten().map(|fd| fd as &dyn AsFd));
        protocol::send_request(here, &order, &self.body, &fds, self.fds_of_arguments)
    }
}

impl ForkServerClient {
    fn lifeline(&mut self) -> io::Result<&Lifeline> {
        match self.lifeline {
            Some(ref lifeline) => Ok(lifeline),
            None => Ok(self.lifeline.insert(Lifeline::new()?)),
        }
    }

    /// Sends a request to a child of the server; `None` if the child or the server has died, or another server is
    /// needed.
    fn send(&mut self, request: &PreparedRequest<'_>) -> Result<Option<Spawned>, SpawnError> {
        let end = self.lifeline()?.end().duplicate()?;
        let reader = ProcReader::of_this_thread(&mut self.reader)?;
        let server = match &mut self.server {
            Some(server) => server,
            none => none.insert(ServerHandle::start(reader)?),
        };
        let room = end.duplicate()?; // for the descriptor that comes with the reply
        let was_ahead = server.ahead.is_some();
        let Some(here) = server.next_control()? else {
            self.drop_server();
            return Ok(None);
        };
        let sent = server.send(request, &here, &end, reader);
        drop(room);
        match (sent, server.answer()?) {
            // That was at a time without room; there may be room now.
            (_, Reply::Refused(_)) if was_ahead => Ok(None),
            (_, Reply::Refused(errno)) => Err(SpawnError::Os(Os(errno))),
            (Ok(Sent::All), Reply::Child(pidfd, pid)) => {
                server.fork_ahead();
                Ok(Some((pidfd, pid, here)))
            }
            (Ok(Sent::All), Reply::Dead) => {
                self.drop_server();
                wait_for_ack(here)
            }
            (sent, reply) => {
                drop(here); // so the child ends
                let is_dead = matches!(reply, Reply::Dead);
                if let Reply::Child(pidfd, _) = reply {
                    pidfd.wait(None);
                    pidfd.reap();
                }
                if is_dead || matches!(sent, Ok(Sent::NoGoAhead)) {
                    self.drop_server();
                }
                sent.map(|_| None)
            }
        }
    }

    /// A child that is executed for itself. Its link carries the greeting and the fork request, and is closed then.
    fn execute(&mut self, request: &PreparedRequest<'_>) -> Result<Spawned, SpawnError> {
        let parents_end = self.lifeline()?.end().duplicate()?;
        // Under the lock from the pair on: a fork must not copy the child's end.
        let (here, there) = control_pair()?;
        let Executed { link, pid, pidfd } = execute(Role::Child)?;
        let reader = ProcReader::of_this_thread(&mut self.reader)?;
        let send = || {
            link.send(&FORK_REQUEST, &[there])?;
            request.write(&here, &parents_end)?;
            let (attributes_now, _) = reader.read()?;
            protocol::send_go_ahead(&here, &attributes_now.changes(None))
        };
        match send() {
            Ok(()) => Ok((pidfd, pid, here)),
            // It was killed meanwhile, which is an end like any other.
            Err(SpawnError::Os(error)) if is_dead(&error.into()) => Ok((pidfd, pid, here)),
            Err(error) => {
                end(&pidfd, Duration::ZERO);
                Err(error)
            }
        }
    }

    /// Releases the server. If it lives, it stays for the names of its children, and must be reaped in the end.
    fn drop_server(&mut self) {
        let Some(ServerHandle { executed: Executed { link, pid, pidfd }, .. }) = self.server.take() else { return };
        drop(link);
        if pidfd.reap() == Status::Running
            && let Ok((here, _)) = control_pair()
        {
            let record = Arc::new(ChildRecord::new(pid, &Identity::called("fork server"), pidfd, here));
            record.detach();
            registry::reap_in_background(record);
        }
    }
}

/// A server that died may have created the child. Its acknowledgement shows that; the end of the stream shows that
/// there is none.
pub(super) fn wait_for_ack(here: UnixStream) -> Result<Option<Spawned>, SpawnError> {
    poll::readable(as_number(&here), None);
    let mut ack = [0; ACK]; // which stays in the stream, where the report's reader expects it
    match socket::peek(&here, &mut ack) {
        Ok(ACK) => {
            let pid = u32::from_ne_bytes(ack);
            Ok(Some((own_child(pid)?, pid, here)))
        }
        _ => Ok(None),
    }
}

/// Whether the error means that the other end of a socket is gone.
fn is_dead(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, NotConnected};
    matches!(error.kind(), BrokenPipe | ConnectionReset | NotConnected)
}

impl ServerHandle {
    fn start(reader: &mut ProcReader) -> Result<Self, SpawnError> {
        let (attributes_now, credentials) = reader.read()?;
        let executed = execute(Role::Server)?;
        // Children of a server that is gone.
        let running = registry::lock().running().to_vec();
        for chunk in running.chunks(MOST_FDS) {
            let fds: Vec<&PidFd> = chunk.iter().map(|record| &record.pidfd).collect();
            executed.link.send(&WATCH, &fds)?;
        }
        Ok(ServerHandle { executed, credentials, attributes_now, process_limit: (u64::MAX, u64::MAX), ahead: None })
    }

    /// The control stream of the next child, to which the next reply belongs; `None` if the server has died.
    fn next_control(&mut self) -> io::Result<Option<UnixStream>> {
        match self.ahead.take() {
            Some(here) => Ok(Some(here)),
            None => self.request_fork(),
        }
    }

    /// Makes the server fork.
    pub(super) fn request_fork(&mut self) -> io::Result<Option<UnixStream>> {
        let limit = attributes::process_limit();
        if self.process_limit != limit {
            attributes::set_process_limit(self.executed.pid, limit);
            self.process_limit = limit;
        }
        // Under the client's lock from the pair on: a fork must not copy the child's end.
        let (here, there) = control_pair()?;
        match self.executed.link.send(&FORK_REQUEST, &[there]) {
            Err(error) if is_dead(&error) => Ok(None),
            sent => sent.map(|()| Some(here)),
        }
    }

    /// Makes the server fork for the next request, so that this one does not wait for it. If it cannot, the next
    /// request waits.
    fn fork_ahead(&mut self) {
        self.ahead = self.request_fork().ok().flatten();
    }

    /// Sends a child everything. While the child reads the request, compares this process's credentials with those at
    /// the start of the server.
    pub(super) fn send(
        &self,
        request: &PreparedRequest<'_>,
        here: &UnixStream,
        end: &ParentsEnd,
        reader: &mut ProcReader,
    ) -> Result<Sent, SpawnError> {
        let mut send = || {
            request.write(here, end)?;
            let (attributes_now, credentials) = reader.read()?;
            if credentials != self.credentials {
                return Ok(Sent::NoGoAhead);
            }
            protocol::send_go_ahead(here, &attributes_now.changes(Some(&self.attributes_now)))?;
            Ok(Sent::All)
        };
        match send() {
            Err(SpawnError::Os(error)) if is_dead(&error.into()) => Ok(Sent::ChildDied),
            sent => sent,
        }
    }

    pub(super) fn answer(&self) -> Result<Reply, SpawnError> {
        let mut answer = [0; size_of::<ForkReply>()];
        let (bytes, fds) = match self.executed.link.recv_as_far_as_possible(&mut answer) {
            Ok(Some(answer)) => answer,
            Ok(None) => return Ok(Reply::Dead),
            Err(error) if is_dead(&error) => return Ok(Reply::Dead),
            Err(error) => return Err(error.into()),
        };
        if bytes.len() != size_of::<ForkReply>() {
            return Ok(Reply::Dead);
        }
        let ForkReply { pid, errno } = bytemuck::pod_read_unaligned(bytes);
        match (errno, fds.into_iter().next()) {
            (0, Some(pidfd)) => Ok(Reply::Child(PidFd::of(pidfd), pid)),
            (0, None) => Ok(Reply::Child(own_child(pid)?, pid)), // there was no room for it
            (errno, _) => Ok(Reply::Refused(errno)),
        }
    }
}

/// Both mutexes, on their way through a fork.
type Locks = (MutexGuard<'static, ForkServerClient>, MutexGuard<'static, registry::Children>);
static HANDOFF: ForkHandoff<Locks> = ForkHandoff::new();

/// From here on, a fork finds nothing of this layer half-done, and leaves nothing of it to the child.
pub(super) fn watch_forks() {
    fork_hooks::set(Layer::Family, ForkHooks { prepare: before_fork, parent: after_fork, child: in_child });
}

#[allow(unsafe_code)]
fn before_fork() {
    let client = lock();
    // SAFETY: this thread holds the client's mutex, which guards the handoff.
    unsafe { HANDOFF.put((client, registry::lock())) };
}

#[allow(unsafe_code)]
fn after_fork() {
    // SAFETY: between the two hooks no other thread can get the mutexes.
    drop(unsafe { HANDOFF.take() });
}

/// The child's copies of link and lifeline are closed: they are its parent's alone.
#[allow(unsafe_code)]
fn in_child() {
    // SAFETY: between the two hooks no other thread can get the mutexes.
    if let Some((mut client, mut children)) = unsafe { HANDOFF.take() } {
        *client = ForkServerClient::default();
        children.forget();
    }
}
