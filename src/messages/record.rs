//! The record of a message: what is in a slot of a ring of messages.
//!
//! # Layout
//! ```text
//! offset 0   kind (low 4 bits) and flags (high 4 bits)
//!        1   inline: length; buffered: level of the buffer
//!        2   inline: up to 22 bytes
//!        8   else: length (8 bytes)
//!        16  else: position of the bytes in the buffer or in the spill (8 bytes)
//! ```

use bytemuck::{Pod, Zeroable};
use std::ptr::NonNull;

/// The number of bytes of a record. With a stamp, two of them fill a cache line.
pub(crate) const RECORD_BYTES: usize = 24;
/// The largest number of bytes of an inline message.
pub(crate) const INLINE_BYTES: usize = 22;
const INLINE_AT: usize = 2;
/// The first bit of the flags in byte 0.
const FLAGS_FROM: u8 = 4;

/// A record, as it is in a slot after the stamp. Whatever a foreign process wrote there is one.
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Record([u64; RECORD_BYTES / 8]);

const _: () = assert!(size_of::<Record>() == RECORD_BYTES && INLINE_BYTES + INLINE_AT == RECORD_BYTES);

/// Where the bytes of a message are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordKind {
    Inline = 1,
    Buffered = 2,
    Spilled = 3,
}

/// Room for the bytes of a message that is not inline.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Allocation {
    Buffered { level: u32, position: u64, at: NonNull<u8> },
    Spilled { position: u64 },
}

/// What a message contains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags(pub(crate) u8);

impl Flags {
    pub(crate) const HANDLES: Flags = Flags(1);

    pub(crate) fn has_handles(self) -> bool {
        self.0 & 1 != 0
    }
}

impl Record {
    /// The record of a message of at most [`INLINE_BYTES`] bytes.
    #[inline(always)]
    pub(crate) fn inline(bytes: &[u8], flags: Flags) -> Self {
        let mut record = Record::default();
        record.inline_buffer()[..bytes.len()].copy_from_slice(bytes);
        record.set_inline(bytes.len(), flags);
        record
    }

    /// The place for the bytes of an inline message. [`Record::set_inline`] follows.
    #[inline(always)]
    pub(crate) fn inline_buffer(&mut self) -> &mut [u8] {
        &mut bytemuck::bytes_of_mut(self)[INLINE_AT..]
    }

    /// Makes this an inline message of the first `length` bytes in [`Record::inline_buffer`].
    #[inline(always)]
    pub(crate) fn set_inline(&mut self, length: usize, flags: Flags) {
        let bytes = bytemuck::bytes_of_mut(self);
        (bytes[0], bytes[1]) = (RecordKind::Inline as u8 | flags.0 << FLAGS_FROM, length as u8);
    }

    /// The record of a message whose bytes were written into an allocation.
    pub(super) fn allocated(allocation: Allocation, length: usize, flags: Flags) -> Self {
        let (kind, level, position) = match allocation {
            Allocation::Buffered { level, position, .. } => (RecordKind::Buffered, level, position),
            Allocation::Spilled { position } => (RecordKind::Spilled, 0, position),
        };
        let first = [kind as u8 | flags.0 << FLAGS_FROM, level as u8, 0, 0, 0, 0, 0, 0];
        Record([u64::from_ne_bytes(first), length as u64, position])
    }

    #[inline(always)]
    fn byte(&self, at: usize) -> u8 {
        bytemuck::bytes_of(self)[at]
    }

    #[inline(always)]
    pub(crate) fn kind(&self) -> Option<RecordKind> {
        match self.byte(0) & ((1 << FLAGS_FROM) - 1) {
            1 => Some(RecordKind::Inline),
            2 => Some(RecordKind::Buffered),
            3 => Some(RecordKind::Spilled),
            _ => None,
        }
    }

    #[inline(always)]
    pub(crate) fn is_inline(&self) -> bool {
        self.kind() == Some(RecordKind::Inline)
    }

    /// Whether this is an inline message without handles.
    #[inline(always)]
    pub(crate) fn is_plain(&self) -> bool {
        self.byte(0) == RecordKind::Inline as u8
    }

    #[inline(always)]
    pub(crate) fn flags(&self) -> Flags {
        Flags(self.byte(0) >> FLAGS_FROM)
    }

    pub(super) fn level(&self) -> u32 {
        self.byte(1).into()
    }

    #[inline(always)]
    pub(crate) fn length(&self) -> u64 {
        if self.is_inline() { self.byte(1).into() } else { self.0[1] }
    }

    pub(super) fn position(&self) -> u64 {
        self.0[2]
    }

    /// The bytes of an inline message.
    #[inline(always)]
    pub(crate) fn bytes(&self) -> &[u8] {
        let length = usize::from(self.byte(1)).min(INLINE_BYTES);
        &bytemuck::bytes_of(self)[INLINE_AT..INLINE_AT + length]
    }

    /// The bytes of an inline message, or else `buffer`, into which the bytes were read.
    #[inline(always)]
    pub(crate) fn bytes_or<'a>(&'a self, buffer: &'a [u8]) -> &'a [u8] {
        if self.is_inline() { self.bytes() } else { buffer }
    }
}
