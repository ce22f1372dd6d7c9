//! Processes: functions that run in children of this one, on memory that they share.
//!
//! `entry` is the function that travels, `action` one that a handle carries, `wire` what parent and child tell each other, `nursery`, `server`
//! and `execute` how a child is made, `child` its life, `record` what the parent has of it, `children` who they are and what becomes of them at the end.

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
