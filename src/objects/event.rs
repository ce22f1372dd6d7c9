//! `Event`: something that happens once, until it is cleared. The protocol is `sync::signal`'s.
#![allow(unsafe_code)] // the state lies in shared memory

use crate::segment::unit_handle;
use crate::segment::{Handle, LINE};
use crate::sync::event::EventState;
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
/// In the middle of [`set`](Event::set): it is set, or not. If it is, everybody wakes; up to half a second late if the dead
/// one held a guard meanwhile, was in a signal handler, or in a thread that had used nothing of this library yet, or if
/// somebody cleared it at that very moment. Nothing else can be left by a death.
pub struct Event {
    handle: Handle,
}

unit_handle!(Event, 0, 2 * LINE, "doc-event");

impl Event {
    #[inline]
    pub(crate) fn signal(&self) -> &EventState {
        // SAFETY: the line behind the object's lock, mapped as long as the handle lives; any bytes are a EventState.
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
