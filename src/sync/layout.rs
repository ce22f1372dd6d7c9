//! Where the parts of a primitive lie in an object: its locks, what all share, and a record for each participant.
#![allow(unsafe_code)] // references into shared memory

use super::monitor::participant::Participant;
use super::monitor::{Monitor, MonitorHeader};
use super::raw_lock::RawLock;
use super::semaphore::{PermitSlot, Permits};
use std::ptr::NonNull;

/// Each lock has a cache line of its own, and so has each participant and each permit.
const LINE: usize = 64;

/// Header and state, together in one line or a few.
#[repr(C, align(64))]
struct Front<S> {
    header: MonitorHeader,
    state: S,
}

/// The size of an object with a monitor, and with `locks` more locks after its own.
pub(crate) const fn bytes<S>(locks: usize, participants: usize) -> usize {
    (1 + locks) * LINE + size_of::<Front<S>>() + participants * size_of::<Participant>()
}

/// The size of an object with permits. Its permit slots lie where other objects have locks.
pub(crate) const fn bytes_with_permits(slots: usize) -> usize {
    (1 + slots) * LINE + size_of::<Permits>()
}

/// The monitor in an object.
///
/// # Safety
/// The object has [`bytes`] bytes, aligned to a line, and lives as long as `'a`. Any bytes are a valid state: it is
/// atomics.
#[inline(always)]
pub(crate) unsafe fn monitor<'a, S>(object: NonNull<u8>, locks: usize, participants: usize) -> Monitor<'a, S> {
    // SAFETY: all parts lie inside the `bytes` that the caller guarantees; each is aligned to a line and made of
    // atomics, so it may be shared with writers.
    unsafe {
        let front = object.add((1 + locks) * LINE).cast::<Front<S>>();
        let first = front.add(1).cast::<Participant>();
        let front = front.as_ref();
        let participants = std::slice::from_raw_parts(first.as_ptr(), participants);
        Monitor { lock: object.cast::<RawLock>().as_ref(), header: &front.header, state: &front.state, participants }
    }
}

/// The permits in an object. Their slots lie where other objects have locks, so one that is leaked keeps the object
/// mapped.
///
/// # Safety
/// The object has [`bytes_with_permits`] bytes, aligned to a line, and lives as long as `'a`. Any bytes are a valid
/// state: it is atomics.
#[inline(always)]
pub(crate) unsafe fn permits<'a>(object: NonNull<u8>, slots: usize) -> (&'a Permits, &'a [PermitSlot]) {
    // SAFETY: both parts lie inside the `bytes_with_permits` that the caller guarantees; each is aligned to a line and
    // made of atomics, so it may be shared with writers.
    unsafe {
        let first = object.add(LINE).cast::<PermitSlot>();
        (first.add(slots).cast().as_ref(), std::slice::from_raw_parts(first.as_ptr(), slots))
    }
}
