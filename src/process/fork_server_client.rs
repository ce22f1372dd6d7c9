//! How a parent gets children: its fork server, its lifeline, and the hand-over of an order (`wire`).

use super::child_record::Life;
use super::fork_server::Answer;
use super::protocol::{self, Body, CALL, HELLO, Order, WATCH, Who};
use super::reexec::{Executed, TOO_OFTEN, TRIES, end, execute, own_child};
use super::registry;
use crate::entry::Code;
use crate::segment::transfer::{self, EncodedMessage, ReceivedMessage};
use crate::sys::attributes::{self, Attributes, Credentials, ProcReader};
use crate::sys::lifeline::{Lifeline, ParentsEnd};
use crate::sys::pidfd::{PidFd, Status};
use crate::sys::process_id::{self, ForkHooks, Layer};
use crate::sys::socket::{self, MOST_FDS, UnixStream};
use crate::sys::spawn::{self, Role};
use crate::sys::{AsFd, Fd, ForkHandoff, as_number, poll};
use crate::{Os, SpawnError};
use std::ffi::OsString;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
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
pub(super) struct Plan {
    pub(super) code: Code,
    pub(super) who: Who,
    pub(super) environment: Vec<(OsString, OsString)>,
    pub(super) streams: [Option<Fd>; 3],
    pub(super) method: StartMethod,
}

/// Everything of a plan that is ready to be written.
struct Letter<'a> {
    plan: &'a Plan,
    body: Body<'a>,
    folder: Fd,
    baggage: &'a [Fd],
}

#[derive(Default)]
struct Nursery {
    lifeline: Option<Lifeline>,
    server: Option<Server>,
    mirror: Option<ProcReader>,
}

#[derive(Debug)]
struct Server {
    executed: Executed,
    /// Of this process when it started the server, which cannot change its own.
    standing: Credentials,
    surroundings: Attributes,
    process_limit: (u64, u64),
    /// The control stream of a child that was called for already, and waits for its order.
    ahead: Option<UnixStream>,
}

/// What a server said.
enum Said {
    Child(PidFd, u32),
    Refused(i32),
    /// Nothing: it has died.
    Dead,
}

/// How much a child was told.
enum Told {
    All,
    /// This process is not any more what it was when it started the server, so the child is not to be.
    NotTheWord,
    /// The child has died.
    Nobody,
}

/// A child that was told everything, and the control stream to it.
type Born = (PidFd, u32, UnixStream);

static NURSERY: Mutex<Nursery> = Mutex::new(Nursery { lifeline: None, server: None, mirror: None });

fn lock() -> MutexGuard<'static, Nursery> {
    crate::error::locked(&NURSERY)
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
pub(super) fn bear(plan: Plan, packed: EncodedMessage) -> Result<Arc<Life>, SpawnError> {
    let environment = attributes::environment(&plan.environment);
    let body = Body::new(&environment, &packed)?;
    let letter = Letter { plan: &plan, body, folder: attributes::working_folder()?, baggage: &packed.fds };
    let serves = plan.method == StartMethod::ForkServer && spawn::can_clone_siblings();
    for _ in 0..TRIES {
        let mut nursery = lock();
        let born = if serves { nursery.send(&letter)? } else { Some(nursery.execute(&letter)?) };
        drop(nursery);
        if let Some((pidfd, pid, control)) = born {
            drop(letter);
            let handles = protocol::handles_in(&packed.manifest);
            packed.delivered();
            let life = Arc::new(Life::with(pid, &plan.who, pidfd, control, handles));
            registry::join_at_exit();
            registry::lock().add(life.clone());
            transfer::look_out_with(registry::look_after_arguments);
            return Ok(life);
        }
    }
    Err(TOO_OFTEN)
}

