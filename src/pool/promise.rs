//! A result to come: the threads and the waker that wait for it, and its callbacks.
//!
//! A promise is *resolved* when its result has come, and *done* when its callbacks have run as well. Threads
//! that wait get the result only when it is done. Without callbacks both happen at once.

use super::completion::Completion;
use super::reentrancy::{WakerMark, drop_unharmed, unharmed};
use crate::TaskError;
use crate::error::locked;
use crate::sys::futex;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;
use std::thread::{self, Thread, ThreadId};

type TaskResult<R> = Result<R, TaskError>;
pub(super) type ResultCallback<R> = Box<dyn FnOnce(&TaskResult<R>) + Send>;

pub(super) struct Promise<R> {
    words: PromiseWords,
    state: Mutex<PromiseState<R>>,
}

/// The part that can be read without the lock. All accesses are SeqCst: a thread stores `is_watched` and then loads a
/// word, the resolving thread stores the word and then loads `is_watched`. One of the two sees the other's store, so no
/// sleeper is missed.
#[derive(Default)]
struct PromiseWords {
    /// 1 once the promise is resolved.
    resolved: AtomicU32,
    /// 1 once it is done. `wait` sleeps on one of these two words.
    done: AtomicU32,
    /// Whether a thread may sleep on the words.
    is_watched: AtomicBool,
}

struct PromiseState<R> {
    /// None before the promise is resolved, while the callbacks run, and after the result was taken.
    answer: Option<TaskResult<R>>,
    callbacks: Vec<ResultCallback<R>>,
    waiters: PromiseWaiters,
}

#[derive(Default)]
struct PromiseWaiters {
    is_ok: bool,
    /// The thread that runs the callbacks.
    callback_thread: Option<ThreadId>,
    threads: Vec<Thread>,
    waker: Option<Waker>,
}

impl PromiseWords {
    fn is_resolved(&self) -> bool {
        self.resolved.load(SeqCst) == 1
    }

    fn is_done(&self) -> bool {
        self.done.load(SeqCst) == 1
    }

    /// Wakes all that wait. Not under the promise's lock: a waker is the program's code.
    fn notify(&self, threads: &[Thread], waker: Option<Waker>) {
        threads.iter().for_each(Thread::unpark);
        if self.is_watched.load(SeqCst) {
            futex::wake(&self.resolved, u32::MAX);
            futex::wake(&self.done, u32::MAX);
        }
        if let Some(waker) = waker {
            let _mark = WakerMark::set(); // a task that is polled in here may return `Pending`
            unharmed(|| waker.wake());
        }
    }
}

impl PromiseWaiters {
    fn add(&mut self, thread: Thread) {
        if !self.threads.iter().any(|other| other.id() == thread.id()) {
            self.threads.push(thread);
        }
    }
}

impl<R> Promise<R> {
    pub(super) fn new() -> Arc<Self> {
        let state = PromiseState { answer: None, callbacks: Vec::new(), waiters: PromiseWaiters::default() };
        Arc::new(Promise { words: PromiseWords::default(), state: Mutex::new(state) })
    }

    /// A promise that is done.
    pub(super) fn ready(answer: TaskResult<R>) -> Arc<Self> {
        let promise = Promise::new();
        let mut state = locked(&promise.state);
        promise.store(&mut state, answer);
        promise.publish(state);
        promise
    }

    pub(super) fn is_resolved(&self) -> bool {
        self.words.is_resolved()
    }

    pub(super) fn is_done(&self) -> bool {
        self.words.is_done()
    }

    /// A word to sleep on while it is 0. A callback sleeps only until the promise is resolved: the callbacks of this
    /// promise may need its own thread.
    pub(super) fn word(&self, in_callback: bool) -> &AtomicU32 {
        self.words.is_watched.store(true, SeqCst);
        if in_callback { &self.words.resolved } else { &self.words.done }
    }

    /// Whether the task returned a result; None while the promise is not done (in a callback: not resolved).
    pub(super) fn is_ok(&self, in_callback: bool) -> Option<bool> {
        let state = locked(&self.state);
        (self.is_done() || in_callback && self.is_resolved()).then_some(state.waiters.is_ok)
    }

