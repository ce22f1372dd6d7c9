//! Pools of workers.
//!
//! A child that a test forks holds the queues of each pool of the process, also of the tests that run beside it. So what forks or
//! counts runs as a program: [by itself](util::by_itself), or as a role.

mod codec;
mod common;
mod crash;
mod deaths;
mod handles;
mod maps;
mod pool;
mod progress;
mod reentry;
mod results;
mod scenarios;
mod shortage;

#[path = "../util/mod.rs"]
mod util;
