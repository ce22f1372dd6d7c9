//! Pools: functions that are sent to workers, and their results.
//!
//! * Public: `pool`, `builder`, `maps`, `imap`, `result`, `insights`.
//! * A call: `job`, with its `inputs`, the `sinks` of its results and `shared_requests`; `promise`; `completion`.
//! * The pool in the program's process: `shared`, made of `in_flight`, `worker_slots`, `leadership`, `shared_values`
//!   and `stats`. Its work: `dispatch` sends tasks, `results` reads reports, `worker_death`, `callbacks`, `lifecycle`,
//!   `supervisor`.
//! * Both sides: `task_table` (shared memory) and `protocol` (messages). The worker's side: `worker`, `running_task`.
//! * Leaves: `reentrancy`, `progress`.
//!
//! `task_table` has the protocol of tasks, and `shared` that of the threads in the program's process.

mod builder;
mod callbacks;
mod completion;
mod dispatch;
mod imap;
mod in_flight;
mod inputs;
mod insights;
mod job;
mod leadership;
mod lifecycle;
mod maps;
#[allow(clippy::module_inception, reason = "the module is named after its main type")]
mod pool;
mod progress;
mod promise;
mod protocol;
mod reentrancy;
mod result;
mod results;
mod running_task;
mod shared;
mod shared_requests;
mod shared_values;
mod sinks;
mod stats;
mod supervisor;
mod task_table;
pub mod testing;
mod worker;
mod worker_death;
mod worker_slots;

pub use builder::PoolBuilder;
pub use imap::Imap;
pub use insights::{Insights, SlowTask, WorkerInfo, WorkerInsights};
pub use maps::Chunked;
pub use pool::Pool;
pub use result::AsyncResult;
