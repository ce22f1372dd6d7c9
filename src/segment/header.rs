//! First bytes of a segment, and the offsets of everything else in it.
//!
//! # Layout
//! ```text
//! 0      header     `Header`
//! 256    roster     lock, and the number of claims that were ever used
//! 320    claims     32 bytes each: which process holds which blocks
//!        in flight  4 bytes per block, in arenas only: number of handles in messages
//!        blocks     at a multiple of 64 bytes, or of the item's alignment if that is larger
//! ```
//!
//! # Invariants
//! * header-H1: the header does not change once another process can see it. A process copies it once and checks the
//!   copy in full. It computes all offsets from the copy, so a later write by a peer cannot move a pointer.
//! * header-H2: the number of claims, the number of blocks and the block size determine all other offsets and the exact
//!   size of the segment.
#![allow(unsafe_code)] // the header is copied in and out of shared memory

use super::kind::{Kind, LINE, ObjectLayout, Spec};
use crate::SegmentError;
use crate::sync::atomic_copy;
use crate::sys::{process_id, robust_list};
use bytemuck::{Pod, Zeroable};
use std::ptr::NonNull;

pub(crate) const HEADER_BYTES: usize = 256;
const MAGIC: [u8; 8] = *b"crosproc";
const ORDER: u32 = 0x0102_0304;
/// Version of the layout. A segment with another version is refused.
const MAJOR: u16 = 1;
const PERSIST: u32 = 1;

#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Header {
    magic: [u8; 8],
    order: u32,
    word_bits: u16,
    major: u16,
    layout: u64,
    pub(crate) size: u64,
    id: [u64; 2],
    namespace: [u64; 2],
    boot: [u64; 2],
    flags: u32,
    pub(crate) claims: u32,
    pub(crate) blocks: u32,
    pub(crate) locks: u32,
    pub(crate) block_size: u64,
    kind: u32,
    item_size: u32,
    item_align: u32,
    spare: u32,
    type_hash: u64,
    count: u64,
}

const _: () = assert!(size_of::<Header>() <= HEADER_BYTES && size_of::<Header>().is_multiple_of(8));

/// Offsets and sizes in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub(crate) claims: usize,
    pub(crate) blocks: usize,
    pub(crate) block_size: usize,
    pub(crate) in_flight_at: usize,
    pub(crate) blocks_at: usize,
    pub(crate) size: usize,
}

pub(crate) const ROSTER_AT: usize = HEADER_BYTES;
pub(crate) const CLAIMS_AT: usize = ROSTER_AT + LINE;
pub(crate) const CLAIM_BYTES: usize = 32;
const PAGE: usize = 4096;

impl Geometry {
    /// Computes all offsets. Returns `None` if one overflows.
    pub(crate) fn new(claims: usize, blocks: usize, block_size: usize, align: usize) -> Option<Self> {
        let in_flight_at = CLAIM_BYTES.checked_mul(claims)?.checked_add(CLAIMS_AT)?;
        let in_flight = if blocks > 1 { blocks.checked_mul(4)? } else { 0 };
        let blocks_at = in_flight_at.checked_add(in_flight)?.checked_next_multiple_of(align.max(LINE))?;
        let size = block_size.checked_mul(blocks)?.checked_add(blocks_at)?.checked_next_multiple_of(PAGE)?;
        let aligned = align <= PAGE && align.is_power_of_two() && block_size.is_multiple_of(LINE);
        let fits = isize::try_from(size).is_ok();
        (aligned && fits).then_some(Geometry { claims, blocks, block_size, in_flight_at, blocks_at, size })
    }

    /// Returns the geometry of a segment for one object.
    pub(crate) fn single(spec: &Spec, layout: &ObjectLayout) -> Result<Self, SegmentError> {
        if spec.item_align > 4096 {
            return Err(SegmentError::Invalid("the alignment of the items is larger than a page".into()));
        }
        let claims = claims_for(spec, layout);
        let block = layout.bytes.checked_next_multiple_of(LINE).ok_or(SegmentError::TooLarge)?;
        Geometry::new(claims, 1, block, spec.item_align as usize).ok_or(SegmentError::TooLarge)
    }

    /// Removes the padding at the end. In memory that the program owns, a segment ends with its last block.
    #[cfg(feature = "shared_memory")]
    pub(crate) fn unrounded(self) -> Self {
        Geometry { size: self.blocks_at + self.blocks * self.block_size, ..self }
    }

    /// Returns whether a segment with this geometry may have `size` bytes.
    fn fits(&self, size: usize) -> bool {
        size == self.size || size == self.blocks_at + self.blocks * self.block_size
    }
}

/// Returns a hash of what `MAJOR` does not cover: sizes in the layout, and where libc wants its robust list node.
fn layout_hash() -> u64 {
    super::kind::type_hash(&format!("{HEADER_BYTES} {CLAIM_BYTES} {LINE} {}", robust_list::node_offset()))
}

fn halves(wide: u128) -> [u64; 2] {
    [wide as u64, (wide >> 64) as u64]
}

