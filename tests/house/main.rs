//! The rules of the house: who may use whom, where things stand, and how they are called.

mod errors;
mod rooms;
mod source;
