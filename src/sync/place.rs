//! Where the parts of a monitor lie in an object.
#![allow(unsafe_code)] // references into shared memory

use super::monitor::{Desk, Monitor};
use super::raw_lock::RawLock;
use super::seat::Seat;
use std::ptr::NonNull;

/// The lock has a line of its own, and the seats have one each.
const LINE: usize = 64;

/// Desk and state, together in a line or a few.
#[repr(C, align(64))]
struct Front<S> {
    desk: Desk,
    state: S,
}

/// How many bytes an object takes, with so many more locks behind its own.
pub(crate) const fn bytes<S>(locks: usize, seats: usize) -> usize {
    (1 + locks) * LINE + size_of::<Front<S>>() + seats * size_of::<Seat>()
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
        let first = front.add(1).cast::<Seat>();
        let front = front.as_ref();
        let seats = std::slice::from_raw_parts(first.as_ptr(), seats);
        Monitor { lock: object.cast::<RawLock>().as_ref(), desk: &front.desk, state: &front.state, seats }
    }
}
