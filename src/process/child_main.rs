//! A child's life: it becomes what its order says, runs the function, reports, and ends.

use super::current::{self, Me};
use super::protocol::{self, CALL, Failure, Order, Panic, Received, Who};
use super::{registry, startup};
use crate::entry::CallError;
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
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::RefCell;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};

/// As in every Rust program that panics.
pub(crate) const PANICKED: i32 = 101;
/// The call gave no result for another reason, which the report tells.
const FAILED: i32 = 1;
/// Nobody could be told.
const DAMAGED: i32 = 120;

/// A fresh child of the server.
pub(super) fn born(control: Fd, start: &Start) -> ! {
    match live(control, start) {
        Ok(code) => exit::exit(code),
        Err(NotToBe(code)) => exit::exit_at_once(code),
    }
}

/// A program that was executed to be a child.
pub(super) fn executed(link: &Link, start: &Start) -> ! {
    spawn::init_executed();
    let greeted = link.send(&startup::greeting(), &[] as &[Fd]);
    let mut packet = [0; 16];
    match greeted.and_then(|()| link.recv(&mut packet)) {
        Ok(Some((packet, mut fds))) if *packet == CALL => match fds.pop() {
            Some(control) => born(control, start),
            None => exit::exit_at_once(DAMAGED),
        },
        _ => exit::exit_at_once(DAMAGED),
    }
}

/// The child ends without having been anybody, with this code.
pub(super) struct NotToBe(i32);

/// Waits for the order, having done before what it can, since nobody waits yet; then for the word; then lives.
pub(super) fn live(control: Fd, start: &Start) -> Result<i32, NotToBe> {
    let way = WAY.replace(Way::by(UnixStream::from(control)));
    let control = &way.control;
    let mut stream: &UnixStream = control;
    let unwanted = |_| NotToBe(DAMAGED);
    // A parent that has ended since hears nothing; what it wrote before is there all the same.
    let _ = stream.write_all(&std::process::id().to_ne_bytes());
    spawn::init_child(control);
    spawn::set_name("crossproc-next");
    hear_panics();
    ProcessId::current();
    let Received { order, environment, arguments, fds } = protocol::recv_order(control).map_err(unwanted)?;
    let became = become_it(&order, &environment, fds);
    let word = protocol::recv_word(control).map_err(unwanted)?;
    if let Err(error) = became.and_then(|(end, folder)| settle_in(order.who, end, &folder, &word)) {
        let _ = protocol::report_failure(control, &Failure::Os(Os::from(error)));
        return Err(NotToBe(FAILED));
    }
    let _ = control.set_nonblocking(true); // for the report: who does not fit into the stream is told so
    start.finish();
    let taken = protocol::handles_in(&arguments.manifest).map(|_| tell_taken as fn());
    Ok(run(way, || order.code.run(ReceivedMessage { taken, ..arguments })))
}

/// Takes over what came with the order.
fn become_it(order: &Order, environment: &[u8], fds: Vec<Fd>) -> io::Result<(ParentsEnd, Fd)> {
    let mut fds = fds.into_iter();
    let mut next = || fds.next().ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof));
    let (end, folder) = (ParentsEnd::of(next()?), next()?);
    for (number, comes) in (0..).zip(order.streams) {
        if comes {
            stdio::set_standard_stream(number, &next()?)?;
        }
    }
    spawn::set_name(&order.who.name);
    attributes::set_environment(environment);
    Ok((end, folder))
}

/// Takes over what the caller has around it.
fn settle_in(who: Who, end: ParentsEnd, folder: &Fd, word: &Changes) -> io::Result<()> {
    word.apply()?;
    attributes::enter_folder(folder)?;
    if who.daemon || who.bound {
        end.die_with_parent()?;
    }
    current::set(Me { who, parents_end: end });
    Ok(())
}

