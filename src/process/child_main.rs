//! A child's main function: it receives a request, runs the function, reports, and ends.

use super::current::{self, ChildContext};
use super::protocol::{self, ChildFailure, FORK_REQUEST, Identity, ReceivedRequest, SpawnRequest};
use super::registry;
use crate::entry::{self, CallError, PANICKED, catch};
use crate::segment::transfer::{EncodedMessage, ReceivedMessage};
use crate::sys::attributes::{self, Changes};
use crate::sys::exit;
use crate::sys::image::Start;
use crate::sys::lifeline::ParentsEnd;
use crate::sys::process_id::ProcessId;
use crate::sys::socket::{self, Link, UnixStream};
use crate::sys::stdio;
use crate::sys::{Fd, RaceOnce, spawn};
use crate::{CodecError, Os};
use std::io::{self, Write};

/// Exit code: the call had no result, for a reason that the report contains.
const FAILED: i32 = 1;
/// Exit code: there was no way to report.
const DAMAGED: i32 = 120;

/// Runs in a new child of the server.
pub(super) fn run_child(control: Fd, start: &Start) -> ! {
    match run_request(control, start) {
        Ok(code) => exit::exit(code),
        Err(EndedEarly(code)) => exit::exit_at_once(code),
    }
}

/// Runs in a program that was executed to be a child.
pub(super) fn executed(link: &Link, start: &Start) -> ! {
    spawn::init_executed();
    let greeted = link.send(&protocol::greeting(), &[] as &[Fd]);
    let mut packet = [0; 16];
    match greeted.and_then(|()| link.recv(&mut packet)) {
        Ok(Some((packet, mut fds))) if *packet == FORK_REQUEST => match fds.pop() {
            Some(control) => run_child(control, start),
            None => exit::exit_at_once(DAMAGED),
        },
        _ => exit::exit_at_once(DAMAGED),
    }
}

/// The child ends with this code, and no code of the program has run.
pub(super) struct EndedEarly(i32);

/// Prepares what it can while no process waits yet, receives the request, then the go-ahead, and runs it.
pub(super) fn run_request(control: Fd, start: &Start) -> Result<i32, EndedEarly> {
    let control_stream = CONTROL.replace(ControlStream::by(UnixStream::from(control)));
    let control = &control_stream.control;
    let mut stream: &UnixStream = control;
    let unwanted = |_| EndedEarly(DAMAGED);
    // A parent that has ended since then receives nothing; what it wrote before is in the stream all the same.
    let _ = stream.write_all(&std::process::id().to_ne_bytes());
    spawn::init_child(control);
    spawn::set_name("crossproc-next");
    install_panic_hook();
    ProcessId::current();
    let ReceivedRequest { request, environment, arguments, fds } = protocol::recv_request(control).map_err(unwanted)?;
    let became = take_over_request(&request, &environment, fds);
    let go_ahead = protocol::recv_go_ahead(control).map_err(unwanted)?;
    if let Err(error) = became.and_then(|(end, folder)| take_over_attributes(request.identity, end, &folder, &go_ahead))
    {
        let _ = protocol::report_failure(control, &ChildFailure::Os(Os::from(error)));
        return Err(EndedEarly(FAILED));
    }
    let _ = control.set_nonblocking(true); // for the report: what does not fit into the stream is an error
    start.finish();
    let taken = protocol::handles_of(&arguments.manifest).map(|_| report_taken as fn());
    Ok(run(control_stream, || request.code.run(ReceivedMessage { taken, ..arguments })))
}

/// Takes over what came with the request.
fn take_over_request(request: &SpawnRequest, environment: &[u8], fds: Vec<Fd>) -> io::Result<(ParentsEnd, Fd)> {
    let mut fds = fds.into_iter();
    let mut next = || fds.next().ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof));
    let (end, folder) = (ParentsEnd::of(next()?), next()?);
    for (number, comes) in (0..).zip(request.streams) {
        if comes {
            stdio::set_standard_stream(number, &next()?)?;
        }
    }
    spawn::set_name(&request.identity.name);
    attributes::set_environment(environment);
    Ok((end, folder))
}

/// Takes over the attributes of the caller.
fn take_over_attributes(identity: Identity, end: ParentsEnd, folder: &Fd, go_ahead: &Changes) -> io::Result<()> {
    go_ahead.apply()?;
    attributes::enter_folder(folder)?;
    if identity.daemon || identity.bound {
        end.die_with_parent()?;
    }
    current::set(ChildContext { identity, parents_end: end });
    Ok(())
}

/// Runs in a child by `fork`, which has the memory of its parent: calls `f` and ends without its parent's exit
/// functions.
pub(super) fn forked(
    me: ChildContext,
    control: UnixStream,
    f: impl FnOnce() -> Result<EncodedMessage, CallError>,
) -> ! {
    let _ = (&control).write_all(&std::process::id().to_ne_bytes());
    current::set(me);
    let control_stream = CONTROL.replace(ControlStream::by(control));
    install_panic_hook();
    let code = run(control_stream, f);
    registry::join_all();
    exit::exit_copy(code)
}

/// The stream to the parent, and the identity of its socket: a program may close descriptors that it has not opened,
/// and another file may have the number then.
struct ControlStream {
    control: UnixStream,
    identity: Option<(u64, u64)>,
}

impl ControlStream {
    fn by(control: UnixStream) -> Self {
        let identity = socket::identity(&control);
        ControlStream { control, identity }
    }

    /// `None` if it was closed.
    fn open(&self) -> Option<&UnixStream> {
        (socket::identity(&self.control) == self.identity).then_some(&self.control)
    }

    fn report(&self, failure: &ChildFailure) {
        if let Some(control) = self.open() {
            let _ = protocol::report_failure(control, failure);
        }
    }
}

/// Reports that the handles in the arguments are this process's.
fn report_taken() {
    if let Some(mut control) = CONTROL.get().and_then(ControlStream::open) {
        let _ = control.write_all(&protocol::ARGUMENTS_TAKEN);
    }
}

/// Also for the report of a panic that ends the process.
static CONTROL: RaceOnce<ControlStream> = RaceOnce::new();

fn install_panic_hook() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if let (Some(panic), Some(control_stream)) = (entry::record(info), CONTROL.get()) {
            control_stream.report(&ChildFailure::Panicked(panic));
        }
        usual(info);
    }));
}

/// Runs the call and reports. Returns the exit code.
fn run(control_stream: &ControlStream, call: impl FnOnce() -> Result<EncodedMessage, CallError>) -> i32 {
    let failure = match catch(call) {
        Ok(Ok(packed)) => match control_stream.open().map(|control| protocol::report_result(control, packed)) {
            Some(Ok(())) => return 0,
            None => "the result: the descriptor that it goes back by was closed".into(),
            Some(Err(_)) if current::parent().is_none_or(|parent| !parent.is_alive()) => return 0, // no process waits for it
            Some(Err(error)) => format!("the result: {error}"),
        },
        Ok(Err(CallError::Decode(error))) => format!("the arguments: {error}"),
        Ok(Err(CallError::Encode(error))) => format!("the result: {error}"),
        Err(panic) => {
            control_stream.report(&ChildFailure::Panicked(panic));
            return PANICKED;
        }
    };
    eprintln!("{}: {failure}", current::identity().name);
    control_stream.report(&ChildFailure::Codec(CodecError(failure)));
    FAILED
}
