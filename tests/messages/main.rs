//! Queues, pipes, and waits for the first of many.
//!
//! A child that a test forks holds each queue of the process, also those of the tests that run beside it. So what forks or counts
//! runs as a program [by itself](util::by_itself).

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
