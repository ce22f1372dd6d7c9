//! Values, arrays, atomics and locks between processes, and what a death, a fork or damaged memory does to them.

mod array;
mod atomic;
mod barrier;
mod condition;
mod event;
mod fork;
mod hostile;
mod leak;
mod lock;
mod parts;
mod patterns;
mod rlock;
mod robust;
mod scribble;
mod semaphore;
mod value;

#[path = "../util/mod.rs"]
mod util;
