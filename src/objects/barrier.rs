//! `Barrier`: a number of threads wait for each other. The protocol is that of `sync::monitor`, the state that of
//! `sync::barrier`.
#![allow(unsafe_code)] // the state lies in shared memory

use crate::entry::BoundCall;
use crate::segment::{self, Handle, Kind, Named, Object, ObjectLayout, Spec};
use crate::sync::barrier::{BarrierFailure, BarrierState};
use crate::sync::layout;
use crate::sync::monitor::Monitor;
use crate::sys::Deadline;
use crate::{BarrierError, Entry, Message, Outcome, SegmentError, SpawnError};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::ptr::NonNull;
use std::time::Duration;

const MAX_PARTIES: usize = 4096;

/// A point where a number of threads of any processes, the *parties*, wait for each other, again and again.
///
/// ```
/// use crossproc::{Barrier, Process};
/// fn run(barrier: Barrier) -> Result<bool, crossproc::BarrierError> {
///     Ok(barrier.wait()?.is_leader)
/// }
/// let barrier = Barrier::new(3)?;
/// let children = [Process::spawn(run, (barrier.clone(),))?, Process::spawn(run, (barrier.clone(),))?];
/// let mut leaders = usize::from(barrier.wait()?.is_leader);
/// for child in children {
///     leaders += usize::from(child.join()??);
/// }
/// assert_eq!(leaders, 1);
/// # Ok::<(), crossproc::Error>(())
/// ```
///
/// # When a process dies
/// If a process dies while it waits, or while it runs the action, the barrier is [`Broken`](BarrierError::Broken) for
/// every party until [`reset`](Barrier::reset). With more than about 120 parties, a death at the moment when other
/// parties go to sleep may be noticed up to two seconds late. A party that dies before it calls [`wait`](Barrier::wait)
/// is not noticed, since parties have no identity: use [`wait_timeout`](Barrier::wait_timeout).
#[derive(Debug)]
pub struct Barrier {
    handle: Handle,
    parties: usize,
    action: Option<BoundCall>,
}

/// The result of [`Barrier::wait`] for one party.
///
/// ```
/// let result = crossproc::Barrier::new(1)?.wait()?;
/// assert_eq!((result.index, result.is_leader), (0, true));
/// # Ok::<(), crossproc::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BarrierWaitResult {
    /// The position of the party in the order of arrival, from 0.
    pub index: usize,
    /// Whether the party is the leader of this round: the one that arrived last.
    pub is_leader: bool,
}

impl Object for Barrier {
    const IN_PLACE: bool = false;

    fn spec(parties: usize) -> Result<Spec, SegmentError> {
        Spec::of::<()>(Kind::Barrier, parties)
    }

    fn layout(parties: usize) -> Option<ObjectLayout> {
        (parties <= MAX_PARTIES)
            .then(|| ObjectLayout { locks: 0, bytes: layout::bytes::<BarrierState>(0, participants_for(parties)) })
    }

    fn of(handle: Handle, parties: usize) -> Self {
        Barrier { handle, parties, action: None }
    }

    fn handle(&self) -> &Handle {
        &self.handle
    }

    fn count(&self) -> usize {
        self.parties
    }
}

impl Clone for Barrier {
    /// Returns another handle of the same barrier.
    fn clone(&self) -> Self {
        Barrier { handle: self.handle.clone(), parties: self.parties, action: self.action.clone() }
    }
}

/// The handle of a barrier without its action, to be encoded.
struct HandleOf<'a>(&'a Barrier);

impl Serialize for HandleOf<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        segment::serialize(self.0, false, serializer)
    }
}

/// A barrier without its action, decoded.
struct WithoutAction(Barrier);

impl<'de> Deserialize<'de> for WithoutAction {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        segment::deserialize(false, deserializer).map(WithoutAction)
    }
}

impl Serialize for Barrier {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (HandleOf(self), &self.action).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Barrier {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (WithoutAction(barrier), action) = Deserialize::deserialize(deserializer)?;
        Ok(Barrier { action, ..barrier })
    }
}

/// The parties of a round, and those of the round before that have not left yet.
fn participants_for(parties: usize) -> usize {
    2 * parties + 16
}

fn check(parties: usize) -> Result<usize, SegmentError> {
    match parties {
        1..=MAX_PARTIES => Ok(parties),
        _ => Err(SegmentError::Invalid(format!("a barrier has 1 to {MAX_PARTIES} parties, not {parties}"))),
    }
}

