//! `Barrier`: a point that so many pass together. The protocol is `sync::monitor`'s, the state `sync::rounds`'.
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

const MOST_PARTIES: usize = 4096;

/// A point that a number of threads of any processes, the *parties*, pass together, again and again.
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
/// While it waits, or acts: the barrier is [`Broken`](BarrierError::Broken) for all, until [`reset`](Barrier::reset). Elsewhere: nobody
/// knows that it was to come; use [`wait_timeout`](Barrier::wait_timeout). With more than some 120 parties, a death in the very
/// moment in which the others go to sleep may be seen up to two seconds late.
#[derive(Debug)]
pub struct Barrier {
    handle: Handle,
    parties: usize,
    action: Option<BoundCall>,
}

/// What one who passed a [`Barrier`] is told.
///
/// ```
/// let turn = crossproc::Barrier::new(1)?.wait()?;
/// assert_eq!((turn.index, turn.is_leader), (0, true));
/// # Ok::<(), crossproc::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BarrierWaitResult {
    /// A number from 0 to the number of parties, another one for each: in the order of arrival.
    pub index: usize,
    /// Whether this is the one of all parties that leads: the last one that came.
    pub is_leader: bool,
}

impl Object for Barrier {
    const IN_PLACE: bool = false;

    fn spec(parties: usize) -> Result<Spec, SegmentError> {
        Spec::of::<()>(Kind::Barrier, parties)
    }

    fn layout(parties: usize) -> Option<ObjectLayout> {
        (parties <= MOST_PARTIES)
            .then(|| ObjectLayout { locks: 0, bytes: layout::bytes::<BarrierState>(0, seats_for(parties)) })
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
    /// One more reference to the same barrier.
    fn clone(&self) -> Self {
        Barrier { handle: self.handle.clone(), parties: self.parties, action: self.action.clone() }
    }
}

/// A barrier in a message, for what is written first.
struct Bare<'a>(&'a Barrier);

impl Serialize for Bare<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        segment::serialize(self.0, false, serializer)
    }
}

/// The same, when it is read.
struct Arrived(Barrier);

impl<'de> Deserialize<'de> for Arrived {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        segment::deserialize(false, deserializer).map(Arrived)
    }
}

impl Serialize for Barrier {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (Bare(self), &self.action).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Barrier {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (Arrived(barrier), action) = Deserialize::deserialize(deserializer)?;
        Ok(Barrier { action, ..barrier })
    }
}

/// Those of one round, and of those of the round before that have not left yet.
fn seats_for(parties: usize) -> usize {
    2 * parties + 16
}

fn check(parties: usize) -> Result<usize, SegmentError> {
    match parties {
        1..=MOST_PARTIES => Ok(parties),
        _ => Err(SegmentError::Invalid(format!("a barrier has 1 to {MOST_PARTIES} parties, not {parties}"))),
    }
}

fn init(object: NonNull<u8>, parties: usize) {
    // SAFETY: a new object, with room for more seats than are used here.
    let monitor = unsafe { layout::monitor::<BarrierState>(object, 0, 0) };
    monitor.state.init(parties as u32);
}