impl Letter<'_> {
    fn write(&self, here: &UnixStream, end: &ParentsEnd) -> Result<(), SpawnError> {
        let plan = self.plan;
        let streams = plan.streams.each_ref().map(Option::is_some);
        let order = Order { code: plan.code, who: plan.who.clone(), streams };
        let mut fds: Vec<&dyn AsFd> = vec![end, &self.folder];
        fds.extend(plan.streams.iter().flatten().map(|fd| fd as &dyn AsFd));
        protocol::send_order(here, &order, &self.body, &fds, self.baggage)
    }
}

impl Nursery {
    fn lifeline(&mut self) -> io::Result<&Lifeline> {
        match self.lifeline {
            Some(ref lifeline) => Ok(lifeline),
            None => Ok(self.lifeline.insert(Lifeline::new()?)),
        }
    }

    /// Sends an order to a child of the server; none if that or the server has died, or another server is needed.
    fn send(&mut self, letter: &Letter<'_>) -> Result<Option<Born>, SpawnError> {
        let end = self.lifeline()?.end().duplicate()?;
        let mirror = ProcReader::of_this_thread(&mut self.mirror)?;
        let server = match &mut self.server {
            Some(server) => server,
            none => none.insert(Server::start(mirror)?),
        };
        let room = end.duplicate()?; // for the descriptor that comes with the answer
        let was_ahead = server.ahead.is_some();
        let Some(here) = server.next_control()? else {
            self.bury_server();
            return Ok(None);
        };
        let told = server.tell(letter, &here, &end, mirror);
        drop(room);
        match (told, server.answer()?) {
            // It was when there was no room; there may be by now.
            (_, Said::Refused(_)) if was_ahead => Ok(None),
            (_, Said::Refused(errno)) => Err(SpawnError::Os(Os(errno))),
            (Ok(Told::All), Said::Child(pidfd, pid)) => {
                server.call_ahead();
                Ok(Some((pidfd, pid, here)))
            }
            (Ok(Told::All), Said::Dead) => {
                self.bury_server();
                wait_for_hello(here)
            }
            (told, said) => {
                drop(here); // so the child ends
                let is_dead = matches!(said, Said::Dead);
                if let Said::Child(pidfd, _) = said {
                    pidfd.wait(None);
                    pidfd.reap();
                }
                if is_dead || matches!(told, Ok(Told::NotTheWord)) {
                    self.bury_server();
                }
                told.map(|_| None)
            }
        }
    }

