//! Handles on their way to somebody who has ended.

use crate::sys::RaceOnce;

/// What a higher layer does for who waits for handles on their way.
static LOOK_OUT: RaceOnce<fn()> = RaceOnce::new();

pub(crate) fn look_out_with(look: fn()) {
    LOOK_OUT.get_or_keep(|| look);
}

/// Handles that are on their way to somebody who has ended are given up.
pub(crate) fn look_out() {
    LOOK_OUT.get().into_iter().for_each(|look| look());
}