/// A child by `fork`, which has the memory of its parent: runs `f` and ends without its parent's exit functions.
pub(super) fn forked(me: Me, control: UnixStream, f: impl FnOnce() -> Result<EncodedMessage, CallError>) -> ! {
    let _ = (&control).write_all(&std::process::id().to_ne_bytes());
    current::set(me);
    let way = WAY.replace(Way::by(control));
    hear_panics();
    let code = run(way, f);
    registry::join_all();
    exit::exit_copy(code)
}

/// The way to the parent, and which socket it is: a program may close descriptors that it has not opened, and then another
/// may have the number.
struct Way {
    control: UnixStream,
    identity: Option<(u64, u64)>,
}

impl Way {
    fn by(control: UnixStream) -> Self {
        let identity = socket::identity(&control);
        Way { control, identity }
    }

    /// None if it is closed.
    fn open(&self) -> Option<&UnixStream> {
        (socket::identity(&self.control) == self.identity).then_some(&self.control)
    }

    fn report(&self, failure: &Failure) {
        if let Some(control) = self.open() {
            let _ = protocol::report_failure(control, failure);
        }
    }
}

/// The handles in the arguments are this process's.
fn tell_taken() {
    if let Some(mut control) = WAY.get().and_then(Way::open) {
        let _ = control.write_all(&protocol::TAKEN);
    }
}

/// Also where a panic is reported that ends the process.
static WAY: RaceOnce<Way> = RaceOnce::new();

/// What a panic in this thread said last.
struct Said {
    message: Option<String>,
    location: Option<String>,
    backtrace: Option<String>,
}

thread_local! {
    static SAID: RefCell<Option<Said>> = const { RefCell::new(None) };
}

fn hear_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        listen(info);
        usual(info);
    }));
}

/// Runs the call and reports; gives the exit code.
fn run(way: &Way, call: impl FnOnce() -> Result<EncodedMessage, CallError>) -> i32 {
    let failure = match catch(call) {
        Ok(Ok(packed)) => match way.open().map(|control| protocol::report_result(control, packed)) {
            Some(Ok(())) => return 0,
            None => "the result: the descriptor that it goes back by was closed".into(),
            Some(Err(_)) if current::parent().is_none_or(|parent| !parent.is_alive()) => return 0, // nobody asks
            Some(Err(error)) => format!("the result: {error}"),
        },
        Ok(Err(CallError::Decode(error))) => format!("the arguments: {error}"),
        Ok(Err(CallError::Encode(error))) => format!("the result: {error}"),
        Err(panic) => {
            way.report(&Failure::Panicked(panic));
            return PANICKED;
        }
    };
    eprintln!("{}: {failure}", current::who().name);
    way.report(&Failure::Codec(CodecError(failure)));
    FAILED
}

/// Calls it in a child, and tells of a panic what its hook heard.
pub(crate) fn catch<R>(call: impl FnOnce() -> R) -> Result<R, Panic> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|payload| {
        let said = SAID.with_borrow_mut(Option::take);
        let panic = panicked(text_of(&*payload), said);
        std::mem::forget(payload); // its destructor may panic too
        panic
    })
}

fn panicked(payload: Option<String>, said: Option<Said>) -> Panic {
    // What was caught on the way, and another panic resumed, is not this one.
    let said = said.filter(|said| payload.is_none() || said.message == payload);
    let (message, location, backtrace) =
        said.map_or((None, None, None), |said| (said.message, said.location, said.backtrace));
    let message = payload.or(message).unwrap_or_else(|| "a panic without a text".into());
    Panic { message, location, backtrace }
}

fn text_of(payload: &(dyn std::any::Any + Send)) -> Option<String> {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned())
}

/// Keeps what a panic says; where it ends the process, there is nobody to catch it, so it is reported at once.
fn listen(info: &PanicHookInfo<'_>) {
    let backtrace = Backtrace::capture();
    let said = Said {
        message: text_of(info.payload()),
        location: info.location().map(ToString::to_string),
        backtrace: (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string()),
    };
    if cfg!(panic = "abort") {
        if let Some(way) = WAY.get() {
            way.report(&Failure::Panicked(panicked(None, Some(said))));
        }
    } else {
        let _ = SAID.try_with(|place| place.borrow_mut().replace(said));
    }
}
