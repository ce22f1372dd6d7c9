//! The example `wordcount`, with one and with two processes, in turns; and `wc -w` over the same files.

use crate::measure::{Job, Plan, Row, interleave};
use crate::process::two_cores;
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

const GROUP: &str = "wordcount";
const LEAST_BYTES: u64 = 256 << 20;
const PAIRS: usize = 5;

pub fn run(plan: &Plan) -> Result<Vec<Row>> {
    let example = match example() {
        Ok(example) => example,
        Err(error) => {
            let names = ["one process", "two processes", "wc -w"];
            return Ok(names.iter().map(|name| Row::missing(GROUP, name, format!("{error:#}"))).collect());
        }
    };
    // Once for the caches, the number of bytes, and the digest that every other run must have.
    let first = example.count(2, 1)?;
    let repeat = if plan.quick { 1 } else { LEAST_BYTES.div_ceil(first.bytes.max(1)) };
    let right = if repeat == 1 { first } else { example.count(2, repeat)? };
    let rate = |processes: u64| {
        let (example, right) = (&example, &right);
        move || {
            let start = Instant::now();
            let answer = example.count(processes, repeat)?;
            ensure!(answer == *right, "with {processes} processes: {answer:?}, not {right:?}");
            Ok(answer.bytes as f64 / 1e6 / start.elapsed().as_secs_f64())
        }
    };
    let two = match two_cores() {
        Ok(_) => Job::one("two processes", "MB/s", rate(2)).ours(),
        Err(error) => Job::missing("two processes", error),
    };
    let jobs =
        vec![two, Job::one("one process", "MB/s", rate(1)).ours(), Job::one("wc -w", "MB/s", || wc(&example.corpus))];
    interleave(GROUP, &Plan { repetitions: PAIRS, ..*plan }, jobs)
}

struct Example {
    program: PathBuf,
    corpus: PathBuf,
}

#[derive(Debug, PartialEq)]
struct Answer {
    bytes: u64,
    digest: String,
}

impl Example {
    fn count(&self, processes: u64, repeat: u64) -> Result<Answer> {
        let mut command = Command::new(&self.program);
        command.arg(&self.corpus).args(["--processes", &processes.to_string(), "--repeat", &repeat.to_string()]);
        let output = command.stdin(Stdio::null()).output().context("wordcount")?;
        ensure!(output.status.success(), "wordcount: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout)?;
        let after = |label: &str| Some(text.split_once(label)?.1.split([',', '\n']).next()?.trim());
        let bytes = after("bytes: ").context("no bytes in its answer")?.parse()?;
        Ok(Answer { bytes, digest: after("digest: ").context("no digest in its answer")?.into() })
    }
}

/// Builds the example, and finds the text: the sources of all crates that Cargo has downloaded.
fn example() -> Result<Example> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml");
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--release", "--package", "crossproc", "--example", "wordcount"]);
    let output = build.args(["--manifest-path", manifest]).output().context("cargo")?;
    ensure!(output.status.success(), "not built: {}", first_line(&output.stderr));
    let beside = std::env::current_exe()?.parent().context("no directory")?.join("examples/wordcount");
    ensure!(beside.exists(), "not at {}: run the harness with --release", beside.display());
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(std::env::home_dir()?.join(".cargo"))).context("no home")?;
    let corpus = home.join("registry/src");
    ensure!(corpus.is_dir(), "no text at {}", corpus.display());
    Ok(Example { program: beside, corpus })
}

fn first_line(text: &[u8]) -> String {
    String::from_utf8_lossy(text).lines().next().unwrap_or_default().into()
}

/// Megabytes per second of `wc -w`, which is one process.
fn wc(corpus: &Path) -> Result<f64> {
    const MOST_AT_ONCE: usize = 1000;
    let mut files = Vec::new();
    let bytes = walk(corpus, &mut files)?;
    let start = Instant::now();
    for some in files.chunks(MOST_AT_ONCE) {
        let status = Command::new("wc").arg("-w").args(some).stdout(Stdio::null()).status().context("wc")?;
        ensure!(status.success(), "wc: {status}");
    }
    Ok(bytes as f64 / 1e6 / start.elapsed().as_secs_f64())
}

/// All files below a directory, and the sum of their bytes. Symbolic links are not followed.
fn walk(directory: &Path, files: &mut Vec<PathBuf>) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if metadata.is_dir() {
            bytes += walk(&entry.path(), files)?;
        } else if metadata.is_file() {
            bytes += metadata.len();
            files.push(entry.path());
        }
    }
    Ok(bytes)
}