impl Header {
    pub(crate) fn new(geometry: &Geometry, spec: &Spec, locks: usize, persist: bool) -> Result<Self, SegmentError> {
        let (device, inode) = process_id::pid_namespace();
        Ok(Header {
            magic: MAGIC,
            order: ORDER,
            word_bits: usize::BITS as u16,
            major: MAJOR,
            layout: layout_hash(),
            size: geometry.size as u64,
            id: halves(process_id::random_id()),
            namespace: [device, inode],
            boot: halves(process_id::boot_id()?),
            flags: if persist { PERSIST } else { 0 },
            claims: geometry.claims as u32,
            blocks: geometry.blocks as u32,
            locks: locks as u32,
            block_size: geometry.block_size as u64,
            kind: spec.kind,
            item_size: spec.item_size,
            item_align: spec.item_align,
            spare: 0,
            type_hash: spec.type_hash,
            count: spec.count,
        })
    }

    /// Checks a private copy of a header against the size of the segment's memory and against this process: version,
    /// boot and process id namespace.
    pub(crate) fn check(&self, size: usize) -> Result<Geometry, SegmentError> {
        if self.magic != MAGIC {
            return Err(SegmentError::NotASegment);
        }
        if (self.order, self.word_bits, self.major) != (ORDER, usize::BITS as u16, MAJOR)
            || self.layout != layout_hash()
        {
            return Err(SegmentError::WrongVersion);
        }
        if self.boot != halves(process_id::boot_id()?) {
            return Err(SegmentError::NotASegment);
        }
        let (device, inode) = process_id::pid_namespace();
        if self.namespace != [device, inode] {
            return Err(SegmentError::WrongNamespace);
        }
        let geometry = usize::try_from(self.block_size).ok().and_then(|block_size| {
            let align = self.item_align.max(1) as usize;
            Geometry::new(self.claims as usize, self.blocks as usize, block_size, align)
        });
        match geometry {
            Some(geometry) if geometry.fits(size) && self.size == size as u64 && self.blocks > 0 => {
                Ok(Geometry { size, ..geometry })
            }
            _ => Err(SegmentError::NotASegment),
        }
    }

    /// Returns whether these bytes begin a segment that persists without holders. Also true for bytes that are no
    /// segment.
    pub(crate) fn stays(bytes: &[u8]) -> bool {
        let Some(bytes) = bytes.get(..size_of::<Header>()) else { return true };
        let header: Header = bytemuck::pod_read_unaligned(bytes);
        header.magic != MAGIC || header.flags & PERSIST != 0
    }

    #[cfg(feature = "shared_memory")]
    pub(crate) fn magic_word(&self) -> u64 {
        u64::from_ne_bytes(self.magic)
    }

    pub(crate) fn persists(&self) -> bool {
        self.flags & PERSIST != 0
    }

    pub(crate) fn id(&self) -> u128 {
        u128::from(self.id[0]) | u128::from(self.id[1]) << 64
    }

    pub(crate) fn spec(&self) -> Spec {
        Spec {
            kind: self.kind,
            item_size: self.item_size,
            item_align: self.item_align,
            type_hash: self.type_hash,
            count: self.count,
        }
    }
}

/// Returns the number of claims in a segment for one object. Only objects that count parts or holders need any.
fn claims_for(spec: &Spec, layout: &ObjectLayout) -> usize {
    match spec.kind {
        kind if kind == Kind::Array as u32 => 64 + 2 * layout.locks,
        _ if spec.has_holders() => 1024,
        _ => 0,
    }
}

/// Writes a header into fresh memory of at least `HEADER_BYTES` bytes.
pub(crate) fn write_header(base: NonNull<u8>, header: &Header) {
    let bytes = bytemuck::bytes_of(header);
    // SAFETY: a segment is larger than its header (header-H2), the header is whole words, and `base` is aligned to a
    // line.
    unsafe { atomic_copy::store(base.as_ptr().cast(), bytes.as_ptr(), bytes.len()) };
}

/// Writes all of the header but its first word. The caller stores that word last, as other processes may look at it.
#[cfg(feature = "shared_memory")]
pub(crate) fn write_header_after_magic(base: NonNull<u8>, header: &Header) {
    let bytes = &bytemuck::bytes_of(header)[8..];
    // SAFETY: a segment is larger than its header (header-H2), the rest is whole words, and `base` is aligned to a
    // line.
    unsafe { atomic_copy::store(base.as_ptr().add(8).cast(), bytes.as_ptr(), bytes.len()) };
}

/// Copies a header out of shared memory (header-H1).
///
/// # Safety
/// `base` points to at least `HEADER_BYTES` readable bytes and is aligned to 8.
pub(crate) unsafe fn copy_header(base: *const u8) -> Header {
    let mut bytes = [0_u8; HEADER_BYTES];
    // SAFETY: the contract of this function gives `HEADER_BYTES` readable, aligned bytes; `bytes` has the same length.
    unsafe { atomic_copy::load(base.cast(), bytes.as_mut_ptr(), HEADER_BYTES) };
    bytemuck::pod_read_unaligned(&bytes[..size_of::<Header>()])
}
