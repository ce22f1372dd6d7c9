//! Shared memory that holds objects: how it is laid out, made, named, found, counted and given back.
//!
//! A *segment* is one mapping: an *arena* that holds many small objects, or a single that holds one. Higher layers see a
//! [`Handle`]: an `Arc` for processes.

pub(crate) mod arena;
mod extent;
mod fd_store;
pub mod handle;
mod header;
pub mod kind;
mod named;
#[allow(clippy::module_inception, reason = "it is what the module is named after")]
mod segment;
pub(crate) mod transfer;
#[cfg(feature = "shared_memory")]
mod within;

pub(crate) use arena::allocator::{Location, watch_forks};
pub(crate) use extent::{LETTER_ROOM, RingIndex};
pub(crate) use fd_store::{Open as OpenFdStore, TABLE};
pub(crate) use handle::unit_handle::alike;
pub use handle::{Handle, Holders, Object};
pub(crate) use handle::{Roles, UNKNOWN, create, deserialize, handle_type, serialize};
pub(crate) use kind::{Kind, LINE};
pub use kind::{ObjectLayout, Spec};
pub use named::Named;
pub(crate) use named::{sweep_names, sweep_names_now_and_then};
pub(crate) use segment::{PART_FLIGHTS_AT, Segment};
#[cfg(feature = "shared_memory")]
pub use within::Within;
