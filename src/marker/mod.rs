//! Which types may be shared, and which may travel.

mod element;
mod message;

pub use element::Element;
pub(crate) use element::{bytes_of, from_bytes};
pub use message::Message;
