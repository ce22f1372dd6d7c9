//! Processes: their start, their arguments and results, their ends, and what they inherit.

mod crowd;
mod family;
mod life;
mod process;
mod surroundings;

#[path = "../util/mod.rs"]
mod util;

use crossproc::StartMethod;

const METHODS: [StartMethod; 2] = [StartMethod::ForkServer, StartMethod::Spawn];
