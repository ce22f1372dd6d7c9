//! `wait`: sleeps until the first of several sources is ready.
//!
//! # Protocol
//! 1. Load the watcher's epoch, which changes when a watched descriptor becomes ready.
//! 2. Check every source. If one is ready, return.
//! 3. Prepare to sleep: hand the descriptors to the watcher, set HAS_WAITERS at each ring and event, and, if there
//!    are not too many rings, WAITERS in the rings' locks. Collect all these words with their values.
//! 4. Check every source again: a source that becomes ready after this changes one of the words.
//! 5. Sleep on all words. After the sleep, pass the wake-up on to the next sleeper of each ring and event, since the
//!    program may take another item than the one that this thread was woken for. Begin again.
//!
//! # If a process dies here
//! While it sleeps, a lock word of the first ring is in the thread's pending slot, as in the ring's own wait: the
//! kernel wakes another sleeper of that ring. A wake-up that the dead thread got from any other ring is lost; the other
//! sleepers of that ring check it every two seconds.

use crate::ring::RingSource;
use crate::sync::backstop::IDLE_PERIOD;
use crate::sync::event::EventState;
use crate::sys::watcher::{self, Watch};
use crate::sys::{AsFd, BorrowedFd, Deadline, futex, poll};
use crate::{Event, JoinableQueue, Pipe, Queue, Receiver, SimpleQueue};
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

/// A type that [`wait()`] can wait for.
///
/// - Queues and receiving ends of pipes are ready when there is an item to get, or when there will never be one.
/// - Events are ready while they are set.
/// - Results of pools are ready when they have arrived.
/// - Every type with [`AsFd`](std::os::fd::AsFd) is ready when its descriptor is readable. A process is readable when
///   it has ended.
///
/// ```
/// use crossproc::{Queue, Waitable, wait};
/// let queues = (0..3).map(|_| Queue::<u8>::new()).collect::<Result<Vec<_>, _>>()?;
/// queues[1].put(5)?;
/// let all: Vec<&dyn Waitable> = queues.iter().map(|queue| queue as &dyn Waitable).collect();
/// assert_eq!(wait(&all, None), [1]);
/// # Ok::<(), crossproc::Error>(())
/// ```
pub trait Waitable {
    #[doc(hidden)]
    fn source(&self) -> Source<'_>;
}

/// The state that [`wait()`] checks and sleeps on.
#[doc(hidden)]
#[allow(missing_debug_implementations, reason = "it is not visible outside of this crate")]
pub enum Source<'a> {
    #[doc(hidden)]
    Fd(BorrowedFd<'a>),
    #[doc(hidden)]
    Ring(RingSource<'a>),
    #[doc(hidden)]
    Event(&'a EventState),
    /// A futex word of this process: ready when it is not 0. Its sleepers are woken when it changes.
    #[doc(hidden)]
    Word(&'a AtomicU32),
    /// Ready from the beginning, since no item will ever come.
    #[doc(hidden)]
    Ready,
}

impl<T: AsFd> Waitable for T {
    fn source(&self) -> Source<'_> {
        Source::Fd(self.as_fd())
    }
}

impl<'a> From<RingSource<'a>> for Source<'a> {
    fn from(ring: RingSource<'a>) -> Self {
        Source::Ring(ring)
    }
}

impl<'a> From<Option<RingSource<'a>>> for Source<'a> {
    fn from(ring: Option<RingSource<'a>>) -> Self {
        ring.map_or(Source::Ready, Source::Ring)
    }
}

macro_rules! waitable {
    ($($type:ident<$($param:ident),+>)*) => { $(
        impl<$($param),+> Waitable for $type<$($param),+> {
            fn source(&self) -> Source<'_> {
                self.ring_source().into()
            }
        }
    )* };
}

impl Waitable for Event {
    fn source(&self) -> Source<'_> {
        Source::Event(self.state())
    }
}

waitable! { Pipe<S, R> Receiver<T> Queue<T> JoinableQueue<T> SimpleQueue<T> }

/// The largest number of rings that are slept on with their locks, which takes four words for each. With more rings,
/// only their event counts are slept on.
const MAX_RINGS_WITH_LOCKS: usize = 31;
/// The period of checking sources that have no word to sleep on.
const POLL_PERIOD: Duration = Duration::from_millis(50);

