//! The crate's own rules.

mod errors;
