//! Peers of other languages: programs that are started once for a group and then asked again and again.
//!
//! Such a program says `ready`, gets one request a line on its standard input, and answers in one line: figures, or
//! `missing` or `wrong` and why. It ends where its input ends.

mod boost;
mod program;
mod python;
mod redis;

pub use boost::{boost, version as boost_version};
pub use program::{Program, READY};
pub use python::{python, versions as python_versions};
pub use redis::{Redis, version as redis_version};

use crate::measure::Job;
use anyhow::Result;
use std::path::{Path, PathBuf};

/// A program that may not be there, or why.
pub struct Peer(Result<Program, String>);

impl Peer {
    fn new(start: impl FnOnce() -> Result<Program>) -> Self {
        Peer(start().map_err(|error| format!("{error:#}")))
    }

    /// With the program, or without figures in the rows of these names.
    pub fn job<'a, N: Into<String>>(
        &'a self,
        names: impl IntoIterator<Item = N>,
        make: impl FnOnce(&'a Program) -> Job<'a>,
    ) -> Job<'a> {
        self.0.as_ref().map_or_else(|reason| Job::all_missing(names, reason), make)
    }

    /// As far as the program has that.
    pub fn job_with<'a, N: Into<String>>(
        &'a self,
        what: &str,
        names: impl IntoIterator<Item = N>,
        make: impl FnOnce(&'a Program) -> Job<'a>,
    ) -> Job<'a> {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        self.job(names.clone(), |program| match program.have(what) {
            Ok(()) => make(program),
            Err(reason) => Job::all_missing(names, format!("{reason:#}")),
        })
    }
}

/// A folder beside this program that keeps what is made for the peers.
fn folder() -> Result<PathBuf> {
    let folder = std::env::current_exe()?.with_file_name("foreign");
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Whether it was there with that text. Others may read meanwhile, so that it is replaced as a whole.
fn write(path: &Path, text: &str) -> Result<bool> {
    if std::fs::read_to_string(path).is_ok_and(|old| old == text) {
        return Ok(true);
    }
    let new = beside(path);
    std::fs::write(&new, text)?;
    std::fs::rename(new, path)?;
    Ok(false)
}

/// A name that no other process takes.
fn beside(path: &Path) -> PathBuf {
    path.with_extension(format!("{}.new", std::process::id()))
}
