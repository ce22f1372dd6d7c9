//! `JoinableQueue`: a queue that knows which of its items are still worked at. See `hands`.

use super::leases::{Content, Hands, LeaseId};
use super::macros::{BATCH, Get, Iter, queue_methods};
use super::{Task, UNBOUNDED, company, plan};
use crate::marker::Message;
use crate::marker::{self, Element};
use crate::messages::codec::{self, SendFailure};
use crate::messages::record::{Flags, Record};
use crate::messages::{self, MessageRing};
use crate::ring::{Peers, RingError, RingSource, WaitFor};
use crate::segment::{self, Handle, Holders, Kind, Object, ObjectLayout, Spec};
use crate::sync::Timeout;
use crate::sys::process_id::ProcessId;
use crate::{
    CodecError, GetError, GetTimeoutError, PutError, PutTimeoutError, SegmentError, TaskDoneError, TryGetError,
    TryPutError,
};
use std::marker::PhantomData;
use std::time::Duration;

/// A [`Queue`](crate::Queue) that can wait until all that was ever put is done, and loses no task to a killed worker.
///
/// [`get_task`](JoinableQueue::get_task) gives a [`Task`], which comes back to the front of the queue unless it is
/// [`done`](Task::done). Or as in Python: [`get`](JoinableQueue::get) gives an item for good, and
/// [`task_done`](JoinableQueue::task_done) says that one of those is done. [`join`](JoinableQueue::join) waits for both.
///
/// ```
/// use crossproc::{JoinableQueue, Process, Result, Value};
/// fn work(jobs: JoinableQueue<i64>, sum: Value<i64>) -> Result<()> {
///     while let Ok(job) = jobs.get_task() {
///         sum.update(|sum| *sum += *job)?; // an early return: the job goes back
///         job.done();
///     }
///     Ok(())
/// }
/// let (jobs, sum) = (JoinableQueue::new()?, Value::new(0)?);
/// let worker = Process::spawn(work, (jobs.clone(), sum.clone()))?;
/// jobs.put_many(1..=10)?;
/// jobs.join()?; // all are done
/// assert_eq!(sum.get(), 55);
/// jobs.close();
/// worker.join()??;
/// # Ok::<(), crossproc::Error>(())
/// ```
///
/// # When a process dies
/// As with a [`Queue`](crate::Queue), and its tasks go back to the front of the queue. An item that it had taken by `get`
/// is lost, and never done: `join` waits for it until nobody else has the queue, and is `Disconnected` then.
///
/// # Limits
/// 4,096 tasks can be in hands at a time; one more is [`NoSpace`](GetError::NoSpace). Where a process may not write large files
/// (`RLIMIT_FSIZE`), making such a queue is [`NoSpace`](SegmentError::NoSpace).
pub struct JoinableQueue<T> {
    handle: Handle,
    mail: MessageRing,
    items: usize,
    item: PhantomData<fn() -> T>,
}

queue_methods!(JoinableQueue);

