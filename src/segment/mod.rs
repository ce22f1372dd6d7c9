//! Shared memory that holds objects: how it is laid out, made, named, found, counted and given back.
//!
//! A *segment* is one mapping: an *arena* that holds many small objects, or a single that holds one. Higher layers see a
//! [`Handle`]: an `Arc` for processes.

mod alike;
mod annex;
mod arena;
pub mod handle;
mod header;
mod heap;
mod ids;
pub mod kind;
mod mapping;
mod named;
mod roster;
mod satchel;
pub(crate) mod stream;
pub(crate) mod travel;
#[cfg(feature = "shared_memory")]
mod within;

pub(crate) use alike::alike;
pub(crate) use annex::{LETTER_ROOM, Wing};
pub use handle::{Handle, Holders, Object};
pub(crate) use handle::{Roles, UNKNOWN, create, deserialize, handle_type, serialize};
pub(crate) use heap::{Place, watch_forks};
pub(crate) use kind::{Kind, LINE};
pub use kind::{Shape, Spec};
pub(crate) use mapping::{PART_FLIGHTS_AT, Segment};
pub use named::Named;
pub(crate) use named::{sweep_names, sweep_names_now_and_then};
pub(crate) use satchel::{Open as OpenSatchel, TABLE};
#[cfg(feature = "shared_memory")]
pub use within::Within;
