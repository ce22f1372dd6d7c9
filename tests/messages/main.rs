//! Queues, pipes, and waits for the first of many.
//!
//! A forked child is a holder of each queue of its process, those of the tests beside it included. So a test that
//! forks, counts or overwrites memory runs as a program [by itself](util::by_itself).

mod joinable_queue;
mod linearizable;
mod memory;
mod pipe;
mod queue;
mod scribble;
mod simple_queue;
mod storm;
mod wait;

#[path = "../util/mod.rs"]
mod util;
