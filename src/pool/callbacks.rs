//! The program's code that a pool runs in this process: callbacks, in a thread of their own, and what must not wait (H4).

use super::shared::{Callback, PoolShared};
use crate::TaskError;
use crate::sys::signals;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::thread;

/// A panic in the program's code is reported by its panic hook, and goes no further.
pub(super) fn unharmed(run: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(run)) {
        std::mem::forget(payload); // its destructor may panic too
    }
}

thread_local! {
    static HERE: Here = const { Here { served: RefCell::new(Vec::new()), calls: Cell::new(0), wakes: Cell::new(0) } };
}

/// What this thread does for pools, by their numbers.
struct Here {
    /// It runs the program's code for these, innermost last.
    served: RefCell<Vec<usize>>,
    /// It runs the callbacks of this one.
    calls: Cell<usize>,
    /// It runs a waker, inside another one's if it is more than 1.
    wakes: Cell<usize>,
}

/// This thread runs the program's code for a pool, as long as this lives.
pub(super) struct Serving;

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = HERE.try_with(|here| here.served.borrow_mut().pop());
    }
}

/// This thread runs a waker, as long as this lives. Executors poll in there, which is no wait.
pub(super) struct Waking;

impl Waking {
    pub(super) fn begin() -> Self {
        let _ = HERE.try_with(|here| here.wakes.set(here.wakes.get() + 1));
        Waking
    }

    pub(super) fn is_here() -> bool {
        HERE.try_with(|here| here.wakes.get() > 0).unwrap_or(false)
    }
}

impl Drop for Waking {
    fn drop(&mut self) {
        let _ = HERE.try_with(|here| here.wakes.set(here.wakes.get().saturating_sub(1)));
    }
}

/// Whether this thread runs the callbacks of some pool.
pub(super) fn is_in_callback() -> bool {
    HERE.try_with(|here| here.calls.get() != 0).unwrap_or(false)
}

/// H4.
impl PoolShared {
    fn number(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    pub(super) fn serve(&self) -> Serving {
        // Where the thread is at its end, there is nothing to write on any more.
        let _ = HERE.try_with(|here| here.served.borrow_mut().push(self.number()));
        Serving
    }

    pub(super) fn is_served_here(&self) -> bool {
        HERE.try_with(|here| here.served.borrow().contains(&self.number())).unwrap_or(false)
    }

    /// Whether this thread is the one that runs the callbacks.
    pub(super) fn calls_here(&self) -> bool {
        HERE.try_with(|here| here.calls.get() == self.number()).unwrap_or(false)
    }

    /// Why nobody can wait for it here, if so.
    pub(super) fn refusal(&self) -> Option<TaskError> {
        match self.is_owner() {
            false => Some(TaskError::PoolClosed),
            true => self.is_served_here().then_some(TaskError::Deadlock),
        }
    }
}

impl PoolShared {
    /// There will be callbacks.
    pub(super) fn employ_caller(self: &Arc<Self>) {
        let mut state = self.lock();
        if state.caller.is_some() || state.keeper_is_gone || !self.is_owner() {
            return;
        }
        let hub = self.clone();
        let call = move || {
            signals::block_signals(); // they are the program's
            hub.call();
        };
        // Without a thread for them they run where their results are read.
        state.caller = thread::Builder::new().name("crossproc-calls".into()).spawn(call).ok();
        state.caller_is_gone = state.caller.is_none();
    }

    /// A callback is to be run by the caller.
    pub(super) fn call_back(&self, callback: Callback) {
        let mut state = self.lock();
        if state.caller_is_gone {
            drop(state);
            return callback(self);
        }
        state.callbacks.push_back(callback);
        self.caller.notify_one();
    }

    /// The caller's life.
    fn call(&self) {
        let _ = HERE.try_with(|here| here.calls.set(self.number()));
        let mut state = self.lock();
        loop {
            if let Some(callback) = state.callbacks.pop_front() {
                drop(state);
                unharmed(|| callback(self)); // with wakers
                state = self.lock();
            } else if state.keeper_is_gone {
                state.caller_is_gone = true;
                drop(state);
                return self.over.notify_all();
            } else {
                state = self.caller.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}
