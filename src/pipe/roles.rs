//! The roles in which an end holds the object of a pipe.
//!
//! ```text
//! role 0    sends into the first ring
//!      1    receives from the first ring
//!      2    sends into the second ring, which only a pipe of two directions has
//!      3    receives from the second ring
//! ```
//! The roles of a handle are a set, with a bit for each.

use crate::segment::Roles;

const SENDS: Roles = 1;
const RECEIVES: Roles = 2;

/// The two ends of a pipe of two directions.
pub(super) const ENDS: [Roles; 2] = [SENDS | RECEIVES << 2, RECEIVES | SENDS << 2];
/// The role that sends into each ring.
pub(super) const SENDERS: [Roles; 2] = [SENDS, SENDS << 2];
/// The role that receives from each ring.
pub(super) const RECEIVERS: [Roles; 2] = [RECEIVES, RECEIVES << 2];
pub(super) const ALL: Roles = ENDS[0] | ENDS[1];
