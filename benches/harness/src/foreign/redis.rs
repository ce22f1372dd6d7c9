//! Redis over a Unix socket: a server of its own, and as much of its protocol as GET and SET need.

use crate::process::{end_with_parent, pin, unpin};
use anyhow::{Context, Result, ensure};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const SERVER: &str = "redis-server";

pub struct Redis {
    server: Child,
    stream: BufReader<UnixStream>,
}

impl Redis {
    /// With the server on that core. Its folder is gone as soon as both are connected.
    pub fn start(core: usize) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("crossproc-bench.{}.{core}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let started = pin(core).and_then(|()| Redis::start_in(&folder));
        unpin()?;
        std::fs::remove_dir_all(folder)?;
        started
    }

    fn start_in(folder: &Path) -> Result<Self> {
        let socket = folder.join("socket");
        let mut command = Command::new(SERVER);
        command.args(["--save", "", "--appendonly", "no", "--port", "0", "--unixsocket"]).arg(&socket);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        // SAFETY: what runs between fork and exec makes one system call.
        unsafe { command.pre_exec(end_with_parent) };
        let mut server = command.spawn().map_err(|error| match error.kind() {
            ErrorKind::NotFound => anyhow::anyhow!("{SERVER} is not installed"),
            _ => error.into(),
        })?;
        match connect(&socket, &mut server) {
            Ok(stream) => Ok(Redis { server, stream: BufReader::new(stream) }),
            Err(error) => {
                let _ = server.kill();
                let _ = server.wait();
                Err(error)
            }
        }
    }

    pub fn set(&mut self, key: &str, value: &str) -> Result<()> {
        let answer = self.ask(&["SET", key, value])?;
        ensure!(answer == "+OK", "it answers {answer}");
        Ok(())
    }

    pub fn get(&mut self, key: &str) -> Result<String> {
        let length = self.ask(&["GET", key])?;
        ensure!(length.starts_with('$'), "it answers {length}");
        let value = self.line()?;
        ensure!(length[1..].parse() == Ok(value.len()), "wrong result: {length}, {value}");
        Ok(value)
    }

    fn ask(&mut self, words: &[&str]) -> Result<String> {
        let mut request = format!("*{}\r\n", words.len());
        words.iter().for_each(|word| request += &format!("${}\r\n{word}\r\n", word.len()));
        self.stream.get_mut().write_all(request.as_bytes())?;
        self.line()
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        ensure!(self.stream.read_line(&mut line)? > 0, "{SERVER} has ended");
        line.truncate(line.trim_end().len());
        Ok(line)
    }
}

fn connect(socket: &Path, server: &mut Child) -> Result<UnixStream> {
    const LIMIT: Duration = Duration::from_secs(20);
    let start = Instant::now();
    loop {
        match UnixStream::connect(socket) {
            Ok(stream) => {
                stream.set_read_timeout(Some(LIMIT))?;
                return Ok(stream);
            }
            Err(error) if start.elapsed() > LIMIT => return Err(error).context(SERVER),
            Err(_) => std::thread::sleep(Duration::from_millis(2)),
        }
        if let Some(status) = server.try_wait()? {
            anyhow::bail!("{SERVER}: {status}");
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

pub fn version() -> Result<String> {
    let output = Command::new(SERVER).arg("--version").output()?;
    let text = String::from_utf8(output.stdout)?;
    Ok(text.split_once("v=").and_then(|(_, rest)| rest.split(' ').next()).context("no version")?.into())
}
