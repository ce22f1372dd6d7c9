//! Pools: functions shipped to workers, and their results.
//!
//! `pool`, `builder`, `chunked`, `imap` and `result` are what the program sees; `job` and `promise` what a call is; `hub` what the
//! pool is in the program's process, `crew` its workers there; `board` and `wire` what they share; `worker` the other side.

mod builder;
mod callbacks;
mod dispatch;
mod imap;
mod insights;
mod job;
mod maps;
#[allow(clippy::module_inception, reason = "it is what the module is named after")]
mod pool;
#[cfg(feature = "progress")]
mod progress;
mod promise;
mod protocol;
mod result;
mod results;
mod shared;
mod supervisor;
mod task_table;
pub mod testing;
mod worker;
mod worker_death;

pub use builder::PoolBuilder;
pub use imap::Imap;
pub use insights::{Insights, SlowTask, WorkerInfo, WorkerInsights};
pub use maps::Chunked;
pub use pool::Pool;
pub use result::AsyncResult;
