//! How the program's code is called inside a pool, and marks of what the current thread runs for which pool.
//!
//! Serde code, destructors, callbacks and wakers may call the pool again. The marks show this, so that a call that
//! would wait for its own thread returns an error instead (pool-H4). A pool is named by a number: the address of its
//! shared state.

use crate::CodecError;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static MARKS: ThreadMarks =
        const { ThreadMarks { user_code: RefCell::new(Vec::new()), callbacks: Cell::new(0), wakers: Cell::new(0) } };
}

struct ThreadMarks {
    /// Pools for which this thread runs the program's code, innermost last.
    user_code: RefCell<Vec<usize>>,
    /// The pool whose callback thread this is, or 0.
    callbacks: Cell<usize>,
    /// How many wakers this thread is in, one inside the other.
    wakers: Cell<usize>,
}

/// While this lives, the thread runs the program's code for a pool.
pub(super) struct UserCodeMark;

impl UserCodeMark {
    pub(super) fn set(pool: usize) -> Self {
        // At the end of a thread its marks are gone already.
        let _ = MARKS.try_with(|marks| marks.user_code.borrow_mut().push(pool));
        UserCodeMark
    }
}

impl Drop for UserCodeMark {
    fn drop(&mut self) {
        let _ = MARKS.try_with(|marks| marks.user_code.borrow_mut().pop());
    }
}

pub(super) fn runs_user_code_of(pool: usize) -> bool {
    MARKS.try_with(|marks| marks.user_code.borrow().contains(&pool)).unwrap_or(false)
}

/// While this lives, the thread runs a waker. Executors may poll inside a waker, and a poll does not wait.
pub(super) struct WakerMark;

impl WakerMark {
    pub(super) fn set() -> Self {
        let _ = MARKS.try_with(|marks| marks.wakers.set(marks.wakers.get() + 1));
        WakerMark
    }
}

impl Drop for WakerMark {
    fn drop(&mut self) {
        let _ = MARKS.try_with(|marks| marks.wakers.set(marks.wakers.get().saturating_sub(1)));
    }
}

pub(super) fn is_in_waker() -> bool {
    MARKS.try_with(|marks| marks.wakers.get() > 0).unwrap_or(false)
}

/// Marks this thread as the callback thread of a pool.
pub(super) fn set_callback_thread(pool: usize) {
    let _ = MARKS.try_with(|marks| marks.callbacks.set(pool));
}

/// Whether this thread runs the callbacks of some pool.
pub(super) fn is_in_callback() -> bool {
    MARKS.try_with(|marks| marks.callbacks.get() != 0).unwrap_or(false)
}

pub(super) fn is_callback_thread_of(pool: usize) -> bool {
    MARKS.try_with(|marks| marks.callbacks.get() == pool).unwrap_or(false)
}

/// Runs the program's code; its panic hook has reported a panic, which ends here. Not generic: one copy for all
/// callers.
fn run_caught(run: &mut dyn FnMut()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(run)) {
        std::mem::forget(payload); // its destructor may panic too
    }
}

/// Runs the program's code. A panic in it is reported by the panic hook, and goes no further.
pub(super) fn unharmed(run: impl FnOnce()) {
    let mut run = Some(run);
    run_caught(&mut || {
        if let Some(run) = run.take() {
            run();
        }
    });
}

/// Like [`unharmed`], for the path of each result: compiled anew for each caller, without a copy of what the closure
/// holds.
#[inline]
pub(super) fn unharmed_inline(run: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(run)) {
        std::mem::forget(payload); // its destructor may panic too
    }
}

/// Drops a value of the program's; nothing is called for a type without a destructor.
pub(super) fn drop_unharmed<T>(value: T) {
    if const { std::mem::needs_drop::<T>() } {
        unharmed(|| drop(value));
    }
}

/// Runs the program's encoding or decoding; a panic in it is an error.
pub(super) fn caught<T>(what: &str, run: impl FnOnce() -> Result<T, CodecError>) -> Result<T, CodecError> {
    let (mut run, mut result) = (Some(run), None);
    run_caught(&mut || result = run.take().map(|run| run()));
    result.unwrap_or_else(|| Err(CodecError::new(format!("a panic in the {what}"))))
}