    fn store(&self, state: &mut PromiseState<R>, answer: TaskResult<R>) {
        state.waiters.is_ok = answer.is_ok();
        state.answer = Some(answer);
        self.words.resolved.store(1, SeqCst);
    }

    /// Takes the answer of a promise that is done; the second time it is [`TaskError::Taken`].
    pub(super) fn take(&self) -> Option<TaskResult<R>> {
        let mut state = locked(&self.state);
        self.is_done().then(|| state.answer.take().unwrap_or(Err(TaskError::Taken)))
    }

    /// Registers a thread to be unparked when the promise is done. False: it is done.
    pub(super) fn register_thread(&self, thread: Thread) -> bool {
        let mut state = locked(&self.state);
        let is_pending = !self.is_done();
        if is_pending {
            state.waiters.add(thread);
        }
        is_pending
    }

    /// Registers the waker to be woken when the promise is done. False: it is done.
    pub(super) fn register_waker(&self, waker: &Waker) -> bool {
        let mut state = locked(&self.state);
        let is_pending = !self.is_done();
        if is_pending {
            state.waiters.waker = Some(waker.clone());
        }
        is_pending
    }

    /// Makes the promise done. Returns the threads that waited.
    fn publish(&self, mut state: MutexGuard<'_, PromiseState<R>>) -> Vec<Thread> {
        self.words.done.store(1, SeqCst);
        let (threads, waker) = (std::mem::take(&mut state.waiters.threads), state.waiters.waker.take());
        drop(state);
        self.words.notify(&threads, waker);
        threads
    }

    /// Whether this thread is in one of the promise's callbacks.
    pub(super) fn is_called_back_here(&self) -> bool {
        locked(&self.state).waiters.callback_thread == Some(thread::current().id())
    }

    /// Whether the promise is resolved, and no thread runs its callbacks yet.
    pub(super) fn has_callbacks_to_run(&self) -> bool {
        let state = locked(&self.state);
        self.is_resolved() && !self.is_done() && state.answer.is_some()
    }

    /// Runs the callbacks and makes the promise done, unless another thread does.
    pub(super) fn run_callbacks(&self, completion: &dyn Completion) {
        loop {
            let mut state = locked(&self.state);
            if self.is_done() || state.answer.is_none() {
                return;
            }
            let callbacks = std::mem::take(&mut state.callbacks);
            if callbacks.is_empty() {
                return completion.wake(&self.publish(state));
            }
            let answer = state.answer.take();
            state.waiters.callback_thread = Some(thread::current().id());
            drop(state);
            if let Some(answer) = &answer {
                callbacks.into_iter().for_each(|callback| unharmed(|| callback(answer)));
            }
            let mut state = locked(&self.state);
            (state.answer, state.waiters.callback_thread) = (answer, None);
        }
    }
}

impl<R: Send + 'static> Promise<R> {
    /// Stores the answer, unless the promise was cancelled before. With callbacks, the promise is done when these have
    /// run in the callback thread.
    pub(super) fn resolve(self: &Arc<Self>, answer: TaskResult<R>, completion: &dyn Completion) {
        let mut state = locked(&self.state);
        if self.is_resolved() {
            return;
        }
        self.store(&mut state, answer);
        if state.callbacks.is_empty() {
            return completion.wake(&self.publish(state));
        }
        // The callback thread itself may wait for this promise, in another callback.
        let (threads, waker) = (state.waiters.threads.clone(), state.waiters.waker.clone());
        drop(state);
        let promise = self.clone();
        completion.run_callback(Box::new(move |completion| promise.run_callbacks(completion)));
        self.words.notify(&threads, waker);
    }

    /// Calls back when the promise is resolved; at once if it is done.
    pub(super) fn add_callback(&self, callback: ResultCallback<R>) {
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

/// The last reference may be dropped in a thread of the pool.
impl<R> Drop for Promise<R> {
    fn drop(&mut self) {
        drop_unharmed(locked(&self.state).answer.take());
    }
}
