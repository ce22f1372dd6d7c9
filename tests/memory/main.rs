//! The memory of objects: handles that come, go and travel, names, limits, and what killed processes leave.

mod descriptors;
mod handles;
mod holds;
mod limits;
mod names;
mod newborn;
mod storm;
mod sweep;
mod travel;
mod within;

#[path = "../util/mod.rs"]
mod util;