/// Waits until at least one of the items is ready, and returns the indexes of all items that are ready, in order.
///
/// With a timeout, it waits for at most that long, by the monotonic clock, and returns an empty vector if the time runs
/// out.
///
/// A queue is ready when it has an item, is closed, or no other handle of it exists any more. A pipe or a receiver is
/// ready when it has a message, or no sender is left. An event is ready while it is set, so an event that is set and
/// cleared at once may be missed. An item that is ready may not be ready any more when it is used, since another thread
/// or process may be faster.
///
/// The thread sleeps while nothing is ready. With more than 127 queues and pipes, it also checks all of them 20 times a
/// second. The number of descriptors has no such limit.
///
/// ```
/// use crossproc::{Pipe, Process, Queue, wait};
/// use std::time::Duration;
/// let (queue, (ours, theirs)) = (Queue::<u8>::new()?, Pipe::<String>::pair()?);
/// let child = Process::spawn(|pipe: Pipe<String>| pipe.send(&"hello".into()).unwrap(), (theirs,))?;
/// assert_eq!(wait(&[&queue, &ours], None), [1]);
/// assert_eq!(ours.recv()?, "hello");
/// assert_eq!(wait(&[&queue, &child], None), [1], "the child has ended");
/// assert!(wait(&[&queue], Some(Duration::from_millis(1))).is_empty());
/// # Ok::<(), crossproc::Error>(())
/// ```
///
/// # When a process dies
/// If the only process that could have sent to a queue or pipe is killed, that queue or pipe is ready, as at the end of
/// that process. If a process that waits for several queues is killed at the moment when it is woken, another process
/// that waits for one of these queues may wake up to two seconds late.
pub fn wait(items: &[&dyn Waitable], timeout: Option<Duration>) -> Vec<usize> {
    let sources: Vec<Source<'_>> = items.iter().map(|item| item.source()).collect();
    let rings: Vec<&RingSource<'_>> = sources.iter().filter_map(ring).collect();
    let deadline = timeout.map(Deadline::after);
    wait_for(&sources, &rings, deadline)
}

fn ring<'a, 'b>(source: &'b Source<'a>) -> Option<&'b RingSource<'a>> {
    match source {
        Source::Ring(ring) => Some(ring),
        Source::Fd(_) | Source::Event(_) | Source::Word(_) | Source::Ready => None,
    }
}

fn events<'a, 'b>(sources: &'b [Source<'a>]) -> impl Iterator<Item = &'a EventState> + use<'a, 'b> {
    sources.iter().filter_map(|source| match source {
        Source::Event(event) => Some(*event),
        _ => None,
    })
}

fn wait_for(sources: &[Source<'_>], rings: &[&RingSource<'_>], deadline: Option<Deadline>) -> Vec<usize> {
    loop {
        let epoch = watcher::epoch().load(SeqCst);
        let ready = find_ready(sources);
        if !ready.is_empty() || deadline.is_some_and(Deadline::has_passed) {
            return ready;
        }
        let watches = Watches::new(sources);
        let mut words: Vec<(&AtomicU32, u32)> = vec![(watcher::epoch(), epoch)];
        let with_locks = rings.len() <= MAX_RINGS_WITH_LOCKS;
        let mut compared_last = Vec::new();
        let prepared = rings.iter().all(|source| source.ring.prepare_wait(with_locks, &mut words, &mut compared_last));
        words.append(&mut compared_last);
        words.extend(events(sources).flat_map(EventState::prepare_wait));
        words.extend(sources.iter().filter_map(|source| match source {
            Source::Word(word) => Some((*word, 0)),
            _ => None,
        }));
        // After the waiters bits are set: a source that becomes ready from here on changes one of the words.
        let ready = find_ready(sources);
        if !ready.is_empty() {
            events(sources).for_each(EventState::pass_on);
            return ready;
        }
        if prepared {
            let sleeper = rings.first().map(|source| source.ring.begin_sleep());
            let all_watched = watches.complete && words.len() <= futex::MOST_WORDS;
            let slice = Deadline::after(if all_watched { IDLE_PERIOD } else { POLL_PERIOD });
            words.truncate(futex::MOST_WORDS);
            futex::wait_any(&words, Some(deadline.map_or(slice, |deadline| deadline.min(slice))));
            rings.iter().for_each(|source| source.ring.pass_on());
            events(sources).for_each(EventState::pass_on);
            drop(sleeper);
        }
    }
}

fn find_ready(sources: &[Source<'_>]) -> Vec<usize> {
    let is_ready = |source: &Source<'_>| match source {
        Source::Fd(fd) => poll::readable(crate::sys::as_number(fd), Some(Deadline::now())),
        Source::Ring(ring) => (ring.ready)(),
        Source::Event(event) => event.is_set(),
        Source::Word(word) => word.load(SeqCst) != 0,
        Source::Ready => true,
    };
    (0..sources.len()).filter(|index| is_ready(&sources[*index])).collect()
}

/// The descriptors among the sources, watched as long as this lives.
struct Watches {
    /// Whether the watcher has all of them.
    complete: bool,
    _watches: Vec<Watch>,
}

impl Watches {
    fn new(sources: &[Source<'_>]) -> Self {
        let mut complete = true;
        let mut watches = Vec::new();
        for source in sources {
            if let Source::Fd(fd) = source {
                match watcher::descriptor(fd) {
                    Ok(watch) => watches.push(watch),
                    Err(_) => complete = false,
                }
            }
        }
        Watches { complete, _watches: watches }
    }
}
