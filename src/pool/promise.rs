//! A result that comes: who waits for it, and what is to be done with it.

use super::callbacks::{Waking, unharmed};
use super::shared::{PoolShared, locked};
use crate::TaskError;
use crate::sys::futex;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;
use std::thread::{self, Thread, ThreadId};

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
    /// In its callbacks.
    calling: Option<ThreadId>,
    callbacks: Vec<Callback<R>>,
    threads: Vec<Thread>,
    waker: Option<Waker>,
}

impl<R> Promise<R> {
    pub(super) fn new() -> Arc<Self> {
        let state = State {
            answer: None,
            is_ok: false,
            calling: None,
            callbacks: Vec::new(),
            threads: Vec::new(),
            waker: None,
        };
        let (came, done, watched) = Default::default();
        Arc::new(Promise { state: Mutex::new(state), came, done, watched })
    }

    /// One that is kept already.
    pub(super) fn kept(answer: Answer<R>) -> Arc<Self> {
        let promise = Promise::new();
        let mut state = locked(&promise.state);
        promise.has_come_with(&mut state, answer);
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

    /// Whether it is a result, once it is done, or has come.
    pub(super) fn is_ok(&self, in_callback: bool) -> Option<bool> {
        let state = locked(&self.state);
        (self.is_done() || in_callback && self.has_come()).then_some(state.is_ok)
    }

    fn has_come_with(&self, state: &mut State<R>, answer: Answer<R>) {
        state.is_ok = answer.is_ok();
        state.answer = Some(answer);
        self.came.store(1, SeqCst);
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
        self.done.store(1, SeqCst);
        let (threads, waker) = (std::mem::take(&mut state.threads), state.waker.take());
        drop(state);
        threads.iter().for_each(Thread::unpark);
        self.tell();
        waker.into_iter().for_each(wake);
        threads
    }

    fn tell(&self) {
        if self.watched.load(SeqCst) {
            futex::wake(&self.came, u32::MAX);
            futex::wake(&self.done, u32::MAX);
        }
    }

    /// Whether this thread is in one of its callbacks.
    pub(super) fn is_called_here(&self) -> bool {
        locked(&self.state).calling == Some(thread::current().id())
    }

    /// It has come, and its callbacks have not begun to run.
    pub(super) fn has_callbacks_to_run(&self) -> bool {
        let state = locked(&self.state);
        self.has_come() && !self.is_done() && state.answer.is_some()
    }

    /// Runs its callbacks, and makes it known, unless that is being done.
    pub(super) fn settle(&self, hub: &PoolShared) {
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
            state.calling = Some(thread::current().id());
            drop(state);
            if let Some(answer) = &answer {
                callbacks.into_iter().for_each(|callback| unharmed(|| callback(answer)));
            }
            let mut state = locked(&self.state);
            (state.answer, state.calling) = (answer, None);
        }
    }
}

impl<R: Send + 'static> Promise<R> {
    /// The answer has come. With callbacks, it is made known when they have run, in the pool's own thread.
    pub(super) fn resolve(self: &Arc<Self>, answer: Answer<R>, hub: &PoolShared) {
        let mut state = locked(&self.state);
        if self.has_come() {
            return; // it was cancelled meanwhile
        }
        self.has_come_with(&mut state, answer);
        if state.callbacks.is_empty() {
            return hub.nudge(&self.publish(state));
        }
        // That thread may itself wait for this one, in a callback.
        let (threads, waker) = (state.threads.clone(), state.waker.clone());
        drop(state);
        let promise = self.clone();
        hub.call_back(Box::new(move |hub| promise.settle(hub)));
        threads.iter().for_each(Thread::unpark);
        self.tell();
        waker.into_iter().for_each(wake);
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

/// In the middle of what a pool does, but in nobody's way: what it polls may be pending.
fn wake(waker: Waker) {
    let _waking = Waking::begin();
    unharmed(|| waker.wake());
}

/// Whoever has it last may be a thread of the pool's.
impl<R> Drop for Promise<R> {
    fn drop(&mut self) {
        let answer = locked(&self.state).answer.take();
        unharmed(|| drop(answer));
    }
}
