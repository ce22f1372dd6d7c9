//! Which types may live in shared memory.

use bytemuck::{CheckedBitPattern, NoUninit};

/// A type that may live in a [`Value`](crate::Value): plain data without pointers and padding.
///
/// Implemented for every type that has [`NoUninit`] and [`CheckedBitPattern`]: numbers, `bool`, `char`, arrays of
/// them, and whatever derives [`bytemuck::Pod`], or those two for field-less enums.
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
/// A `String` is a pointer into one process's memory, so it is none:
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
