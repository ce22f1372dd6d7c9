//! The example `wordcount` as a program: the counts of a plain loop, for any number of processes and deaths.

use crate::util;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| util::example("wordcount"));

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
        // Separators at, before and after the edges of the blocks in which the example reads.
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

/// The program, which a test that fails does not leave running.
struct Running(Option<Child>);

impl Running {
    fn signal_group(&self, signal: libc::c_int) {
        let pid = self.0.as_ref().unwrap().id() as libc::pid_t;
        // SAFETY: no pointers.
        assert_eq!(unsafe { libc::kill(-pid, signal) }, 0);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Starts the program in a process group of its own.
fn start(args: &[&str], top: &Path) -> Running {
    let mut command = Command::new(&*PROGRAM);
    command.args(args).arg(top).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    Running(Some(command.spawn().unwrap_or_else(|error| panic!("{}: {error}", PROGRAM.display()))))
}

/// Waits for the program's end, and checks that nothing of it is left: no process, and nothing in `/dev/shm`.
fn finish(mut running: Running, top: &Path) -> Output {
    let child = running.0.take().unwrap();
    let pid = child.id();
    let output = child.wait_with_output().unwrap();
    wait_until("some are left", || processes(top).is_empty());
    let names = fs::read_dir("/dev/shm").unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mark = format!("crossproc.wordcount-{pid}");
    let left: Vec<_> = names.filter(|name| name.starts_with(&mark)).collect();
    assert!(left.is_empty(), "left {left:?}");
    output
}

fn run(args: &[&str], top: &Path) -> Output {
    finish(start(args, top), top)
}

/// The processes that count this directory, all with the same arguments: the program, its fork server, its workers.
fn processes(top: &Path) -> Vec<String> {
    let pids = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().into_string().ok());
    let counts = |pid: &String| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default(); // empty for one that has ended
        let mut args = line.split(|byte| *byte == 0);
        args.next() == Some(PROGRAM.as_os_str().as_bytes()) && args.any(|arg| arg == top.as_os_str().as_bytes())
    };
    pids.filter(|pid| pid.parse::<u32>().is_ok()).filter(counts).collect()
}

fn wait_until(otherwise: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(20), "{otherwise}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Starts a count that takes very long, and gives it when both workers are there.
fn start_long(top: &Path) -> Running {
    let running = start(&["--processes", "2", "--repeat", "60000"], top);
    let has = |pid: &str, file: &str, text: &str| {
        fs::read_to_string(format!("/proc/{pid}/{file}")).is_ok_and(|found| found.contains(text))
    };
    wait_until("no workers", || processes(top).iter().filter(|pid| has(pid, "comm", "Process-")).count() == 2);
    // Nameless memory leaves no name, however the program ends.
    assert!(processes(top).iter().all(|pid| has(pid, "maps", "[stack]") && !has(pid, "maps", "/dev/shm/")));
    running
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

/// As by Ctrl-C: the whole group gets the signal.
#[test]
fn ends_in_order_when_interrupted() {
    let corpus = Corpus::new("interrupted");
    let running = start_long(&corpus.top);
    running.signal_group(libc::SIGINT);
    let output = finish(running, &corpus.top);
    assert_eq!(output.status.code(), Some(130));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "wordcount: interrupted\n");
    assert!(output.stdout.is_empty());
}

#[test]
fn is_gone_when_killed() {
    let corpus = Corpus::new("killed");
    let mut running = start_long(&corpus.top);
    running.0.as_mut().unwrap().kill().unwrap();
    assert_eq!(finish(running, &corpus.top).status.signal(), Some(libc::SIGKILL));
}
