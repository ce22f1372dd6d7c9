//! The traits of types that live in shared memory ([`Element`]) or are sent to other processes ([`Message`]).

mod element;
mod message;

pub use element::Element;
pub(crate) use element::{bytes_of, from_bytes};
pub use message::Message;
