//! Shared memory that holds objects: how it is laid out, made, named, found, counted and given back.
//!
//! A *segment* is one mapping: an *arena* that holds many small objects, or a single that holds one. Higher layers see a
//! [`Handle`]: an `Arc` for processes.

pub(crate) mod arena;
mod extent;
mod fd_store;
mod growth;
pub mod handle;
mod header;
#[cfg(feature = "shared_memory")]
mod host;
#[cfg(feature = "shared_memory")]
mod hosted;
pub mod kind;
mod named;
#[allow(clippy::module_inception, reason = "the type that the module is named after")]
mod segment;
mod table_lock;
pub(crate) mod transfer;
#[cfg(feature = "shared_memory")]
mod within;

pub(crate) use arena::allocator::watch_forks;
pub(crate) use arena::location::Location;
pub(crate) use extent::{RegionIndex, SPILL_BYTES};
pub(crate) use fd_store::{FD_TABLE_BYTES, OpenFdStore};
pub(crate) use handle::encoding::{deserialize, serialize};
pub use handle::handle::Handle;
pub(crate) use handle::macros::{handle_type, unit_handle};
pub use handle::object::Object;
pub(crate) use handle::object::create;
pub use handle::roles::Holders;
pub(crate) use handle::roles::{Roles, UNKNOWN};
pub(crate) use kind::{Kind, LINE};
pub use kind::{ObjectLayout, Spec};
pub use named::Named;
pub(crate) use named::{sweep_names, sweep_names_now_and_then};
pub(crate) use segment::{IN_FLIGHT_AT, Segment};
#[cfg(feature = "shared_memory")]
pub use within::Within;
