//! Streams of bytes: the kernel's pipe and pair of sockets, and the local sockets of the crate `interprocess`, which
//! are sockets underneath. Each message is written as a whole and read as a whole, without a buffer, since whoever
//! sends one wants it to be there; both sides sleep. A pipe holds as much as everybody may ask for, which helps with
//! long messages; sockets hold what they do unless asked, for more did not help.

use super::bytes::room;
use super::copied::{CopiedEnds, ReceiveBytes, SendBytes, both_ends};
use anyhow::{Context, Result, ensure};
use interprocess::local_socket::{GenericNamespaced, ListenerOptions, Stream as LocalStream, prelude::*};
use std::io::{Error, PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

pub struct Stream<S>(S);

pub type StreamEnds<W, R> = CopiedEnds<Stream<W>, Stream<R>>;

pub fn pipe_of_bytes(length: usize) -> Result<StreamEnds<PipeWriter, PipeReader>> {
    const MOST_BYTES: usize = 1 << 20;
    let (reader, writer) = std::io::pipe()?;
    let size = libc::c_int::try_from(room(length).min(MOST_BYTES))?;
    // SAFETY: a pipe's descriptor, and a number.
    let answer = unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETPIPE_SZ, size) };
    ensure!(answer >= size, "its size: {}", Error::last_os_error());
    Ok(both_ends(length, Stream(writer), Stream(reader)).slow())
}

pub fn sockets(length: usize) -> Result<StreamEnds<UnixStream, UnixStream>> {
    let (one, other) = UnixStream::pair()?;
    Ok(both_ends(length, Stream(one), Stream(other)).slow())
}

/// Connected by a name of the kernel's own, which no file has.
pub fn interprocess(length: usize) -> Result<StreamEnds<LocalStream, LocalStream>> {
    let text = format!("crossproc-bench-{}.sock", std::process::id());
    let name = text.to_ns_name::<GenericNamespaced>()?;
    let listener = ListenerOptions::new().name(name.clone()).create_sync().context("a listener")?;
    let client = LocalStream::connect(name)?;
    Ok(both_ends(length, Stream(client), Stream(listener.accept()?)).slow())
}

impl<W: Write> SendBytes for Stream<W> {
    fn send_message(&mut self, message: &[u8]) -> Result<()> {
        Ok(self.0.write_all(message)?)
    }
}

impl<R: Read> ReceiveBytes for Stream<R> {
    fn receive(&mut self, buffer: &mut [u8], look: impl FnOnce(&[u8]) -> Result<u64>) -> Result<u64> {
        self.0.read_exact(buffer)?;
        look(buffer)
    }
}
