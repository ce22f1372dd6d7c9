//! The example `parameter_sweep` as a program: the same digest for any number of workers and any number of kills.

use crate::util::{self, Random, within};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| util::example("parameter_sweep"));

fn sweep(arguments: &[&str]) -> Command {
    let mut command = Command::new(&*PROGRAM);
    command.args(["--paths", "20000", "--grid", "8"]).args(arguments).stdin(Stdio::null()).stderr(Stdio::null());
    command
}

/// Returns its output: the number of results that were there already, and the digest.
fn said(command: &mut Command) -> (usize, String) {
    let output = command.output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let there = text.split(", ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok()).unwrap();
    (there, text.lines().last().unwrap().to_owned())
}

#[test]
fn the_digest_is_the_same_for_any_number_of_workers() {
    within(120, || {
        let one = said(&mut sweep(&["--processes", "1"]));
        assert!(one.0 == 0 && one.1.starts_with("digest ") && one.1.len() == 71, "{one:?}");
        for processes in ["2", "3", "5"] {
            assert_eq!(said(&mut sweep(&["--processes", processes])), one);
        }
    });
}

#[test]
fn it_goes_on_where_it_was_killed() {
    within(120, || {
        let expected = said(&mut sweep(&[])).1;
        let path = std::env::temp_dir().join(format!("crossproc-sweep-{}.txt", std::process::id()));
        let output = ["--output", path.to_str().unwrap()];
        let lines = || std::fs::read_to_string(&path).map_or(0, |text| text.lines().count());
        let mut random = Random(9);
        for _ in 0..6 {
            let before = lines();
            let mut program = sweep(&output).stdout(Stdio::null()).spawn().unwrap();
            let goal = before + 1 + random.next() as usize % 8;
            util::until("some more are done, or all", || lines() >= goal || program.try_wait().unwrap().is_some());
            program.kill().unwrap();
            program.wait().unwrap();
            assert!(lines() >= before, "nothing is lost");
        }
        // As if it had been killed in the middle of a line.
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, &text[..text.len() - 5]).unwrap();
        let whole = lines() - 1;
        assert_eq!(said(&mut sweep(&output)), (whole, expected.clone()), "what was whole is not done again");
        assert_eq!(said(&mut sweep(&output)), (64, expected));
        std::fs::remove_file(&path).unwrap();
    });
}
