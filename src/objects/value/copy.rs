//! The private copy of a value that a guard works on.

use crate::Element;
use std::mem::MaybeUninit;

/// Room for a T: up to 256 bytes inline, and boxed above, so that moving a guard stays cheap.
pub(super) struct PrivateCopy<T> {
    inline: [MaybeUninit<u64>; 32],
    boxed: Option<Box<MaybeUninit<T>>>,
}

impl<T> PrivateCopy<T> {
    const INLINE: bool = size_of::<T>() <= 256 && align_of::<T>() <= 8;

    #[inline(always)]
    pub(super) fn new() -> Self {
        let boxed = if Self::INLINE { None } else { Some(Box::new_uninit()) };
        PrivateCopy { inline: [const { MaybeUninit::uninit() }; 32], boxed }
    }

    #[inline(always)]
    pub(super) fn get(&self) -> &MaybeUninit<T> {
        match &self.boxed {
            Some(boxed) if !Self::INLINE => boxed,
            // SAFETY: `inline` has the size and alignment of a T (`INLINE`), and any bytes are a `MaybeUninit`.
            _ => unsafe { &*self.inline.as_ptr().cast() },
        }
    }

    #[inline(always)]
    pub(super) fn get_mut(&mut self) -> &mut MaybeUninit<T> {
        match &mut self.boxed {
            Some(boxed) if !Self::INLINE => boxed,
            // SAFETY: `inline` has the size and alignment of a T (`INLINE`), and any bytes are a `MaybeUninit`.
            _ => unsafe { &mut *self.inline.as_mut_ptr().cast() },
        }
    }
}

/// Whether bytes that were filled in are a valid T.
#[inline(always)]
pub(super) fn is_valid<T: Element>(bytes: &MaybeUninit<T>) -> bool {
    // SAFETY: `T::Bits` has the layout of T, and any bytes are valid for it (`CheckedBitPattern`).
    T::is_valid_bit_pattern(unsafe { &*bytes.as_ptr().cast::<T::Bits>() })
}
