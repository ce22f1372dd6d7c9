//! `Event`: something that happens once, until it is cleared. The protocol is `sync::signal`'s.
#![allow(unsafe_code)] // the state lies in shared memory

use crate::SegmentError;
use crate::segment::{self, Handle, Kind, LINE, Named, Object, Shape, Spec, handle_type};
use crate::sync::signal::Signal;
use crate::sys::Deadline;
use std::time::Duration;

/// Something that happens, which any number of threads of any processes wait for.
///
/// ```
/// use crossproc::{Event, Process};
/// let start = Event::new()?;
/// let child = Process::spawn(|start: Event| start.wait(), (start.clone(),))?;
/// start.set();
/// child.join()?;
/// assert!(start.is_set());
/// # Ok::<(), crossproc::Error>(())
/// ```
///
/// # When a process dies
/// In the middle of [`set`](Event::set): it is set, or not. If it is, everybody wakes; up to half a second late if the dead one held
/// a guard meanwhile, or was in a signal handler. Nothing else can be left by a death.
pub struct Event {
    handle: Handle,
}

handle_type!(Event);

impl Object for Event {
    const IN_PLACE: bool = false;

    fn spec(_: usize) -> Result<Spec, SegmentError> {
        Spec::of::<()>(Kind::Event, 1)
    }

    fn shape(_: usize) -> Option<Shape> {
        Some(Shape { locks: 0, bytes: 2 * LINE })
    }

    fn of(handle: Handle, _: usize) -> Self {
        Event { handle }
    }

    fn handle(&self) -> &Handle {
        &self.handle
    }

    fn count(&self) -> usize {
        1
    }
}

impl Event {
    /// One that is not set.
    ///
    /// # Errors
    /// [`NoSpace`](SegmentError::NoSpace).
    ///
    /// ```
    /// assert!(!crossproc::Event::new()?.is_set());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn new() -> Result<Self, SegmentError> {
        segment::create(1, |_| ())
    }

    /// One that other programs find by name.
    ///
    /// ```
    /// let ours = crossproc::Event::named("doc-event").open_or_create()?;
    /// crossproc::Event::named("doc-event").open()?.set();
    /// assert!(ours.is_set());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn named(name: &str) -> Named<Self> {
        Named::by(name)
    }

    /// One at an offset of memory that the program owns.
    ///
    /// ```
    /// let memory = crossproc::Within::new(shared_memory::ShmemConf::new().size(65536).create().unwrap());
    /// assert!(!crossproc::Event::within(&memory, 64).create()?.is_set());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    #[cfg(feature = "shared_memory")]
    pub fn within(memory: &crate::Within, offset: usize) -> Named<Self> {
        memory.at(offset)
    }

    #[inline]
    pub(crate) fn signal(&self) -> &Signal {
        // SAFETY: the line behind the object's lock, mapped as long as the handle lives; any bytes are a Signal.
        unsafe { self.handle.object().add(LINE).cast().as_ref() }
    }

    /// It happens: everybody who waits wakes, and nobody waits any more, until [`clear`](Event::clear). May be called from a
    /// signal handler.
    ///
    /// ```
    /// let event = crossproc::Event::new()?;
    /// event.set();
    /// event.set(); // as often as one likes
    /// event.wait();
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    #[inline]
    pub fn set(&self) {
        self.signal().set();
    }

    /// From now on it has to happen again. Those who waited before the last [`set`](Event::set) wake all the same.
    ///
    /// ```
    /// let event = crossproc::Event::new()?;
    /// event.set();
    /// event.clear();
    /// assert!(!event.is_set());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    #[inline]
    pub fn clear(&self) {
        self.signal().clear();
    }

    /// Whether it happened.
    ///
    /// ```
    /// assert!(!crossproc::Event::new()?.is_set());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    #[inline]
    pub fn is_set(&self) -> bool {
        self.signal().is_set()
    }

    /// Waits until it happens.
    ///
    /// ```
    /// let event = crossproc::Event::new()?;
    /// event.set();
    /// event.wait(); // at once
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    #[inline]
    pub fn wait(&self) {
        self.signal().wait(None);
    }

    /// Waits until it happens, or that time is over, by the monotonic clock; says whether it happened.
    ///
    /// ```
    /// let event = crossproc::Event::new()?;
    /// assert!(!event.wait_timeout(std::time::Duration::from_millis(1)));
    /// event.set();
    /// assert!(event.wait_timeout(std::time::Duration::ZERO));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    #[must_use]
    pub fn wait_timeout(&self, duration: Duration) -> bool {
        self.signal().wait(Some(Deadline::after(duration)))
    }
}

impl Named<Event> {
    /// Makes it; see [`Named`] for the errors.
    ///
    /// ```
    /// assert!(crossproc::Event::named("doc-event-create").create().is_ok());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn create(self) -> Result<Event, SegmentError> {
        self.create_object(1, |_| ())
    }

    /// Opens it, or makes it where there is none.
    ///
    /// ```
    /// let event = crossproc::Event::named("doc-event-either").open_or_create()?;
    /// assert!(crossproc::Event::named("doc-event-either").open().is_ok());
    /// # drop(event);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn open_or_create(self) -> Result<Event, SegmentError> {
        self.open_or_create_object(|named| named.create_object(1, |_| ()))
    }
}
