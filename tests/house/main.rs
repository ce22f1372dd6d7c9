//! Rules that the whole crate keeps.

mod errors;
