//! Queues between processes.

mod simple;

pub use simple::{Items, SimpleQueue};
