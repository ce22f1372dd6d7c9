//! A program that is started once and then asked again and again.

use crate::process::end_with_parent;
use anyhow::{Context, Result, bail, ensure};
use std::cell::RefCell;
use std::io::{Error, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(120);
/// How long it may take to end.
const PATIENCE: Duration = Duration::from_secs(3);
pub const READY: &str = "ready";

pub struct Program(RefCell<Running>);

struct Running {
    /// The leader of a process group: what it starts is in there, too.
    leader: Child,
    /// None when it is to end.
    requests: Option<ChildStdin>,
    answers: ChildStdout,
    /// How long an answer may take.
    limit: Duration,
}

impl Program {
    /// Fails when it is not there or does not work.
    pub fn start(command: &mut Command) -> Result<Self> {
        Program::limited(command, LIMIT)
    }

    fn limited(command: &mut Command, limit: Duration) -> Result<Self> {
        // SAFETY: what runs between fork and exec makes one system call.
        unsafe { command.pre_exec(end_with_parent) };
        let mut leader = command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let requests = leader.stdin.take();
        let answers = leader.stdout.take().context("no pipe")?;
        let mut running = Running { leader, requests, answers, limit };
        ensure!(running.answer()? == READY, "it does not work");
        Ok(Program(RefCell::new(running)))
    }

    /// Figures. The program is killed if it takes too long.
    pub fn ask<const N: usize>(&self, request: &str) -> Result<[f64; N]> {
        let answer = self.answer(request)?;
        if let Some(reason) = answer.strip_prefix("wrong ") {
            bail!("wrong result: {reason}");
        }
        let figures: Option<Vec<f64>> = answer.split(' ').map(|figure| figure.parse().ok()).collect();
        figures.and_then(|figures| figures.try_into().ok()).with_context(|| format!("its answer is {answer}"))
    }

    /// Whether it can do that.
    pub fn have(&self, what: &str) -> Result<()> {
        let answer = self.answer(&format!("have {what}"))?;
        answer.strip_prefix("missing ").map_or(Ok(()), |reason| bail!("{reason}"))
    }

    fn answer(&self, request: &str) -> Result<String> {
        let mut running = self.0.borrow_mut();
        writeln!(running.requests.as_mut().context("no pipe")?, "{request}").context("it has ended")?;
        running.answer().with_context(|| request.to_string())
    }
}

impl Running {
    fn answer(&mut self) -> Result<String> {
        let (mut line, until) = (Vec::new(), Instant::now() + self.limit);
        while line.last() != Some(&b'\n') {
            match self.read(&mut line, until)? {
                Some(0) => bail!("it has ended"),
                Some(_) => {}
                None => {
                    self.leader.kill()?;
                    bail!("it took more than {:?}", self.limit);
                }
            }
        }
        Ok(String::from_utf8(line)?.trim_end().into())
    }

    /// Some bytes; 0 when all who might write are gone; none when there are none in time.
    fn read(&mut self, to: &mut Vec<u8>, until: Instant) -> Result<Option<usize>> {
        let mut look = libc::pollfd { fd: self.answers.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let left = until.saturating_duration_since(Instant::now()).as_millis() as i32;
        // SAFETY: one struct, which lives.
        match unsafe { libc::poll(&raw mut look, 1, left) } {
            -1 => Err(Error::last_os_error()).context("poll"),
            0 => Ok(None),
            _ => {
                let mut some = [0; 512];
                let count = self.answers.read(&mut some)?;
                to.extend_from_slice(&some[..count]);
                Ok(Some(count))
            }
        }
    }

    /// Whether all are gone in time.
    fn are_gone(&mut self) -> bool {
        let until = Instant::now() + PATIENCE;
        while let Ok(Some(count)) = self.read(&mut Vec::new(), until) {
            if count == 0 {
                return true;
            }
        }
        false
    }
}

/// Gently first: some children of Python's remove what they have in `/dev/shm` when the leader has ended, however it
/// did.
impl Drop for Running {
    fn drop(&mut self) {
        self.requests = None;
        if !self.are_gone() {
            let _ = self.leader.kill();
            self.are_gone();
        }
        // SAFETY: the group of a child that has not been waited for, so that its number is nobody else's.
        unsafe { libc::kill(-self.leader.id().cast_signed(), libc::SIGKILL) };
        let _ = self.leader.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Result<Program> {
        Program::limited(Command::new("sh").args(["-c", script]), Duration::from_millis(500))
    }

    fn error(result: Result<impl Sized>) -> String {
        format!("{:#}", result.err().expect("it fails"))
    }

    #[test]
    fn figures_come_back_and_what_is_wrong_or_missing_does_not() {
        let program = shell("echo ready; while read -r line; do echo $line; done").unwrap();
        assert_eq!(program.ask("1 2.5").unwrap(), [1.0, 2.5]);
        assert!(program.have("it").is_ok());
        assert!(error(program.ask::<1>("1 2")).contains("its answer is 1 2"));
        assert!(error(program.ask::<1>("wrong way")).contains("wrong result: way"));
        assert!(error(program.ask::<1>("missing it")).contains("missing it"));
    }

    #[test]
    fn one_that_says_nothing_is_killed_with_what_it_started() {
        assert!(error(shell("echo hello")).contains("does not work"));
        assert!(error(shell("exit 1")).contains("it has ended"));
        let mark = format!("{}.5", 1_000_000 + std::process::id());
        let program = shell(&format!("echo ready; sleep {mark} & read -r line; wait")).unwrap();
        assert!(error(program.ask::<1>("1")).contains("took more than"));
        drop(program);
        let listed = Command::new("ps").args(["-eo", "args"]).output().unwrap().stdout;
        assert!(!String::from_utf8_lossy(&listed).contains(&format!("sleep {mark}")));
    }
}
