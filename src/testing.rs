//! The hooks of this crate's own tests, in one place. They are not part of the public interface.

pub use crate::pool::testing::TestPool;
pub use crate::process::testing::{TestHandOver, close_nursery, join_children, link, live, serve_one, sweep};

/// Switches the sleepers' periodic check on or off. It is on by default, and would hide a lost wake-up from a test.
pub fn switch_backstop(on: bool) {
    crate::sync::raw_lock::switch_backstop(on);
}