impl<T> JoinableQueue<T> {
    /// How many items are in, exactly at this moment, without the tasks in hand.
    ///
    /// ```
    /// let queue = crossproc::JoinableQueue::new()?;
    /// queue.put_many([1, 2])?;
    /// let task = queue.get_task()?;
    /// assert_eq!(queue.len(), 1);
    /// drop(task);
    /// assert_eq!(queue.len(), 2);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn len(&self) -> usize {
        self.mail.len() + self.mail.ring.requeued() as usize
    }

    /// Whether nothing is in, exactly at this moment.
    ///
    /// ```
    /// assert!(crossproc::JoinableQueue::<u8>::new()?.is_empty());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn is_empty(&self) -> bool {
        !self.has_work()
    }

    pub(crate) fn ring_source(&self) -> RingSource<'_> {
        let MessageRing { ring, .. } = &self.mail;
        let company = || self.company(WaitFor::Items);
        // Looks for company first, which brings tasks of the dead back.
        RingSource::new(ring, move || ring.is_alone(&company) || self.has_work() || ring.is_closed())
    }

    /// Tasks lie behind its own memory, in a file that is long enough for them, or that is not.
    fn check_room(&self) -> Result<(), SegmentError> {
        self.mail.segment()?.table(Hands::BYTES).map(drop)
    }

    /// Whether the next items are those of the ring, in order.
    fn may_take_several(&self) -> bool {
        self.mail.ring.requeued() == 0
    }

    fn has_work(&self) -> bool {
        self.mail.has_messages() || self.mail.ring.requeued() != 0
    }

    /// Also brings tasks of the dead back. Whose end is to be news is not one other holder, but each.
    fn company(&self, what: WaitFor) -> Peers {
        let company = company(&self.handle, &self.mail.ring, what);
        let others = self.handle.others(0);
        // All of them, not up to the first.
        let unknown = others.iter().filter(|tag| Peers::of(**tag) != Peers::Watched).count();
        // Whoever has the lock now may be stopped: then it is done another time.
        if let Ok(hands) = self.hands(Timeout::Now) {
            hands.bring_back();
            hands.leave(self.mail.ring.requeued() != 0);
        }
        if unknown > 0 && company == Peers::Watched { Peers::Unknown } else { company }
    }

    fn hands(&self, patience: Timeout) -> Result<Hands<'_>, RingError> {
        let popping = self.mail.ring.begin_pop(patience)?;
        Hands::of(&self.mail, popping).map_err(|(stop, popping)| popping.fail(stop))
    }

    /// Takes what came back, or else the next item, into a hand; waits for one of them. `before` sees it while it is still in.
    fn take(&self, patience: Timeout) -> Result<(Content, codec::FdsBySegment), RingError> {
        let ready = || self.has_work();
        let company = || self.company(WaitFor::Items);
        loop {
            if !self.mail.ring.knows_peers() {
                self.mail.ring.is_alone(&company);
            }
            if !ready() {
                self.mail.ring.wait(WaitFor::Items, patience, &ready, &company)?;
            }
            let mut hands = self.hands(patience)?;
            match hands.take_again() {
                Ok(None) => {}
                Ok(Some(content)) => {
                    hands.leave(false);
                    return self.with_descriptors(content);
                }
                Err(stop) => return Err(hands.fail(stop)),
            }
            match hands.take() {
                Ok(None) => {
                    hands.fail(RingError::NotNow);
                }
                Ok(Some(content)) => {
                    hands.leave_taken(&content.note);
                    return self.with_descriptors(content);
                }
                Err(stop) => return Err(hands.fail(stop)),
            }
        }
    }

    /// Of what this process has in its hand, and nobody else may have read.
    fn with_descriptors(&self, content: Content) -> Result<(Content, codec::FdsBySegment), RingError> {
        let mut found = Vec::new();
        if content.flags().has_handles() {
            self.mail.find_descriptors(content.bytes(), &mut found)?;
        }
        Ok((content, found))
    }

    pub(super) fn finish(&self, grip: &LeaseId) {
        self.end(grip, |hands, grip| hands.finish(grip));
    }

    fn let_go(&self, grip: &LeaseId) {
        self.end(grip, |hands, grip| hands.let_go(grip));
    }

    fn end(&self, grip: &LeaseId, how: impl FnOnce(&Hands<'_>, &LeaseId)) {
        if let Ok(hands) = self.hands(Timeout::Never) {
            let message = hands.message_with_handles(grip);
            how(&hands, grip);
            hands.leave(false);
            if let Some(message) = message {
                codec::release_handles(message.bytes());
                self.mail.tidy_fd_store();
            }
        }
    }

    /// Nobody will get what is in.
    fn drain(&self) {
        while let Ok((content, _)) = self.take(Timeout::Now) {
            self.let_go(&content.grip);
        }
    }

    pub(super) fn put_back(&self, grip: &LeaseId) {
        if let Ok(hands) = self.hands(Timeout::Never) {
            hands.put_back(grip);
            hands.leave(true);
        }
    }
}

impl<T: Message> JoinableQueue<T> {
    /// Takes the first item out as a task; waits while the queue is empty.
    ///
    /// # Errors
    /// As [`get`](JoinableQueue::get). A task that cannot be decoded counts as done.
    ///
    /// ```
    /// let queue = crossproc::JoinableQueue::new()?;
    /// queue.put(1.5)?;
    /// let task = queue.get_task()?;
    /// assert_eq!(*task, 1.5);
    /// task.done();
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn get_task(&self) -> Result<Task<T>, GetError> {
        Ok(self.receive_task(Timeout::Never)?)
    }

