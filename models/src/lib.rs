//! Exhaustive models of crossproc's protocols: each file goes through every interleaving of a few threads, of the kernel's part,
//! and of kills between any two accesses to shared memory, and checks the protocol's invariants in each state.
//!
//! The models are tests of this crate (`cargo test -p crossproc-models`) and need nothing from crossproc. A change of a
//! protocol in `src/` belongs into its model as well.
#![cfg(test)]

mod explore;
mod fx;
mod lock;
mod monitor;
mod permits;
mod pool;
mod ring;
mod signal;
