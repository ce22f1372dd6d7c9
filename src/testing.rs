//! The hooks of this crate's own tests, in one place. They are not part of the public interface.

pub use crate::pool::testing::TestPool;
pub use crate::process::testing::{
    TestHandOver, close_fork_server, join_children, link, run_request, serve_one, sweep,
};

/// Switches the sleepers' periodic check on or off. It is on by default, and would hide a lost wake-up from a test.
pub fn switch_backstop(on: bool) {
    crate::sync::backstop::switch(on);
}
