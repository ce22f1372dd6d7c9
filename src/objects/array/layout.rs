//! Where the parts of an array lie in shared memory.
//!
//! # Layout
//! ```text
//! offset 0    lock              RawLock of the whole array
//!        40   part count        into how many parts the array is divided, 0 = it never was
//!        44   parts in flight   handles of parts in messages (counted by `segment`)
//!        64   part locks        a RawLock at the start of a line (64 bytes) for each part
//!        ...  items             aligned to a line, or to their own alignment if that is larger
//! ```

use crate::segment::{IN_FLIGHT_AT, LINE};
use crate::sync::RawLock;
use std::ops::Range;
use std::sync::atomic::AtomicU32;

/// The first line of the object.
#[repr(C)]
pub(super) struct ArrayHeader {
    pub(super) lock: RawLock,
    pub(super) part_count: AtomicU32,
    pub(super) parts_in_flight: AtomicU32,
}

const _: () = assert!(size_of::<ArrayHeader>() <= LINE);
const _: () = assert!(std::mem::offset_of!(ArrayHeader, parts_in_flight) == IN_FLIGHT_AT);

/// The layout of an array of some length.
pub(super) struct ArrayLayout {
    /// The number of part locks.
    pub(super) locks: usize,
    /// The offset of the first item.
    pub(super) items_at: usize,
    /// The size of the object.
    pub(super) bytes: usize,
}

impl ArrayLayout {
    /// `None` if no memory could hold the items.
    pub(super) fn of<T>(len: usize) -> Option<Self> {
        let bytes = len.checked_mul(size_of::<T>()).filter(|bytes| isize::try_from(*bytes).is_ok())?;
        let locks = lock_count(len, bytes);
        let items_at = (LINE * (1 + locks)).next_multiple_of(align_of::<T>());
        Some(ArrayLayout { locks, items_at, bytes: items_at.checked_add(bytes)? })
    }
}

/// The number of parts with items that an array can have: enough for many processes, at a small share of the memory.
fn lock_count(len: usize, bytes: usize) -> usize {
    (bytes / 1024).clamp(64, 1024).min(len)
}

/// The items of part `index` of `parts`. With more parts than items, the first `len` parts have one item each.
pub(super) fn part_range(index: usize, parts: usize, len: usize) -> Range<usize> {
    if parts > len {
        return index.min(len)..(index + 1).min(len);
    }
    let start = |index: usize| (index as u128 * len as u128 / parts.max(1) as u128) as usize;
    start(index)..start(index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_all_items_once() {
        for (parts, len) in [(1, 0), (3, 10), (10, 3), (7, 7), (1000, 1001)] {
            let ranges: Vec<_> = (0..parts).map(|index| part_range(index, parts, len)).collect();
            assert_eq!(ranges.iter().flat_map(Clone::clone).collect::<Vec<_>>(), (0..len).collect::<Vec<_>>());
            assert!(ranges.iter().skip(len).all(Range::is_empty));
        }
    }
}
