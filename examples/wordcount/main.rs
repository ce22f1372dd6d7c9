//! Counts the words of all text files below a directory, with several processes that add into shared tables in place.
//!
//! ```text
//! cargo run --release --example wordcount -- [DIR] [--processes N] [--repeat K] [--kill-one]
//! ```
//!
//! Without a DIR it reads the sources of all crates that Cargo has downloaded. A word is what `str::split_whitespace`
//! gives, so nearly what `wc -w` counts; files that are not UTF-8, or cannot be read, are skipped and counted.
//!
//! The parent starts its workers with `Process` and hands them, as arguments of a function, what they share:
//!
//! | object | what for |
//! |---|---|
//! | `Array<u8>`, `Array<File>` | the paths, found once by the parent |
//! | `Queue<u32>` | what there is to do in this round: each process takes one when it is done with another |
//! | `RawArray<u32>` | which worker took which file, written before the file is counted |
//! | `Part<Slot>` of an `Array<Slot>` | the worker's own table of words, locked for its whole job |
//! | `Atomic<u64>` | the bytes done, for the progress bar |
//! | `Atomic<u32>` | for `--kill-one`: whether the victim is ready |
//!
//! Kill any of the workers at any time (or say `--kill-one`): its part is marked, so the parent empties it and hands
//! out again the files that it had taken. The digest stays the same, whatever the number of processes and deaths. If
//! the parent is killed, its workers end too, as they are daemons.

mod args;
mod corpus;
mod crew;
mod report;
mod shared;
mod table;
mod words;
mod worker;

use args::Args;
use serde::{Deserialize, Serialize};
use std::process::ExitCode;
use std::time::Instant;

/// Why the program, or a worker, ends early.
#[derive(Serialize, Deserialize)]
enum Failure {
    Error(String),
    /// The arguments make no sense here.
    Usage(String),
    /// A table is full.
    Full,
    Interrupted,
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Failure::Error(error.to_string())
    }
}

fn main() -> ExitCode {
    let args = Args::get();
    let (text, code) = match run(&args) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Error(text)) => (text, 1),
        Err(Failure::Usage(text)) => (text, 2),
        Err(Failure::Full) => (args.too_few_words(), 1),
        Err(Failure::Interrupted) => ("interrupted".into(), 130), // as shells have it
    };
    eprintln!("wordcount: {text}");
    ExitCode::from(code)
}

fn run(args: &Args) -> Result<(), Failure> {
    let start = Instant::now();
    crew::watch_for_interrupts()?;
    let corpus = corpus::find(&args.directory()?)?;
    let mut room = args.room(&corpus);
    loop {
        let tables = shared::tables(room, args.processes())?;
        match crew::count(&corpus, &tables, room, args) {
            Ok(()) => return report::print(&tables, room, args, start),
            // It was only a guess. Whatever is in the tables goes with them.
            Err(Failure::Full) if args.words.is_none() => room = room.doubled(),
            Err(failure) => return Err(failure),
        }
    }
}
