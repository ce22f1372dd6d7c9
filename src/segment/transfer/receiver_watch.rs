//! Up-call that watches the processes to which handles were sent.
//!
//! A waiter may depend on a handle in a message to a child that was killed before it read the message. Only the room
//! `process` knows that child and what was sent to it, and it is above this room. It registers a function here. The
//! function releases the handles of children that have ended without taking them, and makes the process's watcher
//! report the end of the others, so that the waiter wakes.
//!
//! Of the functions that this room calls upward (see "Calls that go up" in ARCHITECTURE), this is the only global one.
//! Without a registered function, no child was started and there is nothing to watch.

use crate::sys::RaceOnce;

/// Function of the room above. It is set once.
static RECEIVER_WATCH: RaceOnce<fn()> = RaceOnce::new();

/// Registers the function. Later calls have no effect.
pub(crate) fn set_receiver_watch(watch: fn()) {
    RECEIVER_WATCH.get_or_keep(|| watch);
}

/// Calls the registered function, if there is one.
pub(crate) fn watch_receivers() {
    RECEIVER_WATCH.get().into_iter().for_each(|watch| watch());
}