impl Barrier {
    /// For so many parties, 1 to 4,096.
    ///
    /// # Errors
    /// [`Invalid`](SegmentError::Invalid) for another number; [`NoSpace`](SegmentError::NoSpace).
    ///
    /// ```
    /// assert_eq!(crossproc::Barrier::new(2)?.parties(), 2);
    /// assert!(crossproc::Barrier::new(0).is_err());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn new(parties: usize) -> Result<Self, SegmentError> {
        segment::create(check(parties)?, |barrier: &Self| init(barrier.handle.object(), parties))
    }

    /// The same, with something that is done in each round by one of the parties, when all have come and none has passed:
    /// a function or a closure that captures nothing, and its arguments, which travel with the handle. If it panics or
    /// gives an `Err`, the barrier is broken.
    ///
    /// # Errors
    /// [`Segment`](SpawnError::Segment) as [`new`](Barrier::new); [`NotAnEntry`](SpawnError::NotAnEntry) for a function of a
    /// library, or one that captures.
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

    /// One that other programs find by name.
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

    /// One at an offset of memory that the program owns.
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
        // SAFETY: by `shape` the object has room for the state and that many seats, and lives as long as the handle.
        unsafe { layout::monitor(self.handle.object(), 0, seats_for(self.parties)) }
    }

    fn meet(&self, deadline: Option<Deadline>) -> Result<BarrierWaitResult, BarrierError> {
        let act = |action: &BoundCall| action.call().map_err(BarrierError::Action);
        let place = match &self.action {
            Some(action) => self.monitor().arrive_and_wait(deadline, Some(&|| act(action)))?,
            None => self.monitor().arrive_and_wait::<BarrierError>(deadline, None)?,
        };
        Ok(BarrierWaitResult { index: place.index as usize, is_leader: place.is_last })
    }

    /// Waits until all parties are here.
    ///
    /// # Errors
    /// [`Broken`](BarrierError::Broken) when somebody's time ran out, or somebody died, aborted or reset it, or the action
    /// failed: at once, until [`reset`](Barrier::reset). [`Action`](BarrierError::Action) for the party whose action failed.
    /// [`TooMany`](BarrierError::TooMany); [`Corrupt`](BarrierError::Corrupt).
    ///
    /// ```
    /// assert!(crossproc::Barrier::new(1)?.wait()?.is_leader);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    #[inline]
    pub fn wait(&self) -> Result<BarrierWaitResult, BarrierError> {
        self.meet(None)
    }

    /// The same, at most for that long, by the monotonic clock. If that is not enough, the barrier is broken for
    /// those who wait with it.
    ///
    /// # Errors
    /// [`Timeout`](BarrierError::Timeout), or as [`wait`](Barrier::wait).
    ///
    /// ```
    /// let barrier = crossproc::Barrier::new(2)?;
    /// let error = barrier.wait_timeout(std::time::Duration::from_millis(1)).unwrap_err();
    /// assert!(error.is_timeout() && barrier.is_broken());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn wait_timeout(&self, duration: Duration) -> Result<BarrierWaitResult, BarrierError> {
        self.meet(Some(Deadline::after(duration)))
    }

    /// Breaks the barrier: those who wait, and those who come, get [`Broken`](BarrierError::Broken), until it is reset.
    ///
    /// # Errors
    /// [`Corrupt`](BarrierError::Corrupt).
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

    /// Makes a broken barrier whole. Those who wait at the moment get [`Broken`](BarrierError::Broken).
    ///
    /// # Errors
    /// [`Corrupt`](BarrierError::Corrupt).
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

    /// How many it takes.
    ///
    /// ```
    /// assert_eq!(crossproc::Barrier::new(5)?.parties(), 5);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn parties(&self) -> usize {
        self.parties
    }

    /// How many wait at this moment.
    ///
    /// ```
    /// assert_eq!(crossproc::Barrier::new(5)?.waiting(), 0);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn waiting(&self) -> usize {
        self.monitor().state.waiting() as usize
    }

    /// Whether it is broken.
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
    fn from(stopped: BarrierFailure) -> Self {
        match stopped {
            BarrierFailure::Broken => BarrierError::Broken,
            BarrierFailure::Timeout => BarrierError::Timeout,
            BarrierFailure::TooMany => BarrierError::TooMany,
            BarrierFailure::Corrupt => BarrierError::Corrupt,
        }
    }
}

impl Named<Barrier> {
    /// Makes it, for so many parties; see [`Named`] for the errors.
    ///
    /// ```
    /// assert!(crossproc::Barrier::named("doc-barrier-create").create(2).is_ok());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn create(self, parties: usize) -> Result<Barrier, SegmentError> {
        self.create_object(check(parties)?, |object| init(object, parties))
    }

    /// Opens it, or makes it where there is none.
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
