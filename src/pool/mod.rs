//! Pools: functions shipped to workers, and their results.
//!
//! `pool`, `builder`, `chunked`, `imap` and `result` are what the program sees; `job` and `promise` what a call is; `hub` what the
//! pool is in the program's process, `crew` its workers there; `board` and `wire` what they share; `worker` the other side.

mod board;
mod builder;
mod burial;
mod calls;
mod chunked;
mod crew;
mod hub;
mod imap;
mod insights;
mod job;
mod leading;
#[allow(clippy::module_inception, reason = "it is what the module is named after")]
mod pool;
#[cfg(feature = "progress")]
mod progress;
mod promise;
mod result;
mod sending;
pub mod testing;
mod wire;
mod worker;

pub use builder::PoolBuilder;
pub use chunked::Chunked;
pub use imap::Imap;
pub use insights::{Insights, SlowTask, WorkerInfo, WorkerInsights};
pub use pool::Pool;
pub use result::AsyncResult;
