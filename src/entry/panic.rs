//! Panics of functions that run in another process, as values.

use serde::{Deserialize, Serialize};
use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};

/// The exit code of every Rust program that panics.
pub(crate) const PANICKED: i32 = 101;

/// A panic: what it said, and where.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Panic {
    pub(crate) message: String,
    pub(crate) location: Option<String>,
    pub(crate) backtrace: Option<String>,
}

/// What the panic hook saw.
struct PanicRecord {
    message: Option<String>,
    location: Option<String>,
    backtrace: Option<String>,
}

thread_local! {
    /// The last panic of this thread.
    static LAST: RefCell<Option<PanicRecord>> = const { RefCell::new(None) };
}

/// For a panic hook: keeps what the panic says for [`catch`]. In a program that aborts at a panic, nothing will catch
/// it, so it is returned to be reported at once.
pub(crate) fn record(info: &PanicHookInfo<'_>) -> Option<Panic> {
    let backtrace = Backtrace::capture();
    let record = PanicRecord {
        message: text(info.payload()),
        location: info.location().map(ToString::to_string),
        backtrace: (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string()),
    };
    if cfg!(panic = "abort") {
        return Some(Panic::new(None, Some(record)));
    }
    let _ = LAST.try_with(|last| last.borrow_mut().replace(record));
    None
}

/// Calls it. A panic becomes a value, with what the hook recorded.
pub(crate) fn catch<R>(call: impl FnOnce() -> R) -> Result<R, Panic> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|payload| {
        let record = LAST.with_borrow_mut(Option::take);
        let panic = Panic::new(text(&*payload), record);
        std::mem::forget(payload); // its destructor may panic too
        panic
    })
}

impl Panic {
    fn new(payload: Option<String>, record: Option<PanicRecord>) -> Self {
        // A record of a panic that was caught on the way, before another one was resumed, is not this one's.
        let record = record.filter(|record| payload.is_none() || record.message == payload);
        let (message, location, backtrace) =
            record.map_or((None, None, None), |record| (record.message, record.location, record.backtrace));
        let message = payload.or(message).unwrap_or_else(|| "a panic without a text".into());
        Panic { message, location, backtrace }
    }
}

fn text(payload: &(dyn Any + Send)) -> Option<String> {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned())
}
