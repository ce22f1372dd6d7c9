//! Which types may travel to another process.

use serde::{Serialize, de::DeserializeOwned};

/// A type that may be an argument or a result of a function in another process.
///
/// Implemented for every type that has [`Serialize`] and `Deserialize`, owns what it holds, and is `Send`. All handles of
/// this crate are: they travel as what they are, and the memory stays where it is.
///
/// ```
/// fn through<T: crossproc::Message>(x: T) -> crossproc::Result<T> {
///     fn echo<T: crossproc::Message>(x: T) -> T { x }
///     Ok(crossproc::Process::spawn(echo::<T>, (x,))?.join()?)
/// }
/// assert_eq!(through(vec![Some("text".to_string())])?, [Some("text".to_string())]);
/// # Ok::<(), crossproc::Error>(())
/// ```
///
/// The bytes in between do not describe themselves ([postcard](https://docs.rs/postcard)): what `Serialize` writes,
/// `Deserialize` must read, field by field. So `skip_serializing_if` gives other values, or an error, at the other side, and
/// `untagged`, `tag`, `flatten` and `deserialize_any` are errors.
///
/// A `&str` points into one process's memory, so it is none:
///
/// ```compile_fail,E0277
/// fn hello(name: &'static str) {}
/// let child = crossproc::Process::spawn(hello, ("bob",));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot travel to another process",
    label = "not a `Message`",
    note = "a `Message` implements `serde::Serialize` and `serde::de::DeserializeOwned`: a `&str` travels as a `String`, a slice as a `Vec`, an error as `crossproc::Error` or as its text"
)]
pub trait Message: Serialize + DeserializeOwned + Send + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + Send + 'static> Message for T {}