    /// Takes the first item out as a task if there is one.
    ///
    /// # Errors
    /// [`Empty`](TryGetError::Empty), or as [`get_task`](JoinableQueue::get_task).
    ///
    /// ```
    /// use crossproc::{JoinableQueue, TryGetError};
    /// let queue = JoinableQueue::<u8>::new()?;
    /// assert_eq!(queue.try_get_task().unwrap_err(), TryGetError::Empty);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn try_get_task(&self) -> Result<Task<T>, TryGetError> {
        Ok(self.receive_task(Timeout::Now)?)
    }

    /// Takes the first item out as a task; waits for that long while the queue is empty, by the monotonic clock.
    ///
    /// # Errors
    /// [`Timeout`](GetTimeoutError::Timeout), or as [`get_task`](JoinableQueue::get_task).
    ///
    /// ```
    /// let queue = crossproc::JoinableQueue::<u8>::new()?;
    /// assert!(queue.get_task_timeout(std::time::Duration::from_millis(1)).unwrap_err().is_timeout());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn get_task_timeout(&self, duration: Duration) -> Result<Task<T>, GetTimeoutError> {
        Ok(self.receive_task(Timeout::at_most(duration))?)
    }

    /// One of the items that were taken by [`get`](JoinableQueue::get) or the like is done.
    ///
    /// # Errors
    /// [`TooMany`](TaskDoneError::TooMany) when all of them are.
    ///
    /// ```
    /// let queue = crossproc::JoinableQueue::new()?;
    /// queue.put('x')?;
    /// assert!(queue.task_done().is_err(), "nobody has got it");
    /// queue.get()?;
    /// queue.task_done()?;
    /// queue.join()?;
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn task_done(&self) -> Result<(), TaskDoneError> {
        let hands = self.hands(Timeout::Never).map_err(|_| TaskDoneError::Corrupt)?;
        let got = hands.got();
        if got > 0 {
            hands.finish_got();
        }
        hands.leave(false);
        if got > 0 { Ok(()) } else { Err(TaskDoneError::TooMany) }
    }

    /// Waits until all that was ever put is done, also when the queue is closed.
    ///
    /// # Errors
    /// [`Disconnected`](GetError::Disconnected) when something is left and nobody else has the queue any more, where others had
    /// it. [`Corrupt`](GetError::Corrupt).
    ///
    /// ```
    /// crossproc::JoinableQueue::<u8>::new()?.join()?; // nothing was ever put
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn join(&self) -> Result<(), GetError> {
        self.wait_for_end(Timeout::Never).map_err(|stop| SendFailure::Ring(stop).into())
    }

    /// The same, for that long: whether all is done.
    ///
    /// # Errors
    /// As [`join`](JoinableQueue::join).
    ///
    /// ```
    /// let queue = crossproc::JoinableQueue::new()?;
    /// queue.put(1)?;
    /// assert!(!queue.join_timeout(std::time::Duration::from_millis(1))?);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn join_timeout(&self, duration: Duration) -> Result<bool, GetError> {
        match self.wait_for_end(Timeout::at_most(duration)) {
            Ok(()) => Ok(true),
            Err(RingError::NotNow | RingError::Timeout) => Ok(false),
            Err(stop) => Err(SendFailure::Ring(stop).into()),
        }
    }

    fn wait_for_end(&self, patience: Timeout) -> Result<(), RingError> {
        let ring = &self.mail.ring;
        let is_done = || ring.is_drained();
        while !is_done() {
            ring.wait(WaitFor::Drained, patience, &is_done, &|| self.company(WaitFor::Items))?;
            ring.pass_on_alone();
        }
        Ok(())
    }

    fn receive_task(&self, patience: Timeout) -> Result<Task<T>, SendFailure> {
        let (content, found) = self.take(patience)?;
        let undecoded = Undecoded(self, content.grip, Self::finish);
        let item = self.decode(&content, found)?;
        std::mem::forget(undecoded);
        let (queue, grip) = (Object::of(self.handle.uncounted(), self.items), content.grip);
        Ok(Task { item: Some(item), queue, grip, process: ProcessId::current() })
    }

    fn decode(&self, content: &Content, found: codec::FdsBySegment) -> Result<T, CodecError> {
        codec::decode_keeping_handles(content.bytes(), content.flags(), found)
    }

    /// An item for good: what came back comes first.
    fn receive(&self, to: &mut Option<T>, patience: Timeout) -> Result<(), SendFailure> {
        if !self.mail.ring.knows_peers() || self.mail.ring.requeued() != 0 || !self.mail.has_messages() {
            let (content, found) = self.take(patience)?;
            let _got = Undecoded(self, content.grip, Self::let_go);
            *to = Some(self.decode(&content, found)?);
            return Ok(());
        }
        self.mail.receive_value(to, patience, &|| self.company(WaitFor::Items))
    }

    fn receive_bytes(&self) -> Result<Vec<u8>, SendFailure> {
        let (content, _) = self.take(Timeout::Never)?;
        self.let_go(&content.grip);
        Ok(content.bytes().to_vec())
    }
}

/// What happens to a task that was taken and cannot be decoded, also when the program's decoder panics.
struct Undecoded<'a, T>(&'a JoinableQueue<T>, LeaseId, fn(&JoinableQueue<T>, &LeaseId));

impl<T> Drop for Undecoded<'_, T> {
    fn drop(&mut self) {
        (self.2)(self.0, &self.1);
    }
}
