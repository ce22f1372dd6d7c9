//! A job over real files: the SHA-256 and the number of lines of each file below a folder, with a progress bar. A file that
//! cannot be read is an error of that file.
//!
//! ```text
//! cargo run --release --example file_digests -- [DIR]
//! ```

use crossproc::{Pool, Result, cpu_count};
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};

/// What is known of a file.
#[derive(Serialize, Deserialize)]
struct Facts {
    path: PathBuf,
    /// Its digest, bytes and lines; or why not.
    read: std::result::Result<(String, u64, usize), String>,
}

/// Runs in a worker.
fn look(path: PathBuf) -> Facts {
    let read = fs::read(&path).map_err(|error| error.to_string()).map(|bytes| {
        let digest = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        (digest, bytes.len() as u64, bytes.iter().filter(|byte| **byte == b'\n').count())
    });
    Facts { path, read }
}

/// The files below a folder, found as they are asked for.
fn files(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let mut folders = vec![folder.to_owned()];
    let mut found = Vec::new();
    std::iter::from_fn(move || {
        while found.is_empty() {
            for entry in fs::read_dir(folders.pop()?).into_iter().flatten().flatten() {
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                    Ok(kind) if kind.is_file() => found.push(entry.path()),
                    _ => {}
                }
            }
        }
        found.pop()
    })
}

fn main() -> Result<()> {
    let folder =
        std::env::args().nth(1).map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), PathBuf::from);
    let pool = Pool::new(cpu_count())?;
    let bar = ProgressBar::new_spinner();
    bar.set_style(
        ProgressStyle::with_template("{spinner} {human_pos} files, {per_sec}").map_err(crossproc::Error::other)?,
    );

    let (mut facts, mut broken) = (Vec::new(), 0);
    // A path that leads nowhere, so that there is an error to see.
    let paths = files(&folder).chain([folder.join("no such file")]);
    for result in pool.imap_unordered(look, paths).chunksize(16).buffer(256) {
        bar.inc(1);
        let Facts { path, read } = result?;
        match read {
            Ok(read) => facts.push((path, read)),
            Err(error) => {
                bar.println(format!("{}: {error}", path.display()));
                broken += 1;
            }
        }
    }
    bar.finish();

    facts.sort(); // they came as they were done
    let (bytes, lines) = facts.iter().fold((0, 0), |(bytes, lines), (_, read)| (bytes + read.1, lines + read.2));
    let all = facts.iter().fold(Sha256::new(), |all, (_, (digest, ..))| all.chain_update(digest)).finalize();
    println!("{} files, {bytes} bytes, {lines} lines, {broken} not read", facts.len());
    println!("digest of the digests: {}", all.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    println!("{}", pool.insights());
    assert!(broken >= 1 && facts.iter().all(|(_, (digest, ..))| digest.len() == 64));
    Ok(())
}
