//! Pipes and channels: messages from the processes that may send to those that may receive.
//!
//! The protocol is the ring's. Each end is a handle with some [`roles`]: processes with a role are counted as the
//! holders of a queue are, so the others notice when the last one drops its end or is killed.

mod endpoint;
mod errors;
mod halves;
mod kind;
mod loan;
mod methods;
#[allow(clippy::module_inception, reason = "the module is named after its main type")]
mod pipe;
mod roles;

pub use halves::{Receiver, Sender, channel};
pub use loan::{Frame, Slot};
pub use methods::Messages;
pub use pipe::Pipe;
