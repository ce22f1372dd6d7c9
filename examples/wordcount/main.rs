//! Counts the words of all text files below a directory, with several processes that add into shared tables in place.
//!
//! ```text
//! cargo run --release --example wordcount -- [DIR] [--processes N] [--repeat K] [--kill-one]
//! ```
//!
//! Without a DIR it reads the sources of all crates that Cargo has downloaded. A word is what `str::split_whitespace`
//! gives, so nearly what `wc -w` counts; files that are not UTF-8, or cannot be read, are skipped and counted.
//!
//! The processes share, by name:
//!
//! | object | what for |
//! |---|---|
//! | `Value<Plan>` | what there is to do |
//! | `Array<u8>`, `Array<File>` | the paths, found once by the parent |
//! | `Atomic<u64>` | the next file: each process takes the next when it is done with one |
//! | `RawArray<u32>` | who took which file, written before the file is counted |
//! | `Array<Slot>`, in parts | the tables of words, one part for each process, locked for its whole job |
//! | `Atomic<u64>` | the bytes done, for the progress bar |
//!
//! Kill any of the processes at any time (or say `--kill-one`): its part is marked, so the parent empties it and hands
//! out again the files that it had taken. The digest stays the same, whatever the number of processes and deaths.

mod args;
mod corpus;
mod crew;
mod report;
mod shared;
mod table;
mod words;
mod worker;

use args::Args;
use shared::Shared;
use std::process::ExitCode;
use std::time::Instant;

/// Why the program ends early, by its exit code.
enum Failure {
    /// 1
    Error(String),
    /// 2: the arguments make no sense here.
    Usage(String),
    /// 3: only between worker and parent; a table is full.
    Full,
    /// 130, as shells have it.
    Interrupted,
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Failure::Error(error.to_string())
    }
}

fn main() -> ExitCode {
    let result = match worker::orders() {
        Some(orders) => worker::work(&orders),
        None => run(&Args::get()),
    };
    let (text, code) = match result {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Error(text)) => (text, 1),
        Err(Failure::Usage(text)) => (text, 2),
        Err(Failure::Full) => return ExitCode::from(worker::FULL),
        Err(Failure::Interrupted) => ("interrupted".into(), 130),
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
        let shared = Shared::create(&corpus, args, room)?;
        match crew::count(&shared, args) {
            Ok(()) => return report::print(&shared, args, start),
            // It was only a guess. Whatever is in the tables goes with them.
            Err(Failure::Full) if args.words.is_none() => room = room.doubled(),
            Err(Failure::Full) => return Err(args.too_few_words()),
            Err(failure) => return Err(failure),
        }
    }
}
