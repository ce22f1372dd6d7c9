//! Shared memory that holds objects: layout, creation, names, lookup, reference counts and release.
//!
//! A *segment* is one mapping. It is either an *arena*, which holds many small objects, or a *single*, which holds one.
//! The rooms above use a [`Handle`] on an object: an `Arc` that works between processes.
//!
//! | file | content |
//! |---|---|
//! | `kind` | what an object is: kind, item type, size |
//! | `header` | first bytes of a segment, and all offsets in it |
//! | `segment` | one mapped segment |
//! | `host`, `hosted`, `within` | segments inside memory that the program owns |
//! | `extent`, `growth` | memory of objects that grow |
//! | `table_lock` | lock guard of the tables in a segment |
//! | `fd_store` | file descriptors for handles in stored messages |
//! | `arena` | which process holds which blocks, and where new objects go |
//! | `handle` | handles, their roles, their encoding, the macros for handle types |
//! | `transfer` | messages with handles in them |
//! | `named` | objects that other programs find |

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
