//! The example `wordcount` as a program: the same counts as a plain loop, whatever the number of processes and deaths.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;

/// `cargo test` builds the examples beside the tests: `target/debug/deps/..` has `examples/`. `cargo test --test wordcount`
/// does not, so there the first that needs it builds it.
static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    let program = profile.join("examples/wordcount");
    if !program.exists() {
        let name = profile.file_name().unwrap();
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["build", "--example", "wordcount", "--manifest-path"]);
        cargo.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"));
        cargo.arg("--target-dir").arg(profile.parent().unwrap());
        cargo.arg("--profile").arg(if name == "debug" { "test".as_ref() } else { name });
        assert!(cargo.status().unwrap().success());
    }
    program
});

/// A directory of text files, one that is no text, and one below another directory; removed when dropped.
struct Corpus {
    top: PathBuf,
}

impl Corpus {
    fn new(name: &str) -> Self {
        let top = std::env::temp_dir().join(format!("crossproc-wordcount-{}-{name}", std::process::id()));
        fs::create_dir_all(top.join("below/deeper")).unwrap();
        for i in 0..40_usize {
            let words = (0..i * 50).map(|j| word(i * j) + separator(i + j));
            fs::write(top.join(format!("below/{i}.txt")), words.collect::<String>()).unwrap();
        }
        // Separators at, before and behind the edges of the blocks in which the example reads.
        for i in 55..75 {
            let text = "x".repeat(i) + "\u{3000}" + &"é".repeat(70 - i / 2) + "\u{85}" + &"y".repeat(i) + "\u{2028}z";
            fs::write(top.join(format!("below/deeper/{i}")), text).unwrap();
        }
        fs::write(top.join("empty"), "").unwrap();
        fs::write(top.join("not-text"), b"no \xff utf-8").unwrap();
        Corpus { top }
    }

    /// The lines of the program's output that do not depend on the time.
    fn count(&self) -> (String, String) {
        let (mut files, mut bytes, mut words) = (0, 0, 0);
        let mut counts = BTreeMap::<String, u64>::new();
        let mut directories = vec![self.top.clone()];
        while let Some(directory) = directories.pop() {
            for path in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
                if path.is_dir() {
                    directories.push(path);
                } else if let Ok(text) = fs::read_to_string(path) {
                    (files, bytes) = (files + 1, bytes + text.len());
                    for word in text.split_whitespace() {
                        words += 1;
                        *counts.entry(word.to_owned()).or_default() += 1;
                    }
                }
            }
        }
        let distinct = counts.len();
        let mut lines: String = counts.iter().map(|(word, count)| format!("{word} {count}\n")).collect();
        lines += &format!("files {files} bytes {bytes} words {words} distinct {distinct}\n");
        let totals = format!("files: {files}, skipped: 1, bytes: {bytes}, words: {words}, distinct: {distinct}");
        (totals, format!("digest: {}", sha256(&lines)))
    }
}

impl Drop for Corpus {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.top);
    }
}

/// Words of 1 to 40 bytes, some of several bytes for a character.
fn word(seed: usize) -> String {
    let seed = seed % 1009;
    ["a", "naïve", "shared-memory", "ключ", "中文"][seed % 5].repeat(1 + seed % 3) + &seed.to_string()
}

fn separator(seed: usize) -> &'static str {
    [" ", "\n", "\t ", "\r\n", "\u{a0}", "\u{2003}", " \u{3000}", "\u{b}\u{c}", "\u{200a}\u{205f}"][seed % 9]
}

fn sha256(text: &str) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Runs the program to its end, and checks that nothing of it is left in `/dev/shm`.
fn run(args: &[&str], top: &Path) -> Output {
    let mut command = Command::new(&*PROGRAM);
    command.args(args).arg(top).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", PROGRAM.display()));
    let mark = format!("crossproc.wordcount-{}.", child.id());
    let output = child.wait_with_output().unwrap();
    let names = fs::read_dir("/dev/shm").unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let left: Vec<_> = names.filter(|name| name.starts_with(&mark)).collect();
    assert!(left.is_empty(), "{args:?} left {left:?}");
    output
}

#[test]
fn counts_as_a_plain_loop_does() {
    let corpus = Corpus::new("plain");
    let (totals, digest) = corpus.count();
    for processes in ["1", "2", "5"] {
        for more in [&[][..], &["--kill-one"], &["--words", "5000"]] {
            let args = [&["--processes", processes], more].concat();
            let output = run(&args, &corpus.top);
            let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            assert!(output.status.success(), "{args:?}: {errors}");
            assert!(text.lines().any(|line| line == totals), "{args:?}: {totals}\n{text}");
            assert_eq!(text.lines().last(), Some(digest.as_str()), "{args:?}");
        }
    }
}

#[test]
fn says_what_is_wrong() {
    let corpus = Corpus::new("wrong");
    let fails = |args: &[&str], top: &Path, code: i32, part: &str| {
        let output = run(args, top);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {errors}");
        assert!(errors.contains(part), "{args:?}: {errors}");
        assert!(output.stdout.is_empty());
    };
    fails(&["--processes", "0"], &corpus.top, 2, "0 is not in 1..=");
    fails(&["--no-such-option"], &corpus.top, 2, "--no-such-option");
    fails(&[], &corpus.top.join("none"), 2, "No such file");
    fails(&["--words", "10"], &corpus.top, 1, "--words 20");
}
