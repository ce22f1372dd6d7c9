//! Requests of workers for the value that all items of a job share, and the handles in that value.
//!
//! The thread that runs `map_with` sends the value to each worker that requests it. Once it stops, later requests are
//! refused: the worker sees the end of its pipe.

use super::locked::locked;
use crate::segment::transfer::InFlightGuard;
use crate::{CodecError, Sender};
use std::sync::Mutex;
use std::thread::Thread;

/// The pipe to a worker that requests the value, or why there is none.
pub(super) type ValueRequest = Result<Sender<()>, CodecError>;

#[derive(Default)]
pub(super) struct SharedRequests {
    /// None when no thread serves requests, or not any more.
    requests: Mutex<Option<Vec<ValueRequest>>>,
    /// The thread that serves them.
    server: Option<Thread>,
    /// Keeps the handles in the value alive as long as a task of the job can be on its way.
    handles: Mutex<Vec<InFlightGuard>>,
}

impl SharedRequests {
    /// Requests that this thread serves.
    pub(super) fn served_here() -> Self {
        let server = Some(std::thread::current());
        SharedRequests { requests: Mutex::new(Some(Vec::new())), server, handles: Mutex::default() }
    }

    pub(super) fn push(&self, request: ValueRequest) {
        if let Some(requests) = locked(&self.requests).as_mut() {
            requests.push(request);
            self.server.iter().for_each(Thread::unpark);
        }
    }

    pub(super) fn take(&self) -> Vec<ValueRequest> {
        locked(&self.requests).as_mut().map(std::mem::take).unwrap_or_default()
    }

    pub(super) fn are_there(&self) -> bool {
        locked(&self.requests).as_ref().is_some_and(|requests| !requests.is_empty())
    }

    pub(super) fn end(&self) {
        let requests = locked(&self.requests).take();
        drop(requests); // without the lock
    }

    pub(super) fn keep_handles(&self, handles: InFlightGuard) {
        locked(&self.handles).push(handles);
    }
}
