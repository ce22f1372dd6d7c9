//! [`Message`]: types that are sent to other processes.

use serde::{Serialize, de::DeserializeOwned};

/// A type that can be sent to another process, as an argument or result of a function or as an item of a queue or pipe.
///
/// It is implemented for every type that has [`Serialize`] and `Deserialize`, owns its data, and is `Send`. Every
/// handle of this crate is a `Message`: the other process gets a handle of the same object, whose memory is not copied.
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
/// The encoding ([postcard](https://docs.rs/postcard)) does not describe itself: `Deserialize` must read what
/// `Serialize` writes, field by field. So `skip_serializing_if` gives other values or an error on the receiving side,
/// and `untagged`, `tag`, `flatten` and `deserialize_any` are errors.
///
/// A `&str` points into the memory of one process, so it is not a `Message`:
///
/// ```compile_fail,E0277
/// fn hello(name: &'static str) {}
/// let child = crossproc::Process::spawn(hello, ("bob",));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent to another process",
    label = "not a `Message`",
    note = "a `Message` implements `serde::Serialize` and `serde::de::DeserializeOwned`: send a `&str` as a `String`, a slice as a `Vec`, an error as `crossproc::Error` or as its text"
)]
pub trait Message: Serialize + DeserializeOwned + Send + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + Send + 'static> Message for T {}
