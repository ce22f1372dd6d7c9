//! Copies between private memory and shared memory that other processes may write at the same time.
//!
//! Shared memory is only accessed by atomics here, so a race is at worst a torn value, never undefined behavior. All
//! accesses are relaxed: their order comes from the protocol around the copy.
#![allow(unsafe_code)] // raw pointers into shared memory

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU8, AtomicU64};

const WORD: usize = size_of::<u64>();

/// Copies `length` bytes out, word by word.
///
/// # Safety
/// `from` points to `length` bytes of shared memory, rounded up to words; `to` points to `length` private bytes.
#[inline(always)]
pub(crate) unsafe fn load(from: *const AtomicU64, to: *mut u8, length: usize) {
    let (words, rest) = (length / WORD, length % WORD);
    for i in 0..words {
        // SAFETY: word `i` lies inside both ranges.
        unsafe { to.cast::<u64>().add(i).write_unaligned((*from.add(i)).load(Relaxed)) };
    }
    if rest > 0 {
        // SAFETY: shared memory is rounded up to words, so its last word is whole; `rest` bytes are left in the private
        // range.
        unsafe {
            let last = (*from.add(words)).load(Relaxed).to_ne_bytes();
            std::ptr::copy_nonoverlapping(last.as_ptr(), to.add(words * WORD), rest);
        }
    }
}

/// Copies `length` bytes in, word by word. The last word is padded with zeros.
///
/// # Safety
/// `to` points to `length` bytes of shared memory, rounded up to words; `from` points to `length` private bytes.
#[inline(always)]
pub(crate) unsafe fn store(to: *const AtomicU64, from: *const u8, length: usize) {
    let (words, rest) = (length / WORD, length % WORD);
    for i in 0..words {
        // SAFETY: word `i` lies inside both ranges.
        unsafe { (*to.add(i)).store(from.cast::<u64>().add(i).read_unaligned(), Relaxed) };
    }
    if rest > 0 {
        let mut last = [0; WORD];
        // SAFETY: `rest` bytes are left in the private range, and the last word is whole in shared memory.
        unsafe {
            std::ptr::copy_nonoverlapping(from.add(words * WORD), last.as_mut_ptr(), rest);
            (*to.add(words)).store(u64::from_ne_bytes(last), Relaxed);
        }
    }
}

/// Copies one item of a packed array out: by one access of its own width if there is one, otherwise by words or bytes.
///
/// # Safety
/// `from` points to `length` bytes of shared memory, aligned like the item; `to` points to `length` private bytes.
#[inline]
pub(crate) unsafe fn load_item(from: *const u8, to: *mut u8, length: usize) {
    if (from as usize).is_multiple_of(WORD) && length.is_multiple_of(WORD) {
        // SAFETY: whole aligned words, by the condition; both ranges have `length` bytes.
        return unsafe { load(from.cast(), to, length) };
    }
    macro_rules! one {
        ($($int:ident $atomic:ident),*) => { $(
            if length == size_of::<$int>() && (from as usize).is_multiple_of(size_of::<$int>()) {
                // SAFETY: one aligned access, by the condition; both ranges have `length` bytes.
                return unsafe { to.cast::<$int>().write_unaligned((*from.cast::<std::sync::atomic::$atomic>()).load(Relaxed)) };
            }
        )* };
    }
    one!(u32 AtomicU32, u16 AtomicU16);
    for i in 0..length {
        // SAFETY: byte `i` lies inside both ranges.
        unsafe { *to.add(i) = (*from.cast::<AtomicU8>().add(i)).load(Relaxed) };
    }
}

/// Copies one item of a packed array in.
///
/// # Safety
/// `to` points to `length` bytes of shared memory, aligned like the item; `from` points to `length` private bytes.
#[inline]
pub(crate) unsafe fn store_item(to: *const u8, from: *const u8, length: usize) {
    if (to as usize).is_multiple_of(WORD) && length.is_multiple_of(WORD) {
        // SAFETY: whole aligned words, by the condition; both ranges have `length` bytes.
        return unsafe { store(to.cast(), from, length) };
    }
    macro_rules! one {
        ($($int:ident $atomic:ident),*) => { $(
            if length == size_of::<$int>() && (to as usize).is_multiple_of(size_of::<$int>()) {
                // SAFETY: one aligned access, by the condition; both ranges have `length` bytes.
                return unsafe { (*to.cast::<std::sync::atomic::$atomic>()).store(from.cast::<$int>().read_unaligned(), Relaxed) };
            }
        )* };
    }
    one!(u32 AtomicU32, u16 AtomicU16);
    for i in 0..length {
        // SAFETY: byte `i` lies inside both ranges.
        unsafe { (*to.cast::<AtomicU8>().add(i)).store(*from.add(i), Relaxed) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_comes_through_and_nothing_beside_it() {
        for length in 0..40 {
            let shared: Vec<AtomicU64> = (0..6).map(|_| AtomicU64::new(u64::MAX)).collect();
            let bytes: Vec<u8> = (0..length as u8).collect();
            let mut back = vec![0xee; length + 1];
            // SAFETY: 48 shared bytes, `length` private ones.
            unsafe {
                store(shared.as_ptr(), bytes.as_ptr(), length);
                load(shared.as_ptr(), back.as_mut_ptr(), length);
            }
            assert_eq!((&back[..length], back[length]), (&bytes[..], 0xee));
        }
    }

    #[test]
    fn items_of_every_size_leave_their_neighbours_alone() {
        for size in 1..24_usize {
            let shared: Vec<AtomicU64> = (0..16).map(|_| AtomicU64::new(u64::MAX)).collect();
            let at = shared.as_ptr().cast::<u8>();
            let item = vec![7_u8; size];
            let mut back = vec![0; size];
            // SAFETY: item 1 of items of `size` bytes ends before 48.
            unsafe {
                store_item(at.add(size), item.as_ptr(), size);
                load_item(at.add(size), back.as_mut_ptr(), size);
                assert_eq!((*at, *at.add(size - 1), *at.add(2 * size)), (255, 255, 255));
            }
            assert_eq!(back, item);
        }
    }
}
