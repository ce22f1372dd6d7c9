//! What the user wants.

use crate::Failure;
use crate::corpus::Corpus;
use crate::table::Room;
use clap::Parser;
use std::path::PathBuf;

/// Count the words of all text files below a directory, with several processes.
#[derive(Parser)]
#[command(name = "wordcount")]
pub struct Args {
    /// Where the files are [default: the crates that Cargo has downloaded]
    dir: Option<PathBuf>,
    /// Worker processes [default: one for each core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    processes: Option<u32>,
    /// Count every file K times
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub repeat: u32,
    /// Room for N distinct words in each process's table [default: as needed]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1 << 32))]
    pub words: Option<u64>,
    /// Show the N most frequent words
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub top: usize,
    /// Kill one worker in the middle of its work
    #[arg(long)]
    pub kill_one: bool,
}

impl Args {
    pub fn get() -> Self {
        Args::parse()
    }

    pub fn processes(&self) -> u32 {
        let cores = || std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
        self.processes.unwrap_or_else(cores)
    }

    pub fn directory(&self) -> Result<PathBuf, Failure> {
        if let Some(dir) = &self.dir {
            return Ok(dir.clone());
        }
        let cargo = std::env::var_os("CARGO_HOME").map(PathBuf::from);
        let cargo = cargo.or_else(|| Some(std::env::home_dir()?.join(".cargo")));
        let sources = cargo.map(|cargo| cargo.join("registry/src")).filter(|sources| sources.is_dir());
        sources.ok_or_else(|| Failure::Usage("no crates of Cargo's are here; name a directory".into()))
    }

    pub fn room(&self, corpus: &Corpus) -> Room {
        match self.words {
            Some(words) => Room::for_words(words),
            None => Room::for_corpus(corpus.bytes(), self.processes().into()),
        }
    }

    pub fn too_few_words(&self) -> String {
        let words = self.words.unwrap_or_default();
        let more = words.saturating_mul(2);
        format!("there are too many, or too long, words for --words {words}; try --words {more}")
    }
}
