//! Where the parts of a primitive lie in an object: locks, what all share, and a place for each that takes part.
#![allow(unsafe_code)] // references into shared memory

use super::monitor::{Desk, Monitor};
use super::permits::{Permits, Token};
use super::raw_lock::RawLock;
use super::seat::Seat;
use std::ptr::NonNull;

/// Each lock has a line of its own, and so has each place.
const LINE: usize = 64;

/// Desk and state, together in a line or a few.
#[repr(C, align(64))]
struct Front<S> {
    desk: Desk,
    state: S,
}

/// How many bytes an object takes that has a monitor, with so many more locks behind its own.
pub(crate) const fn bytes<S>(locks: usize, seats: usize) -> usize {
    bytes_of::<Front<S>, Seat>(locks, seats)
}

/// How many bytes an object with permits takes.
pub(crate) const fn bytes_with_tokens(tokens: usize) -> usize {
    bytes_of::<Permits, Token>(0, tokens)
}

const fn bytes_of<F, P>(locks: usize, places: usize) -> usize {
    (1 + locks) * LINE + size_of::<F>() + places * size_of::<P>()
}

/// The monitor in an object.
///
/// # Safety
/// The object has [`bytes`], aligned to a line, and lives as long as `'a`. Any bytes are a state: it is atomics.
#[inline(always)]
pub(crate) unsafe fn monitor<'a, S>(object: NonNull<u8>, locks: usize, seats: usize) -> Monitor<'a, S> {
    // SAFETY: both lie inside, by the caller's promise; a lock is made of atomics.
    unsafe {
        let (front, seats) = parts::<Front<S>, Seat>(object, locks, seats);
        Monitor { lock: object.cast::<RawLock>().as_ref(), desk: &front.desk, state: &front.state, seats }
    }
}

/// The permits in an object.
///
/// # Safety
/// The object has [`bytes_with_tokens`], aligned to a line, and lives as long as `'a`. Any bytes are a state: it is atomics.
#[inline(always)]
pub(crate) unsafe fn permits<'a>(object: NonNull<u8>, tokens: usize) -> (&'a Permits, &'a [Token]) {
    // SAFETY: they lie inside, by the caller's promise.
    unsafe { parts(object, 0, tokens) }
}

/// # Safety
/// The object has [`bytes_of`] those, aligned to a line, and lives as long as `'a`; both are made of atomics.
#[inline(always)]
unsafe fn parts<'a, F, P>(object: NonNull<u8>, locks: usize, places: usize) -> (&'a F, &'a [P]) {
    // SAFETY: all lie inside, by the caller's promise; each is aligned, made of atomics, and shared.
    unsafe {
        let front = object.add((1 + locks) * LINE).cast::<F>();
        let first = front.add(1).cast::<P>();
        (front.as_ref(), std::slice::from_raw_parts(first.as_ptr(), places))
    }
}
