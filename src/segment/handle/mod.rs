//! Handles on objects in shared memory.

pub(crate) mod encoding;
#[allow(clippy::module_inception, reason = "the type that the module is named after")]
pub mod handle;
pub(crate) mod macros;
pub mod object;
pub mod roles;
