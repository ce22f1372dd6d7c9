//! Arenas: segments of equal blocks that processes share, and this process's share of them.

pub(crate) mod allocator;
#[allow(clippy::module_inception, reason = "the type that the module is named after")]
pub(crate) mod arena;
pub(crate) mod id_map;
pub(crate) mod location;
pub(crate) mod roster;
