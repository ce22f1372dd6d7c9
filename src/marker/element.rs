//! [`Element`]: types that live in shared memory, and their bytes.

use crate::CodecError;
use bytemuck::{CheckedBitPattern, NoUninit};

/// A type that can live in a [`Value`](crate::Value): plain data without pointers and padding.
///
/// It is implemented for every type with [`NoUninit`] and [`CheckedBitPattern`]: numbers, `bool`, `char`, arrays of
/// these, and any type that derives [`bytemuck::Pod`], or those two traits in the case of an enum without fields.
///
/// ```
/// use crossproc::{CheckedBitPattern, NoUninit, Value, bytemuck};
/// #[derive(Clone, Copy, Debug, PartialEq, NoUninit, CheckedBitPattern)]
/// #[bytemuck(crate = "crossproc::bytemuck")]
/// #[repr(u8)]
/// enum State { Idle, Busy }
/// let state = Value::new(State::Idle)?;
/// state.set(State::Busy)?;
/// assert_eq!(state.get(), State::Busy);
/// # Ok::<(), crossproc::Error>(())
/// ```
///
/// A `String` is a pointer into the memory of one process, so it is not an `Element`:
///
/// ```compile_fail,E0277
/// let text = crossproc::Value::new(String::new());
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot live in shared memory",
    label = "not an `Element`",
    note = "an `Element` is plain data without pointers or padding: derive `bytemuck::Pod`, or `bytemuck::NoUninit` and `bytemuck::CheckedBitPattern`"
)]
pub trait Element: NoUninit + CheckedBitPattern + Send + 'static {}

#[diagnostic::do_not_recommend]
impl<T: NoUninit + CheckedBitPattern + Send + 'static> Element for T {}

/// The bytes of items.
#[allow(unsafe_code)]
pub(crate) fn bytes_of<E: Element>(items: &[E]) -> &[u8] {
    // SAFETY: `NoUninit`: every byte of an item is initialised. The slice covers exactly these items.
    unsafe { std::slice::from_raw_parts(items.as_ptr().cast(), size_of_val(items)) }
}

/// Items from their bytes.
#[allow(unsafe_code)]
pub(crate) fn from_bytes<E: Element>(bytes: &[u8]) -> Result<Vec<E>, CodecError> {
    let size = size_of::<E>();
    if size == 0 || !bytes.len().is_multiple_of(size) {
        return match bytes {
            [] => Ok(Vec::new()),
            _ => Err(CodecError::new(format!("{} bytes are not a number of items of {size} bytes", bytes.len()))),
        };
    }
    let is_valid = |item: &[u8]| E::is_valid_bit_pattern(&bytemuck::pod_read_unaligned(item));
    if !bytes.chunks_exact(size).all(is_valid) {
        return Err(CodecError::new("the bytes are not valid items of this type"));
    }
    let count = bytes.len() / size;
    let mut items = Vec::<E>::with_capacity(count);
    // SAFETY: the vector has room for `count` items, that is for all bytes, and does not overlap with them. Each item
    // is valid (`is_valid`).
    unsafe {
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), items.as_mut_ptr().cast(), bytes.len());
        items.set_len(count);
    }
    Ok(items)
}
