//! How a parent gets children: its fork server, its lifeline, and the hand-over of an order (`wire`).

use super::child_record::ChildRecord;
use super::protocol::{self, ACK, Answer, Body, FORK_REQUEST, Identity, SpawnRequest, WATCH};
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
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How a child comes to be.
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
    /// Forked from a helper that is this program, executed once, with one thread: quick, whatever the size of this process,
    /// and safe with threads.
    #[default]
    ForkServer,
    /// This program, executed anew for the child: slower, and with a memory layout of its own.
    Spawn,
}

/// A child to be.
pub(super) struct ChildSpec {
    pub(super) code: Code,
    pub(super) identity: Identity,
    pub(super) environment: Vec<(OsString, OsString)>,
    pub(super) streams: [Option<Fd>; 3],
    pub(super) method: StartMethod,
}

/// Everything of a plan that is ready to be written.
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
    /// The control stream of a child that was called for already, and waits for its order.
    pub(super) ahead: Option<UnixStream>,
}

/// What a server said.
pub(super) enum Reply {
    Child(PidFd, u32),
    Refused(i32),
    /// Nothing: it has died.
    Dead,
}

/// How much a child was told.
pub(super) enum Sent {
    All,
    /// This process is not any more what it was when it started the server, so the child is not to be.
    NoGoAhead,
    /// The child has died.
    ChildDied,
}

/// A child that was told everything, and the control stream to it.
pub(super) type Spawned = (PidFd, u32, UnixStream);

static CLIENT: Mutex<ForkServerClient> = Mutex::new(ForkServerClient { lifeline: None, server: None, reader: None });

pub(super) fn lock() -> MutexGuard<'static, ForkServerClient> {
    CLIENT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The parent's end for a child by `fork`.
pub(super) fn parents_end() -> io::Result<ParentsEnd> {
    lock().lifeline()?.end().duplicate()
}

/// A control stream, whose end here does not block.
pub(super) fn control_pair() -> io::Result<(UnixStream, UnixStream)> {
    let (here, there) = UnixStream::pair()?;
    here.set_nonblocking(true)?;
    Ok((here, there))
}

/// Starts the child. What it is told is delivered if this succeeds.
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
            transfer::look_out_with(registry::watch_pending_arguments);
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

    /// Sends an order to a child of the server; none if that or the server has died, or another server is needed.
    fn send(&mut self, request: &PreparedRequest<'_>) -> Result<Option<Spawned>, SpawnError> {
        let end = self.lifeline()?.end().duplicate()?;
        let reader = ProcReader::of_this_thread(&mut self.reader)?;
        let server = match &mut self.server {
            Some(server) => server,
            none => none.insert(ServerHandle::start(reader)?),
        };
        let room = end.duplicate()?; // for the descriptor that comes with the answer
        let was_ahead = server.ahead.is_some();
        let Some(here) = server.next_control()? else {
            self.drop_server();
            return Ok(None);
        };
        let sent = server.send(request, &here, &end, reader);
        drop(room);
        match (sent, server.answer()?) {
            // It was when there was no room; there may be by now.
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

    /// A child that is executed for itself: its link carries the greeting and the call, and is gone then.
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
            // It was killed meanwhile: that is its end like any other.
            Err(SpawnError::Os(error)) if is_dead(&error.into()) => Ok((pidfd, pid, here)),
            Err(error) => {
                end(&pidfd, Duration::ZERO);
                Err(error)
            }
        }
    }

    /// Lets the server go. If it lives, it stays for the names of its children; somebody has to reap it in the end.
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

/// A server that died may have made the child: the hello tells, or the end of the stream that there is none.
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

/// The errors of a socket whose other end is gone.
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

    /// The control stream of the next child, for which the next answer is; none if the server has died.
    fn next_control(&mut self) -> io::Result<Option<UnixStream>> {
        match self.ahead.take() {
            Some(here) => Ok(Some(here)),
            None => self.request_fork(),
        }
    }

    /// Has it fork.
    pub(super) fn request_fork(&mut self) -> io::Result<Option<UnixStream>> {
        let limit = attributes::process_limit();
        if self.process_limit != limit {
            attributes::set_process_limit(self.executed.pid, limit);
            self.process_limit = limit;
        }
        // Under the nursery's lock from the pair on: a fork must not copy the child's end.
        let (here, there) = control_pair()?;
        match self.executed.link.send(&FORK_REQUEST, &[there]) {
            Err(error) if is_dead(&error) => Ok(None),
            sent => sent.map(|()| Some(here)),
        }
    }

    /// Has it fork for the next order, so that this one does not wait for it. If it cannot, that one does.
    fn fork_ahead(&mut self) {
        self.ahead = self.request_fork().ok().flatten();
    }

    /// Tells a child everything, and compares this process with what it was when the server was started while the child
    /// reads the order.
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
        let mut answer = [0; size_of::<Answer>()];
        let (bytes, fds) = match self.executed.link.recv_as_far_as_possible(&mut answer) {
            Ok(Some(answer)) => answer,
            Ok(None) => return Ok(Reply::Dead),
            Err(error) if is_dead(&error) => return Ok(Reply::Dead),
            Err(error) => return Err(error.into()),
        };
        if bytes.len() != size_of::<Answer>() {
            return Ok(Reply::Dead);
        }
        let Answer { pid, errno } = bytemuck::pod_read_unaligned(bytes);
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
    // SAFETY: we hold the nursery's mutex.
    unsafe { HANDOFF.put((client, registry::lock())) };
}

#[allow(unsafe_code)]
fn after_fork() {
    // SAFETY: between the halves of a fork nobody else gets the mutexes.
    drop(unsafe { HANDOFF.take() });
}

/// The child's copies of the link and of the lifeline close: its parent alone has these.
#[allow(unsafe_code)]
fn in_child() {
    // SAFETY: as above.
    if let Some((mut client, mut children)) = unsafe { HANDOFF.take() } {
        *client = ForkServerClient::default();
        children.forget();
    }
}
