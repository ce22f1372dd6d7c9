//! Handles on their way to somebody who has ended.

use crate::sys::RaceOnce;

/// What a higher layer does for who waits for handles on their way.
static RECEIVER_WATCH: RaceOnce<fn()> = RaceOnce::new();

pub(crate) fn set_receiver_watch(watch: fn()) {
    RECEIVER_WATCH.get_or_keep(|| watch);
}

/// Handles that are on their way to somebody who has ended are given up.
pub(crate) fn watch_receivers() {
    RECEIVER_WATCH.get().into_iter().for_each(|watch| watch());
}
