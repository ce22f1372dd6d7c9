//! Processes: functions that run in children of this one, on memory that they share.
//!
//! `protocol` is what parent, fork server and child send each other. `fork_server_client`, `fork_server` and `reexec`
//! create a child, `startup` and `child_main` run in it. `child_record` is what the parent keeps of it, `registry` the
//! list of all children and what happens to them when this process ends.

mod builder;
mod child_main;
mod child_record;
mod current;
mod fork;
mod fork_server;
mod fork_server_client;
mod handle;
mod protocol;
mod reexec;
mod registry;
mod scope;
mod startup;
pub mod testing;

pub(crate) use builder::check as check_may_have_children;
pub use builder::{ProcessBuilder, Stdio};
pub use current::{ChildInfo, Current, Parent, active_children, cpu_count, current, parent};
pub use fork::fork;
pub use fork_server_client::StartMethod;
pub use handle::Process;
pub use scope::{Scope, ScopedProcess, scope};
pub use startup::init;