    /// A child that is executed for itself: its link carries the greeting and the call, and is gone then.
    fn execute(&mut self, letter: &Letter<'_>) -> Result<Born, SpawnError> {
        let parents_end = self.lifeline()?.end().duplicate()?;
        // Under the lock from the pair on: a fork must not copy the child's end.
        let (here, there) = control_pair()?;
        let Executed { link, pid, pidfd } = execute(Role::Child)?;
        let mirror = ProcReader::of_this_thread(&mut self.mirror)?;
        let tell = || {
            link.send(&CALL, &[there])?;
            letter.write(&here, &parents_end)?;
            let (surroundings, _) = mirror.look()?;
            protocol::send_word(&here, &surroundings.changes(None))
        };
        match tell() {
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
    fn bury_server(&mut self) {
        let Some(Server { executed: Executed { link, pid, pidfd }, .. }) = self.server.take() else { return };
        drop(link);
        if pidfd.reap() == Status::Running
            && let Ok((here, _)) = control_pair()
        {
            let life = Arc::new(Life::new(pid, &Who::called("fork server"), pidfd, here));
            life.detach();
            registry::reap_in_background(life);
        }
    }
}

/// A hand-over in two halves, to a server that the caller has: what a parent sends, and what it makes of the answer. For the
/// kill suite, which kills the server in between.
#[derive(Debug)]
pub(crate) struct HandOver {
    server: Server,
    here: UnixStream,
    who: Who,
    handles: Option<Vec<u8>>,
}

impl HandOver {
    /// `word`: whether the child hears everything.
    pub(super) fn begin(
        executed: Executed,
        plan: &Plan,
        packed: EncodedMessage,
        word: bool,
    ) -> Result<Self, SpawnError> {
        let mut mirror = None;
        let mirror = ProcReader::of_this_thread(&mut mirror)?;
        let (surroundings, standing) = mirror.look()?;
        let limit = attributes::process_limit();
        let mut server = Server { executed, standing, surroundings, process_limit: limit, ahead: None };
        let environment = attributes::environment(&[]);
        let body = Body::new(&environment, &packed)?;
        let letter = Letter { plan, body, folder: attributes::working_folder()?, baggage: &packed.fds };
        let end = parents_end()?;
        let here = server.call()?.ok_or(TOO_OFTEN)?;
        if word {
            server.tell(&letter, &here, &end, mirror)?;
        } else {
            letter.write(&here, &end)?;
        }
        drop(letter);
        let handles = protocol::handles_in(&packed.manifest);
        packed.delivered();
        Ok(HandOver { server, here, who: plan.who.clone(), handles })
    }

    /// The child, if there is one or may be one.
    pub(super) fn finish(self) -> Result<Option<Arc<Life>>, SpawnError> {
        let HandOver { server, here, who, handles } = self;
        let mut greeting = [0; 64];
        // Of a link that broke, the first word is that it did.
        let _ =
            server.executed.link.recv(&mut greeting).or_else(|_| server.executed.link.recv(&mut [0; 64]).map(|_| None));
        let born = match server.answer()? {
            Said::Child(pidfd, pid) => Some((pidfd, pid, here)),
            Said::Dead => wait_for_hello(here)?,
            Said::Refused(errno) => return Err(SpawnError::Os(Os(errno))),
        };
        Ok(born.map(|(pidfd, pid, control)| Arc::new(Life::with(pid, &who, pidfd, control, handles))))
    }

    /// The result that the child reported; the server said nothing.
    pub(super) fn read_report(self) -> Option<ReceivedMessage> {
        let pidfd = PidFd::open(std::process::id()).ok()?;
        match Life::with(0, &self.who, pidfd, self.here, self.handles).take_report() {
            Some(protocol::Report::Returned(result)) => Some(result),
            _ => None,
        }
    }

    /// Goes away without the word.
    pub(crate) fn abandon(self) {}
}

/// Lets the server go and sees it end, and the child that it forked ahead.
pub(crate) fn close() {
    let Some(mut server) = lock().server.take() else { return };
    if server.ahead.take().is_some()
        && let Ok(Said::Child(child, _)) = server.answer()
    {
        child.wait(None);
        child.reap();
    }
    let Executed { link, pidfd, .. } = server.executed;
    drop(link);
    pidfd.wait(None);
    pidfd.reap();
}

/// A server that died may have made the child: the hello tells, or the end of the stream that there is none.
fn wait_for_hello(here: UnixStream) -> Result<Option<Born>, SpawnError> {
    poll::readable(as_number(&here), None);
    let mut hello = [0; HELLO]; // which stays in the stream, where the report's reader expects it
    match socket::peek(&here, &mut hello) {
        Ok(HELLO) => {
            let pid = u32::from_ne_bytes(hello);
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

impl Server {
    fn start(mirror: &mut ProcReader) -> Result<Self, SpawnError> {
        let (surroundings, standing) = mirror.look()?;
        let executed = execute(Role::Server)?;
        // Children of a server that is gone.
        let running = registry::lock().running().to_vec();
        for some in running.chunks(MOST_FDS) {
            let fds: Vec<&PidFd> = some.iter().map(|life| &life.pidfd).collect();
            executed.link.send(&WATCH, &fds)?;
        }
        Ok(Server { executed, standing, surroundings, process_limit: (u64::MAX, u64::MAX), ahead: None })
    }

    /// The control stream of the next child, for which the next answer is; none if the server has died.
    fn next_control(&mut self) -> io::Result<Option<UnixStream>> {
        match self.ahead.take() {
            Some(here) => Ok(Some(here)),
            None => self.call(),
        }
    }

    /// Has it fork.
    fn call(&mut self) -> io::Result<Option<UnixStream>> {
        let limit = attributes::process_limit();
        if self.process_limit != limit {
            attributes::set_process_limit(self.executed.pid, limit);
            self.process_limit = limit;
        }
        // Under the nursery's lock from the pair on: a fork must not copy the child's end.
        let (here, there) = control_pair()?;
        match self.executed.link.send(&CALL, &[there]) {
            Err(error) if is_dead(&error) => Ok(None),
            sent => sent.map(|()| Some(here)),
        }
    }

    /// Has it fork for the next order, so that this one does not wait for it. If it cannot, that one does.
    fn call_ahead(&mut self) {
        self.ahead = self.call().ok().flatten();
    }

    /// Tells a child everything, and compares this process with what it was when the server was started while the child
    /// reads the order.
    fn tell(
        &self,
        letter: &Letter<'_>,
        here: &UnixStream,
        end: &ParentsEnd,
        mirror: &mut ProcReader,
    ) -> Result<Told, SpawnError> {
        let mut tell = || {
            letter.write(here, end)?;
            let (surroundings, standing) = mirror.look()?;
            if standing != self.standing {
                return Ok(Told::NotTheWord);
            }
            protocol::send_word(here, &surroundings.changes(Some(&self.surroundings)))?;
            Ok(Told::All)
        };
        match tell() {
            Err(SpawnError::Os(error)) if is_dead(&error.into()) => Ok(Told::Nobody),
            told => told,
        }
    }

    fn answer(&self) -> Result<Said, SpawnError> {
        let mut answer = [0; size_of::<Answer>()];
        let (bytes, fds) = match self.executed.link.recv_as_far_as_possible(&mut answer) {
            Ok(Some(answer)) => answer,
            Ok(None) => return Ok(Said::Dead),
            Err(error) if is_dead(&error) => return Ok(Said::Dead),
            Err(error) => return Err(error.into()),
        };
        if bytes.len() != size_of::<Answer>() {
            return Ok(Said::Dead);
        }
        let Answer { pid, errno } = bytemuck::pod_read_unaligned(bytes);
        match (errno, fds.into_iter().next()) {
            (0, Some(pidfd)) => Ok(Said::Child(PidFd::of(pidfd), pid)),
            (0, None) => Ok(Said::Child(own_child(pid)?, pid)), // there was no room for it
            (errno, _) => Ok(Said::Refused(errno)),
        }
    }
}

/// Both mutexes, on their way through a fork.
type Locks = (MutexGuard<'static, Nursery>, MutexGuard<'static, registry::Children>);
static PASSAGE: ForkHandoff<Locks> = ForkHandoff::new();

/// From here on, a fork finds nothing of this layer half-done, and leaves nothing of it to the child.
pub(super) fn watch_forks() {
    process_id::set_fork_hooks(Layer::Family, ForkHooks { prepare: before_fork, parent: after_fork, child: in_child });
}

#[allow(unsafe_code)]
fn before_fork() {
    let nursery = lock();
    // SAFETY: we hold the nursery's mutex.
    unsafe { PASSAGE.put((nursery, registry::lock())) };
}

#[allow(unsafe_code)]
fn after_fork() {
    // SAFETY: between the halves of a fork nobody else gets the mutexes.
    drop(unsafe { PASSAGE.take() });
}

/// The child's copies of the link and of the lifeline close: its parent alone has these.
#[allow(unsafe_code)]
fn in_child() {
    // SAFETY: as above.
    if let Some((mut nursery, mut children)) = unsafe { PASSAGE.take() } {
        *nursery = Nursery::default();
        children.forget();
    }
}
