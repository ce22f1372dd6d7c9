//! Functions that run in another process.
//!
//! A function travels as the offset, in the program's image, of a *trampoline*: a monomorphic function that decodes the
//! arguments, calls the entry and encodes what it returns. An `fn` item and a closure without captures are identified
//! by their type, so the trampoline is enough; an `fn` pointer travels as an offset too.
//!
//! # Invariants
//! * entry-E1: a trampoline runs only in the image that its offset came from: the greeting of a server or child
//!   compares the builds.
#![allow(unsafe_code)] // a function from its address, an entry from nothing

use crate::segment::transfer::{self, EncodedMessage, ReceivedMessage};
use crate::sys::image;
use crate::{CodecError, Message, SpawnError};
use serde::{Deserialize, Serialize};
use std::any::TypeId;

/// A function that can run in another process: an `fn` item, an `fn` pointer, or a closure without captures, with 0 to
/// 8 parameters and a [`Message`] as its result, or none.
///
/// `A` is the tuple of the arguments; `M` is a marker that the compiler infers. A closure names the types of its
/// parameters, unless it only passes them on. One that never returns has the output `()`. Numbers, and handles on them,
/// must have exactly that type: `Value::new(0)?` alone is a `Value<i32>`, so write `Value::new(0_u64)?` for a closure
/// that takes a `Value<u64>`.
///
/// ```
/// use crossproc::{Entry, Message, Process, Result};
/// /// A helper that takes any entry.
/// fn twice<F: Entry<A, M>, A: Message + Clone, M>(f: F, args: A) -> Result<(F::Output, F::Output)> {
///     let (one, two) = (Process::spawn(f, args.clone())?, Process::spawn(f, args)?);
///     Ok((one.join()?, two.join()?))
/// }
/// assert_eq!(twice(u64::pow, (2, 10))?, (1024, 1024));
/// assert_eq!(twice(|word: String| word.len(), ("four".to_string(),))?, (4, 4));
/// # Ok::<(), crossproc::Error>(())
/// ```
///
/// Captures would stay behind, so a capture does not compile:
///
/// ```compile_fail
/// let n = 3;
/// let child = crossproc::Process::spawn(move || n + 1, ());
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot run in another process with the arguments `{A}`",
    label = "not an entry",
    note = "an entry is an `fn`, or a closure that captures nothing, with one parameter for each member of the tuple `{A}` (`(x,)` for one, `()` for none), that returns a `Message`; numbers in `{A}` without a suffix are `i32` and `f64`"
)]
pub trait Entry<A, M>: Copy + Send + 'static {
    /// What the function returns.
    type Output: Message;
    #[doc(hidden)]
    fn call(self, args: A) -> Self::Output;
    #[doc(hidden)]
    fn is_fn() -> bool;
}

/// The type `!`, which has no name of its own in stable Rust.
mod never {
    pub trait Out {
        type T;
    }
    impl<T> Out for fn() -> T {
        type T = T;
    }
    pub type Never = <fn() -> ! as Out>::T;
}

/// Marks an entry that returns something.
#[doc(hidden)]
#[derive(Debug)]
pub struct Returns<R>(R);
/// Marks an entry that never returns.
#[doc(hidden)]
#[derive(Debug)]
pub struct Diverges;

