//! Long copies between private memory and shared memory that other processes may write at the same time.
//!
//! By an instruction of the processor: the compiler sees no access that could race, and it is as fast as `memcpy`.

/// Copies `length` bytes.
///
/// # Safety
/// `from` points to `length` readable bytes, `to` to `length` writable ones; they do not overlap.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(crate) unsafe fn copy(from: *const u8, to: *mut u8, length: usize) {
    // SAFETY: the ranges that the caller guarantees; the direction flag is clear, as the calling convention has it.
    unsafe {
        std::arch::asm!("rep movsb", inout("rcx") length => _, inout("rsi") from => _, inout("rdi") to => _,
            options(nostack, preserves_flags));
    }
}

/// Copies `length` bytes.
///
/// # Safety
/// `from` points to `length` readable bytes, `to` to `length` writable ones; they do not overlap.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) unsafe fn copy(from: *const u8, to: *mut u8, length: usize) {
    const WORD: usize = size_of::<u64>();
    let aligned = (from as usize).is_multiple_of(WORD) && (to as usize).is_multiple_of(WORD);
    let words = if aligned { length / WORD } else { 0 };
    for i in 0..words {
        // SAFETY: inside both ranges, aligned; volatile, so a race is at worst a torn value.
        unsafe { to.cast::<u64>().add(i).write_volatile(from.cast::<u64>().add(i).read_volatile()) };
    }
    for i in words * WORD..length {
        // SAFETY: inside both ranges.
        unsafe { to.add(i).write_volatile(from.add(i).read_volatile()) };
    }
}