fn init(object: NonNull<u8>, parties: usize) {
    // SAFETY: the new object has the layout of a barrier, of which only the header is used here.
    let monitor = unsafe { layout::monitor::<BarrierState>(object, 0, 0) };
    monitor.state.init(parties as u32);
}

impl Barrier {
    /// Creates a barrier for this number of parties, from 1 to 4,096.
    ///
    /// # Errors
    /// [`Invalid`](SegmentError::Invalid) for another number, [`NoSpace`](SegmentError::NoSpace) if not enough memory
    /// is left.
    ///
    /// ```
    /// assert_eq!(crossproc::Barrier::new(2)?.parties(), 2);
    /// assert!(crossproc::Barrier::new(0).is_err());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn new(parties: usize) -> Result<Self, SegmentError> {
        segment::create(check(parties)?, |barrier: &Self| init(barrier.handle.object(), parties))
    }

    /// Creates a barrier with an action, which one of the parties runs in each round: after all parties have arrived,
    /// and before any of them passes.
    ///
    /// The action is a function, or a closure that captures nothing, and its arguments. Both are sent along with the
    /// handle. If it panics or returns an `Err`, the barrier is broken.
    ///
    /// # Errors
    /// [`Segment`](SpawnError::Segment) as [`new`](Barrier::new); [`NotAnEntry`](SpawnError::NotAnEntry) for a function
    /// of a library, or one that captures.
    ///
    /// ```
    /// use crossproc::{Barrier, Value};
    /// let rounds = Value::new(0_u32)?;
    /// let count = |rounds: Value<u32>| rounds.update(|n| *n += 1);
    /// let barrier = Barrier::with_action(1, count, (rounds.clone(),))?;
    /// barrier.wait()?;
    /// barrier.wait()?;
    /// assert_eq!(rounds.get(), 2);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn with_action<A, M, F>(parties: usize, entry: F, args: A) -> Result<Self, SpawnError>
    where
        A: Message + Clone,
        M: 'static,
        F: Entry<A, M, Output: Outcome> + Sync,
    {
        let action = BoundCall::new(entry, args)?;
        Ok(Barrier { action: Some(action), ..Barrier::new(parties)? })
    }

    /// Returns a builder that creates or opens a barrier by name, so that other programs can use it, too.
    ///
    /// ```
    /// let ours = crossproc::Barrier::named("doc-barrier").create(1)?;
    /// assert_eq!(crossproc::Barrier::named("doc-barrier").open()?.parties(), 1);
    /// # drop(ours);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn named(name: &str) -> Named<Self> {
        Named::by(name)
    }

    /// Returns a builder that creates or opens a barrier at an offset of memory that the program owns.
    ///
    /// ```
    /// let memory = crossproc::Within::new(shared_memory::ShmemConf::new().size(65536).create().unwrap());
    /// assert!(crossproc::Barrier::within(&memory, 64).create(1)?.wait().is_ok());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    #[cfg(feature = "shared_memory")]
    pub fn within(memory: &crate::Within, offset: usize) -> Named<Self> {
        memory.at(offset)
    }

    #[inline]
    fn monitor(&self) -> Monitor<'_, BarrierState> {
        // SAFETY: the object has the layout of a monitor with this number of participants. The handle keeps it mapped.
        unsafe { layout::monitor(self.handle.object(), 0, participants_for(self.parties)) }
    }

    fn wait_until(&self, deadline: Option<Deadline>) -> Result<BarrierWaitResult, BarrierError> {
        let run = |action: &BoundCall| action.call().map_err(BarrierError::Action);
        let arrival = match &self.action {
            Some(action) => self.monitor().arrive_and_wait(deadline, Some(&|| run(action)))?,
            None => self.monitor().arrive_and_wait::<BarrierError>(deadline, None)?,
        };
        Ok(BarrierWaitResult { index: arrival.index as usize, is_leader: arrival.is_last })
    }

    /// Waits until all parties have arrived.
    ///
    /// # Errors
    /// - [`Broken`](BarrierError::Broken) if the time of another party ran out, a party died, the barrier was aborted
    ///   or reset, or the action failed. From then on every call returns this at once, until [`reset`](Barrier::reset).
    /// - [`Action`](BarrierError::Action) for the party that ran the action, if it failed.
    /// - [`TooMany`](BarrierError::TooMany) if this thread holds about 2,000 locks.
    /// - [`Corrupt`](BarrierError::Corrupt) if the barrier was overwritten.
    ///
    /// ```
    /// assert!(crossproc::Barrier::new(1)?.wait()?.is_leader);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    #[inline]
    pub fn wait(&self) -> Result<BarrierWaitResult, BarrierError> {
        self.wait_until(None)
    }

    /// Waits until all parties have arrived, for at most `duration`, by the monotonic clock. If the time runs out, the
    /// barrier is broken for every party.
    ///
    /// # Errors
    /// [`Timeout`](BarrierError::Timeout), or the errors of [`wait`](Barrier::wait).
    ///
    /// ```
    /// let barrier = crossproc::Barrier::new(2)?;
    /// let error = barrier.wait_timeout(std::time::Duration::from_millis(1)).unwrap_err();
    /// assert!(error.is_timeout() && barrier.is_broken());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn wait_timeout(&self, duration: Duration) -> Result<BarrierWaitResult, BarrierError> {
        self.wait_until(Some(Deadline::after(duration)))
    }

    /// Breaks the barrier: every party that waits or arrives gets [`Broken`](BarrierError::Broken), until
    /// [`reset`](Barrier::reset).
    ///
    /// # Errors
    /// [`Corrupt`](BarrierError::Corrupt) if the barrier was overwritten.
    ///
    /// ```
    /// let barrier = crossproc::Barrier::new(1)?;
    /// barrier.abort()?;
    /// assert_eq!(barrier.wait(), Err(crossproc::BarrierError::Broken));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn abort(&self) -> Result<(), BarrierError> {
        Ok(self.monitor().abort().map_err(BarrierFailure::from)?)
    }

    /// Makes a broken barrier usable again, with no party waiting. Parties that wait meanwhile get
    /// [`Broken`](BarrierError::Broken).
    ///
    /// # Errors
    /// [`Corrupt`](BarrierError::Corrupt) if the barrier was overwritten.
    ///
    /// ```
    /// let barrier = crossproc::Barrier::new(1)?;
    /// barrier.abort()?;
    /// barrier.reset()?;
    /// assert!(barrier.wait().is_ok());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn reset(&self) -> Result<(), BarrierError> {
        Ok(self.monitor().reset().map_err(BarrierFailure::from)?)
    }

    /// Returns the number of parties.
    ///
    /// ```
    /// assert_eq!(crossproc::Barrier::new(5)?.parties(), 5);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn parties(&self) -> usize {
        self.parties
    }

    /// Returns the number of parties that wait at this moment.
    ///
    /// ```
    /// assert_eq!(crossproc::Barrier::new(5)?.waiting(), 0);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn waiting(&self) -> usize {
        self.monitor().state.waiting() as usize
    }

    /// Returns whether the barrier is broken.
    ///
    /// ```
    /// assert!(!crossproc::Barrier::new(5)?.is_broken());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn is_broken(&self) -> bool {
        self.monitor().state.is_broken()
    }
}

