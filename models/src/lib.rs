//! Exhaustive models of the protocols of crossproc. Each goes through every interleaving of a few threads and of the
//! kernel's part, with kills between any two accesses to shared memory, and checks the invariants of the protocol in
//! each state.
//!
//! The models are the tests of this crate (`cargo test -p crossproc-models`) and need nothing from crossproc. A change
//! of a protocol in `src/` belongs into its model as well.
#![cfg(test)]

mod event;
mod explore;
mod fx;
mod lock;
mod monitor;
mod pool;
mod ring;
mod semaphore;
