//! Spinning: how long a thread looks at a word before it goes to sleep. A wake from another core costs as much as a
//! thousand looks.
//!
//! Two policies, for two kinds of words. A *lock* is held for a short time by a thread that needs its cache line:
//! [`Backoff`] pauses between few looks. *Data* comes or does not: [`spin_until`] looks often, and learns how often it
//! pays.

use crate::sys::process_id;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

/// Spins in front of a lock.
///
/// Each look takes the cache line from the holder. So there is a pause before the first look and a longer one before
/// each of the next: meanwhile the holder can lock many times at the price of one transfer.
pub(crate) struct Backoff {
    looks: u32,
}

impl Backoff {
    const LOOKS: u32 = 16;
    const FIRST_PAUSE: u32 = 16;
    const LONGEST_PAUSE: u32 = 64;

    pub(crate) fn new() -> Self {
        Backoff { looks: if process_id::cores() > 1 { 0 } else { Self::LOOKS } }
    }

    /// Pauses; false when it is time to sleep.
    pub(crate) fn spin(&mut self) -> bool {
        if self.looks == Self::LOOKS {
            return false;
        }
        for _ in 0..Self::LONGEST_PAUSE.min(Self::FIRST_PAUSE << self.looks) {
            std::hint::spin_loop();
        }
        self.looks += 1;
        true
    }
}

/// The largest number of looks. Each takes some 25 ns, so together they take as long as a wake on another core.
pub(crate) const MOST: u32 = 2000;
const FEWEST: u32 = 20;
/// Of the waits at the fewest looks, every `PROBE`th has the most: the fewest may always be just too few. Each probe in
/// a row that finds nothing makes probes half as frequent, up to `RAREST` times: on a single core they never find
/// anything.
const PROBE: u32 = 64;
const RAREST: u32 = 4;

/// Spins until `is_ready`, and returns the number of looks that it took; `None` when it is time to sleep.
///
/// `budget` remembers how many looks paid lately (0: unknown), and in its upper half the number of probes in a row that
/// found nothing. Any value is allowed: it is a guess. `turn` counts the waits.
#[inline(always)]
pub(crate) fn spin_until(budget: &AtomicU32, turn: u32, is_ready: impl Fn() -> bool) -> Option<u32> {
    let guess = budget.load(Relaxed);
    let failed_probes = (guess >> 16).min(RAREST);
    let before = match guess & 0xffff {
        0 => MOST / 4,
        looks => looks.clamp(FEWEST, MOST),
    };
    let probes = before == FEWEST && turn.is_multiple_of(PROBE << failed_probes);
    let most = if probes { MOST } else { before };
    for look in 0..most {
        if is_ready() {
            budget.store((most + most / 8 + 1).min(MOST), Relaxed);
            return Some(look);
        }
        std::hint::spin_loop();
    }
    let failed_probes = (failed_probes + u32::from(probes)).min(RAREST);
    budget.store(failed_probes << 16 | (before / 2).max(FEWEST), Relaxed);
    is_ready().then_some(most)
}
