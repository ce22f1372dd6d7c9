//! The callback thread of a pool, and the pool's implementation of `completion`.

use super::completion::{Callback, Completion};
use super::reentrancy::{set_callback_thread, unharmed};
use super::shared::PoolShared;
use crate::sys::signals;
use std::sync::{Arc, PoisonError};
use std::thread::{self, Thread};

impl Completion for PoolShared {
    fn wake(&self, threads: &[Thread]) {
        if !threads.is_empty() && self.lock().leadership.is_other_leader_among(threads) {
            self.wake_leader();
        }
    }

    fn run_callback(&self, callback: Callback) {
        let mut state = self.lock();
        if state.threads.callback_thread_is_gone {
            drop(state);
            return callback(self);
        }
        state.threads.callbacks.push_back(callback);
        self.callback_thread.notify_one();
    }
}

impl PoolShared {
    /// Starts the callback thread, unless it was started. If it cannot be started, callbacks run where their results
    /// are read.
    pub(super) fn start_callback_thread(self: &Arc<Self>) {
        let mut state = self.lock();
        let threads = &mut state.threads;
        if threads.callback_thread.is_some() || threads.reader_is_gone || !self.is_owner() {
            return;
        }
        let shared = self.clone();
        let run = move || {
            signals::block_signals(); // they go to the program's threads
            shared.run_callback_thread();
        };
        threads.callback_thread = thread::Builder::new().name("crossproc-calls".into()).spawn(run).ok();
        threads.callback_thread_is_gone = threads.callback_thread.is_none();
    }

    fn run_callback_thread(&self) {
        set_callback_thread(self.number());
        let mut state = self.lock();
        loop {
            if let Some(callback) = state.threads.callbacks.pop_front() {
                drop(state);
                unharmed(|| callback(self)); // with wakers
                state = self.lock();
            } else if state.threads.reader_is_gone {
                state.threads.callback_thread_is_gone = true;
                drop(state);
                return self.ended.notify_all();
            } else {
                state = self.callback_thread.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}
