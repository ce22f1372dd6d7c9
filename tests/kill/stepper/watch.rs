//! A cheap fingerprint of what a killed process leaves behind.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::tracer::peek;

/// Nodes of a robust list that are looked at: more than any operation links at once.
const NODES: usize = 64;

/// Shared memory whose changes make kill points.
#[derive(Clone, Copy, Debug)]
pub struct Watched {
    start: *const AtomicU64,
    words: usize,
}

impl Watched {
    /// Watches `len` bytes from `start`, rounded inwards to whole words of 8 bytes.
    ///
    /// # Safety
    ///
    /// The bytes stay mapped and readable as long as the world that hands them out.
    pub unsafe fn new(start: *const u8, len: usize) -> Self {
        let skip = start.align_offset(size_of::<u64>());
        Self { start: start.wrapping_add(skip).cast(), words: len.saturating_sub(skip) / size_of::<u64>() }
    }

    fn hash(&self, seed: u64) -> u64 {
        (0..self.words).fold(seed, |hash, i| {
            // SAFETY: in range and aligned by construction, mapped by the contract of `new`; an
            // atomic load, since other processes may be writing.
            mix(hash, unsafe { &*self.start.add(i) }.load(Relaxed))
        })
    }
}

/// Everything this process has mapped shared under a name that contains `name`.
///
/// # Safety
///
/// The mappings stay as long as the world that hands them out.
pub unsafe fn shared_mappings(name: &str) -> Vec<Watched> {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("procfs is mounted");
    maps.lines()
        .filter_map(|line| mapping(line, name))
        // SAFETY: they are mapped now, and they stay by the contract of this function.
        .map(|(start, len)| unsafe { Watched::new(start, len) })
        .collect()
}

/// Start and length of a readable shared mapping whose line mentions `name`.
fn mapping(line: &str, name: &str) -> Option<(*const u8, usize)> {
    let mut fields = line.split_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let rights = fields.next()?;
    let path: Vec<&str> = fields.skip(3).collect();
    if !rights.starts_with('r') || !rights.ends_with('s') || !path.join(" ").contains(name) {
        return None;
    }
    let start = usize::from_str_radix(start, 16).ok()?;
    let end = usize::from_str_radix(end, 16).ok()?;
    Some((start as *const u8, end - start))
}

/// A hash over all ranges.
pub(super) fn memory_state(ranges: &[Watched]) -> u64 {
    ranges.iter().fold(0, |hash, range| range.hash(hash))
}

/// A hash over a stopped tracee's robust list head, its nodes and the pending slot.
pub(super) fn robust_state(pid: i32, head: u64) -> u64 {
    const PENDING: u64 = 16; // struct robust_list_head { next, futex_offset, list_op_pending }
    if head == 0 {
        return 0;
    }
    let mut hash = mix(0, peek(pid, head + PENDING).unwrap_or(0));
    let mut node = head;
    for _ in 0..NODES {
        node = peek(pid, node).unwrap_or(0) & !1; // bit 0 marks a priority-inheritance futex
        hash = mix(hash, node);
        if node == head || node == 0 {
            break;
        }
    }
    hash
}

fn mix(hash: u64, word: u64) -> u64 {
    (hash ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29).wrapping_add(1)
}
