//! Pipes and channels: messages from those who may send to those who may receive. The protocol is the ring's.
//!
//! An end is a handle in some of four *roles*: it may send into the first ring of the object (0), or receive from it (1), and
//! the same for the second (2, 3), which only a pipe of two directions has. Who has which role is counted by processes, as it
//! is for queues, so that the last of a role that goes, or is killed, is noticed.

mod endpoint;
mod halves;
mod loan;
#[allow(clippy::module_inception, reason = "it is what the module is named after")]
mod pipe;

pub use halves::{Receiver, Sender, channel};
pub use loan::{Frame, Slot};
pub use pipe::{Messages, Pipe};
