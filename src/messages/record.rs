//! A note: what stands in a slot of a ring of messages.
//!
//! # Layout
//! Kind and flags (1 byte); of a short message, its length (1), and up to 22 bytes; of another the area's level (1), and at 8 its
//! length and its place (8 each).

use super::payload::Allocation;
use bytemuck::{Pod, Zeroable};

/// How many bytes a slot has behind its stamp: two slots fill a line of the cache.
pub(crate) const SLOT: usize = 24;
/// So many bytes are in the note itself, and from where on.
pub(crate) const SHORT: usize = 22;
const BYTES_AT: usize = 2;
/// In the first byte of a note: the kind, and from this bit on the flags.
const FLAGS_FROM: u8 = 4;

/// What stands in a slot behind its stamp.
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Record([u64; SLOT / 8]);

const _: () = assert!(size_of::<Record>() == SLOT && SHORT + BYTES_AT == SLOT);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Inline = 1,
    Buffered = 2,
    Spilled = 3,
}

/// What a message is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags(pub(crate) u8);

impl Flags {
    pub(crate) const HANDLES: Flags = Flags(1);

    pub(crate) fn has_handles(self) -> bool {
        self.0 & 1 != 0
    }
}

impl Record {
    /// A message that is short enough.
    #[inline(always)]
    pub(crate) fn here(bytes: &[u8], flags: Flags) -> Self {
        let mut note = Record::default();
        note.room()[..bytes.len()].copy_from_slice(bytes);
        note.set_here(bytes.len(), flags);
        note
    }

    /// Where a short message is written.
    #[inline(always)]
    pub(crate) fn room(&mut self) -> &mut [u8] {
        &mut bytemuck::bytes_of_mut(self)[BYTES_AT..]
    }

    /// So many bytes were written there.
    #[inline(always)]
    pub(crate) fn set_here(&mut self, length: usize, flags: Flags) {
        let bytes = bytemuck::bytes_of_mut(self);
        (bytes[0], bytes[1]) = (Kind::Inline as u8 | flags.0 << FLAGS_FROM, length as u8);
    }

    pub(super) fn elsewhere(spot: Allocation, length: usize, flags: Flags) -> Self {
        let (kind, level, place) = match spot {
            Allocation::Buffered { level, place, .. } => (Kind::Buffered, level, place),
            Allocation::Spilled { place } => (Kind::Spilled, 0, place),
        };
        let what = [kind as u8 | flags.0 << FLAGS_FROM, level as u8, 0, 0, 0, 0, 0, 0];
        Record([u64::from_ne_bytes(what), length as u64, place])
    }

    #[inline(always)]
    fn byte(&self, at: usize) -> u8 {
        bytemuck::bytes_of(self)[at]
    }

    #[inline(always)]
    pub(crate) fn kind(&self) -> Option<Kind> {
        match self.byte(0) & ((1 << FLAGS_FROM) - 1) {
            1 => Some(Kind::Inline),
            2 => Some(Kind::Buffered),
            3 => Some(Kind::Spilled),
            _ => None,
        }
    }

    #[inline(always)]
    pub(crate) fn is_here(&self) -> bool {
        self.kind() == Some(Kind::Inline)
    }

    /// A short message without handles.
    #[inline(always)]
    pub(crate) fn is_plain(&self) -> bool {
        self.byte(0) == Kind::Inline as u8
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
        if self.is_here() { self.byte(1).into() } else { self.0[1] }
    }

    pub(super) fn place(&self) -> u64 {
        self.0[2]
    }

    /// The bytes of a message that is short.
    #[inline(always)]
    pub(crate) fn bytes(&self) -> &[u8] {
        let length = usize::from(self.byte(1)).min(SHORT);
        &bytemuck::bytes_of(self)[BYTES_AT..BYTES_AT + length]
    }
}
