//! `Value<T>`: one value in shared memory, changed as a whole. The protocol is that of `sync::double_buffer`.
//!
//! `value` is the public handle, `guard` a value under its lock, `copy` the private copy that a guard works on.
#![allow(unsafe_code)] // copies between the two slots in shared memory and private memory

mod copy;
mod guard;
#[allow(clippy::module_inception, reason = "it is what the module is named after")]
mod value;

pub(crate) use guard::SuspendedValue;
pub use guard::ValueGuard;
pub use value::Value;
