//! A result that comes: who waits for it, and what is to be done with it.

use super::calls::unharmed;
use super::hub::{Hub, locked};
use crate::TaskError;
use crate::sys::futex;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;
use std::thread::Thread;

type Answer<R> = Result<R, TaskError>;
pub(super) type Callback<R> = Box<dyn FnOnce(&Answer<R>) + Send>;

pub(super) struct Promise<R> {
    state: Mutex<State<R>>,
    /// 1 when it has come, if only to its callbacks.
    came: AtomicU32,
    /// 1 when its callbacks have run. Sleepers of `wait` sleep on these two.
    done: AtomicU32,
    watched: AtomicBool,
}

struct State<R> {
    /// None before it has come, while its callbacks have it, and when it was taken.
    answer: Option<Answer<R>>,
    is_ok: bool,
    callbacks: Vec<Callback<R>>,
    threads: Vec<Thread>,
    waker: Option<Waker>,
}

impl<R> Promise<R> {
    pub(super) fn new() -> Arc<Self> {
        let state = State { answer: None, is_ok: false, callbacks: Vec::new(), threads: Vec::new(), waker: None };
        let (came, done, watched) = Default::default();
        Arc::new(Promise { state: Mutex::new(state), came, done, watched })
    }

    /// One that is kept already.
    pub(super) fn kept(answer: Answer<R>) -> Arc<Self> {
        let promise = Promise::new();
        let mut state = locked(&promise.state);
        state.answer = Some(answer);
        promise.came.store(1, SeqCst);
        promise.publish(state);
        promise
    }

    pub(super) fn has_come(&self) -> bool {
        self.came.load(SeqCst) == 1
    }

    pub(super) fn is_done(&self) -> bool {
        self.done.load(SeqCst) == 1
    }

    /// A word to sleep on while it is 0. In a callback nobody else would run those of this one.
    pub(super) fn word(&self, in_callback: bool) -> &AtomicU32 {
        self.watched.store(true, SeqCst);
        if in_callback { &self.came } else { &self.done }
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
    fn publish(&self, mut state: MutexGuard<'_, State<R>>) -> Vec<Thread> {
        state.is_ok = matches!(state.answer, Some(Ok(_)));
        self.done.store(1, SeqCst);
        let (threads, waker) = (std::mem::take(&mut state.threads), state.waker.take());
        drop(state);
        threads.iter().for_each(Thread::unpark);
        waker.into_iter().for_each(Waker::wake);
        self.tell(&self.done);
        threads
    }

    fn tell(&self, word: &AtomicU32) {
        if self.watched.load(SeqCst) {
            futex::wake(word, u32::MAX);
        }
    }

    /// It has come, and its callbacks have not begun to run.
    pub(super) fn has_callbacks_to_run(&self) -> bool {
        let state = locked(&self.state);
        self.has_come() && !self.is_done() && state.answer.is_some()
    }

    /// Runs its callbacks, and makes it known, unless that is being done.
    pub(super) fn settle(&self, hub: &Hub) {
        loop {
            let mut state = locked(&self.state);
            if self.is_done() || state.answer.is_none() {
                return;
            }
            let callbacks = std::mem::take(&mut state.callbacks);
            if callbacks.is_empty() {
                return hub.nudge(&self.publish(state));
            }
            let answer = state.answer.take();
            drop(state);
            if let Some(answer) = &answer {
                callbacks.into_iter().for_each(|callback| unharmed(|| callback(answer)));
            }
            locked(&self.state).answer = answer;
        }
    }
}

impl<R: Send + 'static> Promise<R> {
    /// The answer has come. With callbacks, it is made known when they have run, in the pool's own thread.
    pub(super) fn resolve(self: &Arc<Self>, answer: Answer<R>, hub: &Hub) {
        let mut state = locked(&self.state);
        if self.came.swap(1, SeqCst) == 1 {
            return; // it was cancelled meanwhile
        }
        state.answer = Some(answer);
        if state.callbacks.is_empty() {
            return hub.nudge(&self.publish(state));
        }
        // That thread may itself wait for this one, in a callback.
        let (threads, waker) = (state.threads.clone(), state.waker.clone());
        drop(state);
        let promise = self.clone();
        hub.call_back(Box::new(move |hub| promise.settle(hub)));
        threads.iter().for_each(Thread::unpark);
        waker.into_iter().for_each(Waker::wake);
        self.tell(&self.came);
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
            unharmed(|| callback(&answer));
            locked(&self.state).answer = Some(answer);
        }
    }
}

/// Whoever has it last may be a thread of the pool's.
impl<R> Drop for Promise<R> {
    fn drop(&mut self) {
        let answer = locked(&self.state).answer.take();
        unharmed(|| drop(answer));
    }
}
