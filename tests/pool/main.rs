//! Pools of workers.
//!
//! A forked child is a holder of the queues of each pool of its process, those of the tests beside it included. So a
//! test that forks or counts runs as a program: [by itself](util::by_itself), or as a role.

mod codec;
mod common;
mod crash;
mod deaths;
mod end;
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
