//! Whole programs: unusual builds, the examples, and programs as users write them. Slow: some tests call cargo.

mod builds;
mod parameter_sweep;
mod scenarios;
mod wordcount;

#[path = "../util/mod.rs"]
mod util;
