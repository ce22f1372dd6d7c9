//! `wait`: for whatever comes first of many.
//!
//! # Protocol
//! Each round: the news are read; descriptors are given to the watcher; each ring's gate is armed and, if there are not too
//! many, its locks are marked; all is looked at; then sleep on all those words. Whoever was woken passes the wake on, for the
//! program may take something else than what it was woken for.
//!
//! # If a process dies here
//! One of the rings has a lock of its in the pending slot, as in the ring's own sleep. A wake that a dead one swallowed at
//! another ring is made up for by the sleepers' own looks (every two seconds).

use crate::ring::RingSource;
use crate::sync::event::Signal;
use crate::sys::watcher::{self, Watch};
use crate::sys::{AsFd, BorrowedFd, Deadline, futex, poll};
use crate::{Event, JoinableQueue, Pipe, Queue, Receiver, SimpleQueue};
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

/// What [`wait()`] can wait for: queues and receiving ends of pipes, which are ready when there is something to get, or will
/// never be; events, when they are set; results of pools, when they have come; and whatever is `AsFd`, which is ready when it can be read: processes (at their end), sockets, files.
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

/// What becomes ready.
#[doc(hidden)]
#[allow(missing_debug_implementations, reason = "nobody but this crate sees it")]
pub enum Source<'a> {
    #[doc(hidden)]
    Fd(BorrowedFd<'a>),
    #[doc(hidden)]
    Ring(RingSource<'a>),
    #[doc(hidden)]
    Event(&'a Signal),
    /// A word of this process's own: ready when it is not 0, and then its sleepers are woken.
    #[doc(hidden)]
    Word(&'a AtomicU32),
    /// Nothing ever comes from there.
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
        Source::Event(self.signal())
    }
}

waitable! { Pipe<S, R> Receiver<T> Queue<T> JoinableQueue<T> SimpleQueue<T> }

/// With more rings than this, of which each has four words then, only their gates are slept on.
const MOST_WITH_LOCKS: usize = 31;
/// How often those are looked at that have no word to sleep on.
const SLICE: Duration = Duration::from_millis(50);
/// How often all are looked at, for a wake that went with one who was killed.
const PERIOD: Duration = Duration::from_secs(2);

/// Waits until at least one of them is ready, or the time is over, by the monotonic clock; gives the numbers of those that
/// are ready, in order: none when the time is over. Without a time it waits as long as it takes.
///
/// A queue is ready when it has an item, is closed, or nobody else has it any more; a pipe or a receiver when there is a
/// message, or the end; an event while it is set, so one that is cleared again at once may be missed. That something is
/// ready does not mean that it still is when it is taken: somebody else may be faster. It sleeps until then, with up to 127
/// queues and pipes and any number of descriptors; more are looked at 20 times a second.
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
/// A peer that is killed makes what only it could have sent to ready, as its end would. If one who waits for many at once is
/// killed in the very moment in which it is woken, somebody else who sleeps at the same queue may wake up to two seconds late.
pub fn wait(items: &[&dyn Waitable], timeout: Option<Duration>) -> Vec<usize> {
    let sources: Vec<Source<'_>> = items.iter().map(|item| item.source()).collect();
    let rings: Vec<&RingSource<'_>> = sources.iter().filter_map(ring_of).collect();
    let deadline = timeout.map(Deadline::after);
    wait_for(&sources, &rings, deadline)
}

fn ring_of<'a, 'b>(source: &'b Source<'a>) -> Option<&'b RingSource<'a>> {
    match source {
        Source::Ring(ring) => Some(ring),
        Source::Fd(_) | Source::Event(_) | Source::Word(_) | Source::Ready => None,
    }
}

fn events<'a, 'b>(sources: &'b [Source<'a>]) -> impl Iterator<Item = &'a Signal> + use<'a, 'b> {
    sources.iter().filter_map(|source| match source {
        Source::Event(event) => Some(*event),
        _ => None,
    })
}

fn wait_for(sources: &[Source<'_>], rings: &[&RingSource<'_>], deadline: Option<Deadline>) -> Vec<usize> {
    loop {
        let news = watcher::news().load(SeqCst);
        let ready = find_ready(sources);
        if !ready.is_empty() || deadline.is_some_and(Deadline::has_passed) {
            return ready;
        }
        let watches = Watches::new(sources);
        let mut words: Vec<(&AtomicU32, u32)> = vec![(watcher::news(), news)];
        let with_locks = rings.len() <= MOST_WITH_LOCKS;
        let mut last = Vec::new();
        let armed = rings.iter().all(|source| source.ring.prepare_wait(with_locks, &mut words, &mut last));
        words.append(&mut last);
        words.extend(events(sources).flat_map(Signal::arm));
        words.extend(sources.iter().filter_map(|source| match source {
            Source::Word(word) => Some((*word, 0)),
            _ => None,
        }));
        // Behind the arming: what comes from here on is a wake.
        let ready = find_ready(sources);
        if !ready.is_empty() {
            events(sources).for_each(Signal::pass_on);
            return ready;
        }
        if armed {
            let sleeper = rings.first().map(|source| source.ring.begin_sleep());
            let all_watched = watches.complete && words.len() <= futex::MOST_WORDS;
            let slice = Deadline::after(if all_watched { PERIOD } else { SLICE });
            words.truncate(futex::MOST_WORDS);
            futex::wait_any(&words, Some(deadline.map_or(slice, |deadline| deadline.min(slice))));
            rings.iter().for_each(|source| source.ring.pass_on());
            events(sources).for_each(Signal::pass_on);
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
    (0..sources.len()).filter(|at| is_ready(&sources[*at])).collect()
}

/// The descriptors among what is waited for, in the watcher's hands.
struct Watches {
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
