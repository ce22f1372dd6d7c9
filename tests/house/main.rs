//! The rules of the house: which room may use which, where things stand, and their names.

mod errors;
mod rooms;
mod source;
