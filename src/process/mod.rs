//! Processes: functions that run in children of this one, on memory that they share.
//!
//! `entry` is the function that travels, `action` one that a handle carries, `wire` what parent and child tell each other, `nursery`, `server`
//! and `execute` how a child is made, `child` its life, `life` what the parent has of it, `children` who they are and what becomes of them at the end.

mod action;
mod builder;
mod child;
mod children;
mod current;
mod entry;
mod execute;
mod fork;
mod handle;
mod hook;
mod life;
mod nursery;
mod scope;
mod server;
pub mod testing;
mod wire;

pub(crate) use action::Action;
pub use action::Outcome;
pub(crate) use builder::check as check_may_have_children;
pub use builder::{ProcessBuilder, Stdio};
pub(crate) use child::{PANICKED, catch};
pub use current::{ChildInfo, Current, Parent, active_children, cpu_count, current, parent};
pub use entry::Entry;
pub(crate) use entry::{Code, captures_nothing};
pub use fork::fork;
pub use handle::Process;
pub use hook::init;
pub use nursery::StartMethod;
pub use scope::{Scope, ScopedProcess, scope};
pub(crate) use wire::Panic;
