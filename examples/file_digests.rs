//! A job over real files: the SHA-256 and the number of lines of each file below a folder. A file that cannot be read
//! is an error of that file, and does not stop the job.
//!
//! ```text
//! cargo run --release --example file_digests -- [DIR]
//! ```

use crossproc::{Error, Pool, Result, cpu_count};
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

/// What is known of a file.
#[derive(Serialize, Deserialize)]
struct Facts {
    digest: [u8; 32],
    bytes: usize,
    lines: usize,
}

/// Runs in a worker. The path comes back too, because results come as they are done. The error is of this file.
fn look(path: PathBuf) -> (PathBuf, Result<Facts>) {
    let facts = read(&path);
    (path, facts)
}

/// Piece by piece: files may be larger than the memory.
fn read(path: &Path) -> Result<Facts> {
    let (mut file, mut buffer) = (File::open(path)?, vec![0; 1 << 16]);
    let (mut digest, mut bytes, mut lines) = (Sha256::new(), 0, 0);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Facts { digest: digest.finalize().into(), bytes, lines }),
            n => {
                digest.update(&buffer[..n]);
                bytes += n;
                lines += buffer[..n].iter().filter(|byte| **byte == b'\n').count();
            }
        }
    }
}

/// The files below a folder, found as they are asked for. Links are not followed.
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

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn main() -> Result<()> {
    let asked = std::env::args_os().nth(1).map(PathBuf::from);
    // Unless a folder is asked for, one file more that is not there, so that there is an error to see.
    let missing = asked.is_none().then(|| PathBuf::from("no such file"));
    let folder = asked.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    fs::read_dir(&folder)?; // if there is nothing to do, say so

    let pool = Pool::new(cpu_count())?;
    // How many files there will be is not known, as they are looked for along the way.
    let bar = ProgressBar::new_spinner();
    bar.set_style(ProgressStyle::with_template("{spinner} {human_pos} files, {per_sec}").map_err(Error::other)?);
    let (mut known, mut failed) = (Vec::new(), 0);
    let paths = files(&folder).chain(missing.clone());
    // Sixteen files for each message, as most are small; at most 256 paths ahead of the results.
    for result in pool.imap_unordered(look, paths).chunksize(16).buffer(256) {
        bar.inc(1);
        let error = match result {
            Ok((path, Ok(facts))) => {
                known.push((path, facts));
                continue;
            }
            Ok((path, Err(error))) => format!("{}: {error}", path.display()),
            // The worker itself died: this costs one file too.
            Err(error) => format!("a file: {error}"),
        };
        bar.suspend(|| eprintln!("{error}"));
        failed += 1;
    }
    bar.finish_and_clear();

    known.sort_by(|a, b| a.0.cmp(&b.0)); // they came as they were done
    let (bytes, lines) = known.iter().fold((0, 0), |(bytes, lines), (_, f)| (bytes + f.bytes, lines + f.lines));
    let all = known.iter().fold(Sha256::new(), |all, (_, facts)| all.chain_update(facts.digest)).finalize();
    println!("{} files, {bytes} bytes, {lines} lines, {failed} not read", known.len());
    println!("digest of the digests: {}", hex(&all));
    println!("{}", pool.insights());
    if missing.is_some() {
        let me = known.iter().find(|(path, _)| path.ends_with("src/lib.rs")).map(|(path, facts)| (path, facts.lines));
        let (path, lines) = me.expect("this crate has a lib.rs");
        assert_eq!((fs::read_to_string(path)?.lines().count(), failed), (lines, 1));
    }
    Ok(())
}
