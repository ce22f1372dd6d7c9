//! Where the parts of a primitive lie in an object: locks, what all share, and a place for each that takes part.
#![allow(unsafe_code)] // references into shared memory

use super::monitor::participant::Participant;
use super::monitor::{Monitor, MonitorHeader};
use super::raw_lock::RawLock;
use super::semaphore::{PermitSlot, Permits};
use std::ptr::NonNull;

/// Each lock has a line of its own, and so has each place.
const LINE: usize = 64;

/// Desk and state, together in a line or a few.
#[repr(C, align(64))]
struct Front<S> {
    desk: MonitorHeader,
    state: S,
}

/// How many bytes an object takes that has a monitor, with so many more locks behind its own.
pub(crate) const fn bytes<S>(locks: usize, seats: usize) -> usize {
    (1 + locks) * LINE + size_of::<Front<S>>() + seats * size_of::<Participant>()
}

/// How many bytes an object with permits takes, with so many tokens in the places of locks.
pub(crate) const fn bytes_with_tokens(tokens: usize) -> usize {
    (1 + tokens) * LINE + size_of::<Permits>()
}

/// The monitor in an object.
///
/// # Safety
/// The object has [`bytes`], aligned to a line, and lives as long as `'a`. Any bytes are a state: it is atomics.
#[inline(always)]
pub(crate) unsafe fn monitor<'a, S>(object: NonNull<u8>, locks: usize, seats: usize) -> Monitor<'a, S> {
    // SAFETY: all lie inside, by the caller's promise; each is aligned, made of atomics, and shared.
    unsafe {
        let front = object.add((1 + locks) * LINE).cast::<Front<S>>();
        let first = front.add(1).cast::<Participant>();
        let front = front.as_ref();
        let seats = std::slice::from_raw_parts(first.as_ptr(), seats);
        Monitor { lock: object.cast::<RawLock>().as_ref(), desk: &front.desk, state: &front.state, seats }
    }
}

/// The permits in an object. Its tokens lie where other objects have locks: so one that is leaked keeps the object mapped.
///
/// # Safety
/// The object has [`bytes_with_tokens`], aligned to a line, and lives as long as `'a`. Any bytes are a state: it is atomics.
#[inline(always)]
pub(crate) unsafe fn permits<'a>(object: NonNull<u8>, tokens: usize) -> (&'a Permits, &'a [PermitSlot]) {
    // SAFETY: both lie inside, by the caller's promise; each is aligned, made of atomics, and shared.
    unsafe {
        let first = object.add(LINE).cast::<PermitSlot>();
        (first.add(tokens).cast().as_ref(), std::slice::from_raw_parts(first.as_ptr(), tokens))
    }
}
