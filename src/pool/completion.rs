//! What a promise and a job need of their pool when a result has come: a trait, so that they do not import `shared`.

use std::thread::Thread;

/// A callback; it is given the pool again.
pub(super) type Callback = Box<dyn FnOnce(&dyn Completion) + Send>;

pub(super) trait Completion {
    /// Wakes a leader among threads whose result has come: it sleeps for reports, where `unpark` does not wake it.
    fn wake(&self, threads: &[Thread]);
    /// Runs a callback in the callback thread, or here if there is none.
    fn run_callback(&self, callback: Callback);
}
