//! A child's life: it becomes what its order says, runs the function, reports, and ends.

use super::current::{self, Me};
use super::entry::CallError;
use super::wire::{self, CALL, Failure, Order, Received};
use super::{children, hook};
use crate::segment::travel::Packed;
use crate::sys::image::Start;
use crate::sys::lifeline::ParentsEnd;
use crate::sys::socket::{Link, UnixStream};
use crate::sys::{Fd, Kept, as_number, birth, surroundings};
use crate::{CodecError, Os};
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::RefCell;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};

/// As in every Rust program that panics.
const PANICKED: i32 = 101;
/// The call gave no result for another reason, which the report tells.
const FAILED: i32 = 1;
/// Nobody could be told.
const DAMAGED: i32 = 120;

/// A fresh child of the server.
pub(super) fn born(control: Fd, start: &Start) -> ! {
    let control = UnixStream::from(control);
    let hello = (&control).write_all(&std::process::id().to_ne_bytes());
    match hello.and_then(|()| wire::recv_order(&control)) {
        Ok(received) => live(received, control, start),
        Err(_) => birth::exit_at_once(DAMAGED), // nobody wants us
    }
}

/// A program that was executed to be a child.
pub(super) fn executed(link: &Link, start: &Start) -> ! {
    birth::settle_executed();
    let greeted = link.send(&hook::greeting(), &[] as &[Fd]);
    let mut packet = [0; 16];
    match greeted.and_then(|()| link.recv(&mut packet)) {
        Ok(Some((packet, fds))) if *packet == CALL && fds.len() == 1 => {
            fds.into_iter().for_each(|control| born(control, start));
        }
        _ => {}
    }
    birth::exit_at_once(DAMAGED)
}

fn live(received: Received, control: UnixStream, start: &Start) -> ! {
    let Received { order, environment, arguments, fds } = received;
    let kept: Vec<i32> = arguments.fds.iter().map(as_number).collect();
    if let Err(error) = become_it(&order, &environment, fds, &control, kept) {
        let _ = wire::report_failure(&control, &Failure::Os(Os::from(error)));
        birth::exit_at_once(FAILED)
    }
    start.finish();
    let code = run(control, || order.code.run(arguments));
    birth::exit(code)
}

/// Takes over all that the caller has.
fn become_it(order: &Order, environment: &[u8], fds: Vec<Fd>, control: &UnixStream, mut kept: Vec<i32>) -> io::Result<()> {
    control.set_nonblocking(true)?; // for the report: who would not fit into the stream is told so
    let mut fds = fds.into_iter();
    let mut next = || fds.next().ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof));
    let (end, folder) = (ParentsEnd::of(next()?), next()?);
    for (number, comes) in (0..).zip(order.streams) {
        if comes {
            birth::set_standard_stream(number, &next()?)?;
        }
    }
    kept.extend([as_number(control), as_number(&end), as_number(&folder)]);
    birth::settle_child(&kept, &order.who.name);
    surroundings::set_environment(environment);
    order.surroundings.apply()?;
    surroundings::enter_folder(&folder)?;
    if order.who.daemon {
        end.die_with_parent()?;
    }
    current::set(Me { who: order.who.clone(), parents_end: end });
    Ok(())
}

/// A child by `fork`, which has the memory of its parent: runs `f` and ends without its parent's exit functions.
pub(super) fn forked(me: Me, control: UnixStream, f: impl FnOnce() -> Result<Packed, CallError>) -> ! {
    let hello = (&control).write_all(&std::process::id().to_ne_bytes());
    let armed = if me.who.daemon { me.parents_end.die_with_parent() } else { Ok(()) };
    if hello.and(armed).is_err() {
        birth::exit_at_once(DAMAGED);
    }
    current::set(me);
    let code = run(control, f);
    children::join_all();
    birth::exit_copy(code)
}

/// Where a panic is reported, if it ends the process.
static CONTROL: Kept<UnixStream> = Kept::new();

/// What a panic in this thread said last.
struct Said {
    message: Option<String>,
    location: Option<String>,
    backtrace: Option<String>,
}

thread_local! {
    static SAID: RefCell<Option<Said>> = const { RefCell::new(None) };
}

/// Runs the call and reports; gives the exit code.
fn run(control: UnixStream, call: impl FnOnce() -> Result<Packed, CallError>) -> i32 {
    let control = CONTROL.replace(control);
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        listen(info);
        usual(info);
    }));
    let failure = match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(packed)) => match wire::report_result(control, packed) {
            Ok(()) => return 0,
            Err(error) => Failure::Codec(CodecError(format!("the result: {error}"))),
        },
        Ok(Err(CallError::Decode(error))) => Failure::Codec(CodecError(format!("the arguments: {error}"))),
        Ok(Err(CallError::Encode(error))) => Failure::Codec(CodecError(format!("the result: {error}"))),
        Err(payload) => {
            let said = SAID.with_borrow_mut(Option::take);
            let failure = panicked(text_of(&*payload), said);
            std::mem::forget(payload); // its destructor may panic too
            let _ = wire::report_failure(control, &failure);
            return PANICKED;
        }
    };
    eprintln!("{}: {failure:?}", current::who().name);
    let _ = wire::report_failure(control, &failure);
    FAILED
}

fn panicked(payload: Option<String>, said: Option<Said>) -> Failure {
    let (message, location, backtrace) =
        said.map_or((None, None, None), |said| (said.message, said.location, said.backtrace));
    let message = payload.or(message).unwrap_or_else(|| "a panic without a text".into());
    Failure::Panicked { message, location, backtrace }
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
        if let Some(control) = CONTROL.get() {
            let _ = wire::report_failure(control, &panicked(None, Some(said)));
        }
    } else {
        let _ = SAID.try_with(|place| place.borrow_mut().replace(said));
    }
}
