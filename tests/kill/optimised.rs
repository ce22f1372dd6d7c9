//! The suite as optimised code. Code without optimisation takes some ten times as many instructions, which is too many
//! to stop at each. So the program that plain `cargo test` builds has cargo build the suite once more, with the profile
//! `kill`, and runs that one with the same arguments.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, ExitCode};

/// Runs the optimised program if this one is not optimised, which the name of its folder shows.
pub fn run_in_place_of_this() -> Option<ExitCode> {
    let program = std::env::current_exe().expect("procfs is mounted");
    let profile = program.ancestors().nth(2).filter(|folder| folder.file_name() == Some(OsStr::new("debug")))?;
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["test", "-p", "crossproc", "--profile", "kill", "--test", "kill", "--manifest-path"]);
    cargo.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"));
    cargo.arg("--target-dir").arg(profile.parent()?).arg("--").args(std::env::args_os().skip(1));
    let status = cargo.status().unwrap_or_else(|error| panic!("{cargo:?}: {error}"));
    Some(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