macro_rules! entry {
    ($($type:ident $value:ident)*) => {
        #[diagnostic::do_not_recommend]
        impl<F, R: Message, $($type: 'static),*> Entry<($($type,)*), Returns<R>> for F
        where
            F: Fn($($type),*) -> R + Copy + Send + 'static,
        {
            type Output = R;
            fn call(self, ($($value,)*): ($($type,)*)) -> R {
                self($($value),*)
            }
            fn is_fn() -> bool {
                size_of::<F>() == 0 || TypeId::of::<F>() == TypeId::of::<fn($($type),*) -> R>()
            }
        }
        #[diagnostic::do_not_recommend]
        impl<F, $($type: 'static),*> Entry<($($type,)*), Diverges> for F
        where
            F: Fn($($type),*) -> never::Never + Copy + Send + 'static,
        {
            type Output = ();
            fn call(self, ($($value,)*): ($($type,)*)) {
                self($($value),*)
            }
            fn is_fn() -> bool {
                size_of::<F>() == 0 || TypeId::of::<F>() == TypeId::of::<fn($($type),*) -> !>()
            }
        }
    };
}
entry!();
entry!(A1 a1);
entry!(A1 a1 A2 a2);
entry!(A1 a1 A2 a2 A3 a3);
entry!(A1 a1 A2 a2 A3 a3 A4 a4);
entry!(A1 a1 A2 a2 A3 a3 A4 a4 A5 a5);
entry!(A1 a1 A2 a2 A3 a3 A4 a4 A5 a5 A6 a6);
entry!(A1 a1 A2 a2 A3 a3 A4 a4 A5 a5 A6 a6 A7 a7);
entry!(A1 a1 A2 a2 A3 a3 A4 a4 A5 a5 A6 a6 A7 a7 A8 a8);

/// Refuses captures at compile time. An `fn` pointer is the one thing with a size that passes; other types of that size
/// are detected by [`Code::of`].
pub(crate) const fn captures_nothing<F>() {
    let (entry, pointer) = (size_of::<F>(), size_of::<fn()>());
    assert!(
        entry == 0 || (entry == pointer && size_of::<Option<F>>() == pointer),
        "an entry must not capture: pass the values in `args`"
    );
}

/// Why a call had no result, other than a panic.
pub(crate) enum CallError {
    Decode(CodecError),
    Encode(CodecError),
}

/// Decodes, calls, encodes. The address is that of an `fn` pointer, or 0.
type Trampoline = fn(usize, ReceivedMessage) -> Result<EncodedMessage, CallError>;

fn trampoline<A: Message, M, F: Entry<A, M>>(
    pointer: usize,
    args: ReceivedMessage,
) -> Result<EncodedMessage, CallError> {
    let args: A = args.decode().map_err(CallError::Decode)?;
    transfer::encode(&Code::entry::<A, M, F>(pointer).call(args)).map_err(CallError::Encode)
}

/// A function as it travels: offsets in the image.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Code {
    trampoline: u64,
    pointer: Option<u64>,
}

impl Code {
    pub(crate) fn of<A: Message, M, F: Entry<A, M>>(entry: F) -> Result<Self, SpawnError> {
        let trampoline: Trampoline = trampoline::<A, M, F>;
        Code::with::<A, M, F>(entry, trampoline as *const () as usize)
    }

    /// With the address of a function that can call the entry.
    pub(crate) fn with<A, M, F: Entry<A, M>>(entry: F, trampoline: usize) -> Result<Self, SpawnError> {
        if !F::is_fn() {
            return Err(SpawnError::NotAnEntry);
        }
        let pointer = match size_of::<F>() {
            0 => None,
            // SAFETY: an fn pointer, which is an address (`is_fn`).
            _ => Some(unsafe { std::mem::transmute_copy::<F, usize>(&entry) }),
        };
        Code::at(trampoline, pointer)
    }

    /// With the addresses of both.
    pub(crate) fn at(trampoline: usize, pointer: Option<usize>) -> Result<Self, SpawnError> {
        let offset = |address: usize| image::offset_of(address).ok_or(SpawnError::NotAnEntry);
        Ok(Code { trampoline: offset(trampoline)?, pointer: pointer.map(offset).transpose()? })
    }

    /// The entry, made from the address of an `fn` pointer, or 0; for the trampolines of a [`Code`].
    pub(crate) fn entry<A, M, F: Entry<A, M>>(pointer: usize) -> F {
        // SAFETY: by `Code::with`, F either has no size, and a value of it was given, so it can be made from nothing;
        // or it is an fn pointer, and `pointer` is the address of that function in this image (entry-E1).
        unsafe {
            match size_of::<F>() {
                0 => std::ptr::NonNull::<F>::dangling().read(),
                _ => std::mem::transmute_copy(&pointer),
            }
        }
    }

    /// The addresses of the trampoline and of the `fn` pointer, or 0, if they are in this image.
    pub(crate) fn place(&self) -> Option<(usize, usize)> {
        let address = |offset| image::address_of(offset);
        address(self.trampoline).zip(self.pointer.map_or(Some(0), address))
    }

    /// Runs it in this process.
    pub(crate) fn run(&self, args: ReceivedMessage) -> Result<EncodedMessage, CallError> {
        let Some((trampoline, pointer)) = self.place() else {
            return Err(CallError::Decode(CodecError::new("the function is not in this image")));
        };
        // SAFETY: the address of a trampoline (entry-E1), inside the code of this image (`address_of`).
        let trampoline = unsafe { std::mem::transmute::<usize, Trampoline>(trampoline) };
        trampoline(pointer, args)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is<A, M, F: Entry<A, M>>(_: F) -> bool {
        F::is_fn()
    }
    fn run<A, M, F: Entry<A, M>>(entry: F, args: A) -> F::Output {
        entry.call(args)
    }
    fn two(a: u8, b: String) -> usize {
        a as usize + b.len()
    }
    fn never(_: u8) -> ! {
        panic!("never")
    }
    static NUMBER: i32 = 5;

    #[test]
    fn functions_pass_and_captures_do_not() {
        assert!(is::<(u8, String), _, _>(two));
        assert!(is::<(u8, String), _, _>(two as fn(u8, String) -> usize));
        assert!(is::<(u8,), _, _>(never) && is::<(u8,), _, _>(never as fn(u8) -> !));
        assert!(is(|| 5) && is(|| panic!()) && is(|_: u8| std::process::abort()));
        let number: &'static i32 = &NUMBER;
        assert!(!is(move || *number), "a capture of the size of a pointer");
        assert_eq!(run(two, (1, "ab".into())), 3);
        assert!(std::panic::catch_unwind(|| run(never, (1,))).is_err());
    }
}
