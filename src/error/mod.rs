//! Errors: one small enum for each operation, in a file for each room that returns it.
//!
//! Every error is `Clone + PartialEq + Serialize + Deserialize`, so that a child process can return it to its parent.
//! An error of the operating system is kept as its number ([`Os`]). The text of an error says which object failed and
//! why; it begins in lower case and has no full stop.

mod array;
mod codec;
#[allow(clippy::module_inception, reason = "it is what the module is named after")]
mod error;
mod lock;
mod os;
mod pipe;
mod poison;
mod pool;
mod process;
mod queue;
mod segment;
mod sync;
mod transfer;

pub use array::ArrayError;
pub use codec::CodecError;
pub use error::{Error, Result};
pub use lock::{LockError, LockTimeoutError, TryLockError};
pub use os::Os;
pub use pipe::{RecvError, RecvIntoError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError};
pub(crate) use poison::locked;
pub use pool::{NotReady, PoolError, TaskError};
pub use process::{JoinError, ScopeError, SpawnError};
pub use queue::{GetError, GetTimeoutError, PutError, PutTimeoutError, TaskDoneError, TryGetError, TryPutError};
pub use segment::SegmentError;
pub use sync::{AcquireError, AcquireTimeoutError, BarrierError, ReleaseError, TryAcquireError};
pub use transfer::TransferError;