impl From<BarrierFailure> for BarrierError {
    fn from(failure: BarrierFailure) -> Self {
        match failure {
            BarrierFailure::Broken => BarrierError::Broken,
            BarrierFailure::Timeout => BarrierError::Timeout,
            BarrierFailure::TooMany => BarrierError::TooMany,
            BarrierFailure::Corrupt => BarrierError::Corrupt,
        }
    }
}

impl Named<Barrier> {
    /// Creates the barrier for this number of parties. See [`Named`] for the errors.
    ///
    /// ```
    /// assert!(crossproc::Barrier::named("doc-barrier-create").create(2).is_ok());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn create(self, parties: usize) -> Result<Barrier, SegmentError> {
        self.create_object(check(parties)?, |object| init(object, parties))
    }

    /// Opens the barrier, or creates it if it does not exist.
    ///
    /// ```
    /// let barrier = crossproc::Barrier::named("doc-barrier-either").open_or_create(2)?;
    /// assert!(crossproc::Barrier::named("doc-barrier-either").open().is_ok());
    /// # drop(barrier);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn open_or_create(self, parties: usize) -> Result<Barrier, SegmentError> {
        let parties = check(parties)?;
        self.open_or_create_object(|named| named.create_object(parties, |object| init(object, parties)))
    }
}
