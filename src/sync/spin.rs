//! How often to look before going to sleep: a wake from another core costs a thousand looks. More where they have paid
//! lately, fewer where not.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

/// Two dozen nanoseconds each: together as long as a wake on another core takes.
pub(crate) const MOST: u32 = 2000;
const FEWEST: u32 = 20;
/// Each so manyth turn that it would be the fewest, it is the most: few may never be enough where many would. Each time that this
/// does not pay, it is half as often, down to a limit: on a single core it never does.
const PROBE: u32 = 64;
const RAREST: u32 = 4;

/// Looks until it is so, and gives the number of the look; none: it is time to sleep. `usual` is a guess, 0 where there is none
/// yet (and, in its upper half, how many probes in a row did not pay); whatever it says does no harm.
#[inline(always)]
pub(crate) fn until(usual: &AtomicU32, turn: u32, is_so: impl Fn() -> bool) -> Option<u32> {
    let guess = usual.load(Relaxed);
    let in_vain = (guess >> 16).min(RAREST);
    let before = match guess & 0xffff {
        0 => MOST / 4,
        looks => looks.clamp(FEWEST, MOST),
    };
    let probes = before == FEWEST && turn.is_multiple_of(PROBE << in_vain);
    let most = if probes { MOST } else { before };
    for look in 0..most {
        if is_so() {
            usual.store((most + most / 8 + 1).min(MOST), Relaxed);
            return Some(look);
        }
        std::hint::spin_loop();
    }
    let in_vain = (in_vain + u32::from(probes)).min(RAREST);
    usual.store(in_vain << 16 | (before / 2).max(FEWEST), Relaxed);
    is_so().then_some(most)
}
