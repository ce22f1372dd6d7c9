//! Kill a process at every instruction of an operation and see whether the survivors cope.
//!
//! A [`World`] is one fresh set of shared objects and the processes around them. For every kill
//! point the runner builds a new world, forks a [`Victim`], brings it to the point under ptrace,
//! sends SIGKILL and lets the world check what is left. A first run, the survey, steps through the
//! operation once and finds out which points there are:
//!
//! * [`Strategy::Exhaustive`]: after 0, 1, 2, ... instructions, up to the end of the operation;
//! * [`Strategy::ByEffect`]: both sides of every instruction that changes watched memory or the
//!   victim's robust list, and of every system call;
//! * [`Strategy::Auto`]: the first for short operations and the second for long ones.
//!
//! The program must be single-threaded when it calls [`run`], because the victims are plain forks
//! (`harness = false`). An operation may take another branch from one run to the next, so a point
//! is a place to aim at: what counts as acknowledged is only the victim's own "done" flag.
//!
//! A victim that sleeps in a futex stops there: [`World::victim_asleep`] either wakes it, and the
//! stepping goes on after the system call, or leaves it, and it is killed in its sleep. With
//! [`Scenario::after_wake`] the stepping starts only when the victim has slept and was woken.
//!
//! Single steps make load-linked/store-conditional loops fail for ever: on aarch64 the processor
//! needs the LSE atomics.

#![allow(dead_code, unused_imports, reason = "a toolbox: not every scenario file needs every tool")]

mod arch;
mod child;
mod plan;
mod procfs;
mod ride;
mod runner;
mod scenario;
mod survivor;
mod tracer;
mod victim;
mod watch;

pub use child::{Child, Shared};
pub use plan::{Pass, Strategy};
pub use procfs::{asleep, until_asleep};
pub use ride::Reached;
pub use runner::{Report, run};
pub use scenario::{Asleep, Kill, Scenario, World};
pub use survivor::{Sleeper, Survivor};
pub use tracer::require_ptrace;
pub use victim::{Stop, Victim};
pub use watch::{Watched, shared_mappings};
