//! A result that comes: who waits for it, and what is to be done with it.

use super::hub::{Hub, locked};
use crate::TaskError;
use crate::sys::futex;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;
use std::thread::Thread;

type Answer<R> = Result<R, TaskError>;
type Callback<R> = Box<dyn FnOnce(&Answer<R>) + Send>;

pub(super) struct Promise<R> {
    state: Mutex<State<R>>,
    /// 1 when it is there, and its callbacks have run. Sleepers of `wait` sleep on it.
    done: AtomicU32,
    watched: AtomicBool,
}

struct State<R> {
    answer: Option<Answer<R>>,
    is_ok: bool,
    /// It has come, if only to the callbacks.
    came: bool,
    callbacks: Vec<Callback<R>>,
    threads: Vec<Thread>,
    waker: Option<Waker>,
}

impl<R> Promise<R> {
    pub(super) fn new() -> Arc<Self> {
        let state =
            State { answer: None, is_ok: false, came: false, callbacks: Vec::new(), threads: Vec::new(), waker: None };
        Arc::new(Promise { state: Mutex::new(state), done: AtomicU32::new(0), watched: AtomicBool::new(false) })
    }

    /// One that is kept already.
    pub(super) fn kept(answer: Answer<R>) -> Arc<Self> {
        let promise = Promise::new();
        let mut state = locked(&promise.state);
        state.came = true;
        promise.publish(state, answer);
        promise
    }

    pub(super) fn has_come(&self) -> bool {
        locked(&self.state).came
    }

    pub(super) fn is_done(&self) -> bool {
        self.done.load(SeqCst) == 1
    }

    /// A word to sleep on while it is 0.
    pub(super) fn word(&self) -> &AtomicU32 {
        self.watched.store(true, SeqCst);
        &self.done
    }

    pub(super) fn is_ok(&self) -> Option<bool> {
        let state = locked(&self.state);
        self.is_done().then_some(state.is_ok)
    }

    /// The answer, once.
    pub(super) fn take(&self) -> Option<Answer<R>> {
        let mut state = locked(&self.state);
        self.is_done().then(|| state.answer.take().unwrap_or(Err(TaskError::Taken)))
    }

    /// From here on the thread is unparked when it is done. False: it is.
    pub(super) fn await_by(&self, thread: Thread) -> bool {
        let mut state = locked(&self.state);
        if !self.is_done() && !state.threads.iter().any(|other| other.id() == thread.id()) {
            state.threads.push(thread);
        }
        !self.is_done()
    }

    pub(super) fn wake_with(&self, waker: &Waker) -> bool {
        let mut state = locked(&self.state);
        if !self.is_done() {
            state.waker = Some(waker.clone());
        }
        !self.is_done()
    }

    /// Gives the threads that wait.
    fn publish(&self, mut state: MutexGuard<'_, State<R>>, answer: Answer<R>) -> Vec<Thread> {
        state.is_ok = answer.is_ok();
        state.answer = Some(answer);
        self.done.store(1, SeqCst);
        let (threads, waker) = (std::mem::take(&mut state.threads), state.waker.take());
        drop(state);
        threads.iter().for_each(Thread::unpark);
        waker.into_iter().for_each(Waker::wake);
        if self.watched.load(SeqCst) {
            futex::wake(&self.done, u32::MAX);
        }
        threads
    }
}

impl<R: Send + 'static> Promise<R> {
    /// The answer has come. With callbacks, it is made known when they have run, in the pool's own thread.
    pub(super) fn resolve(self: &Arc<Self>, answer: Answer<R>, hub: &Hub) {
        let mut state = locked(&self.state);
        if std::mem::replace(&mut state.came, true) {
            return; // it was cancelled meanwhile
        }
        if state.callbacks.is_empty() {
            return hub.nudge(&self.publish(state, answer));
        }
        drop(state);
        let promise = self.clone();
        hub.call_back(Box::new(move |hub| {
            loop {
                let mut state = locked(&promise.state);
                let callbacks = std::mem::take(&mut state.callbacks);
                if callbacks.is_empty() {
                    return hub.nudge(&promise.publish(state, answer));
                }
                drop(state);
                callbacks.into_iter().for_each(|callback| call(callback, &answer));
            }
        }));
    }

    /// Calls it when the answer comes; at once if that was before.
    pub(super) fn call_back(&self, callback: Callback<R>) {
        let mut state = locked(&self.state);
        if !self.is_done() {
            state.callbacks.push(callback);
            return;
        }
        let answer = state.answer.take();
        drop(state);
        if let Some(answer) = answer {
            call(callback, &answer);
            locked(&self.state).answer = Some(answer);
        }
    }
}

/// A panic in it is reported by the program's panic hook, and goes no further.
fn call<R>(callback: Callback<R>, answer: &Answer<R>) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| callback(answer))) {
        std::mem::forget(payload); // its destructor may panic too
    }
}
