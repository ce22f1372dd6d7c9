//! Functions that travel: as offsets of their trampolines in the program's image.

mod bound_call;
#[allow(clippy::module_inception, reason = "it is what the module is named after")]
mod entry;
mod panic;

pub(crate) use bound_call::BoundCall;
pub use bound_call::Outcome;
pub use entry::Entry;
pub(crate) use entry::{CallError, Code, captures_nothing};
pub(crate) use panic::{PANICKED, Panic, catch, record};
