//! `Event`: a flag that threads wait for. The protocol is that of `sync::event`.
#![allow(unsafe_code)] // the state lies in shared memory

use crate::segment::unit_handle;
use crate::segment::{Handle, LINE};
use crate::sync::event::EventState;
use crate::sys::Deadline;
use std::time::Duration;

/// A flag that any number of threads of any processes wait for. It is set until it is cleared.
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
/// If a process dies during [`set`](Event::set), the event is set or not. If it is set, every waiter wakes. It wakes up
/// to half a second late if the dead thread held a guard, was in a signal handler, or used this library for the first
/// time, or if another thread cleared the event at that moment. A death at any other point changes nothing.
pub struct Event {
    handle: Handle,
}

unit_handle!(Event, 0, 2 * LINE, "doc-event");

impl Event {
    #[inline]
    pub(crate) fn state(&self) -> &EventState {
        // SAFETY: the state is the second line of the object, and consists of atomics, for which any bytes are valid.
        // The handle keeps it mapped.
        unsafe { self.handle.object().add(LINE).cast().as_ref() }
    }

    /// Sets the event, and wakes every waiting thread. Until [`clear`](Event::clear), [`wait`](Event::wait) returns at
    /// once.
    ///
    /// This may be called from a signal handler.
    ///
    /// ```
    /// let event = crossproc::Event::new()?;
    /// event.set();
    /// event.set(); // setting it again has no effect
    /// event.wait();
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    #[inline]
    pub fn set(&self) {
        self.state().set();
    }

    /// Clears the event, so that [`wait`](Event::wait) waits again. Threads that waited before the last
    /// [`set`](Event::set) wake nevertheless.
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
        self.state().clear();
    }

    /// Returns whether the event is set.
    ///
    /// ```
    /// assert!(!crossproc::Event::new()?.is_set());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    #[inline]
    pub fn is_set(&self) -> bool {
        self.state().is_set()
    }

    /// Waits until the event is set.
    ///
    /// ```
    /// let event = crossproc::Event::new()?;
    /// event.set();
    /// event.wait(); // at once
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    #[inline]
    pub fn wait(&self) {
        self.state().wait(None);
    }

    /// Waits until the event is set, for at most `duration`, by the monotonic clock. Returns whether it was set.
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
        self.state().wait(Some(Deadline::after(duration)))
    }
}
