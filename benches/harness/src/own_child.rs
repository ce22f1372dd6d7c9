//! A child of crossproc's own, forked, so that its job may capture, which brings a result home.

use crate::process::{end_in_time, pin};
use anyhow::{Context, Result, anyhow};
use crossproc::{Message, Process};

/// Dropped before it was joined, it is killed.
pub struct OwnChild<R: Message>(Option<Process<Result<R, String>>>);

impl<R: Message> OwnChild<R> {
    /// Runs `job` in a child that is pinned to `core`.
    pub fn fork(core: usize, job: impl FnOnce() -> Result<R>) -> Result<Self> {
        let pinned = || {
            end_in_time();
            pin(core).and_then(|()| job()).map_err(|error| format!("{error:#}"))
        };
        // SAFETY: this process has one thread.
        Ok(OwnChild(Some(unsafe { crossproc::fork(pinned) }?)))
    }

    pub fn join(mut self) -> Result<R> {
        let process = self.0.take().context("it was joined")?;
        process.join()?.map_err(|error| anyhow!("a measuring child: {error}"))
    }
}

impl<R: Message> Drop for OwnChild<R> {
    fn drop(&mut self) {
        if let Some(process) = self.0.take() {
            let _ = process.kill();
            process.wait();
        }
    }
}
