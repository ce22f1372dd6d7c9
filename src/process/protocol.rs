//! The protocol between parent, fork server and child.
//!
//! # Layout
//! A *fork request* is a packet to a fork server, with one descriptor: the child's end of its *control stream*. (A
//! child that is executed for itself gets the same packet.) The parent writes the *spawn request* into the control
//! stream,
//! ```text
//! prologue | request | environment | manifest | arguments
//! ```
//! of which the last three are in sealed memory if they are long. Descriptors come with the prologue: the lifeline, the
//! working directory, the standard streams that are not null, and that memory. Those of the arguments follow, up to 253
//! with each byte. Then comes the *go-ahead*: its length, and the attributes that the child does not have from its
//! server. The child writes an *acknowledgement* (4 bytes: its pid) before it reads the request, one byte more when it
//! has taken the handles in its arguments, and one *report* at its end:
//! ```text
//! head | manifest | bytes
//! ```
//!
//! # Protocol
//! 1. The parent sends the server a fork request. The server forks: one child ahead, so only the first start waits for
//!    a fork.
//! 2. The child writes its acknowledgement and waits for its spawn request. Until then it has nothing of the program's.
//! 3. The parent writes the spawn request, reads its own attributes, and writes the *go-ahead*: what the child needs of
//!    those. Without a go-ahead, because the parent found that it needs another server, or died, the child ends and has
//!    run nothing.
//! 4. The server's reply names the child. If the server died before it replied, the stream decides: an acknowledgement
//!    means that there is a child; its end means that there is none and never will be one, and the request goes to
//!    another child.
//!
//! # If a process dies here
//! The server, before the reply: step 4; only the server and the child have the other end. The child, before it has the
//! request: the parent cannot write it, or the server's reply names a child that has ended like any other. The child,
//! before the taken byte: the parent releases the in-flight references of the arguments. The child, after the taken
//! byte and before it has released them itself: they count until the family ends. Server and child, both before the
//! acknowledgement: the request goes to another child, and no process knows the pid of the first to reap it. The
//! parent: step 3; after the go-ahead the child goes on, unless it is a daemon or *bound* (a pool's worker). A report
//! is read after its writer has ended: an incomplete one does not count.

use crate::entry::{Code, Panic};
use crate::segment::transfer::{EncodedMessage, MessageBytes, ReceivedMessage};
use crate::sys::attributes::Changes;
use crate::sys::image;
use crate::sys::memory::{self, SealedFile};
use crate::sys::socket::{self, MOST_FDS, UnixStream};
use crate::sys::{AsFd, Fd};
use crate::{CodecError, Os, SegmentError, SpawnError};
use bytemuck::{Pod, Zeroable};
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};

/// The first part of a spawn request.
#[derive(Serialize, Deserialize)]
pub(super) struct SpawnRequest {
    pub(super) code: Code,
    pub(super) identity: Identity,
    /// Which standard streams come along; the others are null.
    pub(super) streams: [bool; 3],
}

/// The identity of a child.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Identity {
    /// Its place in the tree: `[1, 2]` is the second child of the first child.
    pub(super) line: Vec<u32>,
    pub(super) name: String,
    pub(super) daemon: bool,
    /// Whether it ends with its parent, as a daemon does in any case.
    pub(super) bound: bool,
    pub(super) parent: Option<(u32, String)>,
}

impl Identity {
    /// The identity of a process that is no child.
    pub(super) fn called(name: &str) -> Self {
        Identity { line: Vec::new(), name: name.into(), daemon: false, bound: false, parent: None }
    }
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct RequestPrologue {
    kind: u32,
    request: u32,
    environment: u32,
    manifest: u32,
    arguments: u64,
    /// The number of bytes with descriptors that follow.
    chunks: u32,
    /// 1 if the last three parts are in sealed memory, whose descriptor is the last of the prologue's.
    sealed: u32,
}

const REQUEST: u32 = u32::from_be_bytes(*b"ordr");
const RESULT: u32 = u32::from_be_bytes(*b"rslt");
const FAILURE: u32 = u32::from_be_bytes(*b"fail");

/// The greeting of a program that was executed again: which build it is.
pub(super) fn greeting() -> [u8; 24] {
    let mut greeting = *b"xprocess................";
    greeting[8..].copy_from_slice(&image::build().to_ne_bytes());
    greeting
}

/// A packet to a server: fork a child, whose control stream comes along.
pub(super) const FORK_REQUEST: [u8; 4] = *b"call";
/// A packet to a server: watch processes, whose pidfds come along: children of the same parent, whose server is gone.
pub(super) const WATCH: [u8; 4] = *b"wtch";

/// A server's reply to a fork request.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct ForkReply {
    /// The child's pid, or 0.
    pub(super) pid: u32,
    /// The error, if there is no child.
    pub(super) errno: i32,
}

/// The parts of an order that are plain bytes, in a memory of their own if they are long.
pub(super) struct Body<'a> {
    parts: [&'a [u8]; 3],
    sealed: Option<Fd>,
}

/// Shorter contents are in the stream itself, which holds that much without a reader.
const SHORT: usize = 32 << 10;

fn write_long(parts: &[&[u8]]) -> Result<Option<Fd>, SegmentError> {
    let length = parts.iter().fold(0_usize, |sum, part| sum.saturating_add(part.len()));
    if length < SHORT { Ok(None) } else { memory::write_sealed(parts).map(Some) }
}

impl<'a> Body<'a> {
    pub(super) fn new(environment: &'a [u8], encoded: &'a EncodedMessage) -> Result<Self, SegmentError> {
        let parts = [environment, &encoded.manifest, &encoded.bytes];
        Ok(Body { parts, sealed: write_long(&parts)? })
    }
}

/// Writes a spawn request; `fds` are the prologue's, `fds_of_arguments` those of the arguments.
pub(super) fn send_request(
    stream: &UnixStream,
    request: &SpawnRequest,
    body: &Body<'_>,
    fds: &[&dyn AsFd],
    fds_of_arguments: &[Fd],
) -> Result<(), SpawnError> {
    let request = postcard::to_stdvec(request).map_err(|error| SpawnError::Encode(CodecError::new(error)))?;
    if request.len() > SHORT {
        return Err(SpawnError::Os(Os::TOO_LONG)); // a very long name
    }
    let prologue = RequestPrologue {
        kind: REQUEST,
        request: request.len() as u32,
        environment: body.parts[0].len() as u32,
        manifest: body.parts[1].len() as u32,
        arguments: body.parts[2].len() as u64,
        chunks: fds_of_arguments.len().div_ceil(MOST_FDS) as u32,
        sealed: u32::from(body.sealed.is_some()),
    };
    let mut bytes = [bytemuck::bytes_of(&prologue), &request].concat();
    if body.sealed.is_none() {
        body.parts.iter().for_each(|part| bytes.extend_from_slice(part));
    }
    let mut fds: Vec<_> = fds.iter().map(|fd| fd.as_fd()).collect();
    fds.extend(body.sealed.iter().map(AsFd::as_fd));
    socket::send(stream, &bytes, &fds)?;
    Ok(send_fds(stream, fds_of_arguments)?)
}

/// Writes the go-ahead.
pub(super) fn send_go_ahead(mut stream: &UnixStream, go_ahead: &Changes) -> Result<(), SpawnError> {
    let go_ahead = postcard::to_stdvec(go_ahead).map_err(|error| SpawnError::Encode(CodecError::new(error)))?;
    Ok(stream.write_all(&[(go_ahead.len() as u32).to_ne_bytes().as_slice(), &go_ahead].concat())?)
}

/// Waits for the go-ahead. An error also if the parent has gone away, or does not want the child.
pub(super) fn recv_go_ahead(mut stream: &UnixStream) -> io::Result<Changes> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut go_ahead = vec![0; u32::from_ne_bytes(length) as usize];
    stream.read_exact(&mut go_ahead)?;
    postcard::from_bytes(&go_ahead).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// A spawn request as the child has it.
pub(super) struct ReceivedRequest {
    pub(super) request: SpawnRequest,
    pub(super) environment: Vec<u8>,
    pub(super) arguments: ReceivedMessage,
    /// Lifeline, working directory, standard streams.
    pub(super) fds: Vec<Fd>,
}

/// Reads a spawn request. An error also if the parent has gone away, or does not want the child.
pub(super) fn recv_request(mut stream: &UnixStream) -> io::Result<ReceivedRequest> {
    let damaged = || io::Error::from(io::ErrorKind::InvalidData);
    let mut prologue = [0; size_of::<RequestPrologue>()];
    let mut fds = socket::recv(stream, &mut prologue)?;
    let prologue: RequestPrologue = bytemuck::pod_read_unaligned(&prologue);
    if prologue.kind != REQUEST {
        return Err(damaged());
    }
    let mut take = |length: u64| -> io::Result<Vec<u8>> {
        let mut part = vec![0; usize::try_from(length).map_err(|_| damaged())?];
        stream.read_exact(&mut part)?;
        Ok(part)
    };
    let (environment, manifest) = (prologue.environment as usize, prologue.manifest as usize);
    let request = take(prologue.request.into())?;
    let (environment, manifest, bytes) = if prologue.sealed == 1 {
        let sealed = fds.pop().ok_or_else(damaged)?;
        let sealed = SealedFile::open(&sealed).map_err(|_| damaged())?;
        let part = |from, to| sealed.bytes().get(from..to).map(<[u8]>::to_vec).ok_or_else(damaged);
        let arguments = environment + manifest;
        (part(0, environment)?, part(environment, arguments)?, MessageBytes::Sealed(sealed, arguments))
    } else {
        (take(environment as u64)?, take(manifest as u64)?, MessageBytes::Inline(take(prologue.arguments)?))
    };
    let request = postcard::from_bytes(&request).map_err(|_| damaged())?;
    let fds_of_arguments = recv_fds(stream, prologue.chunks as usize)?;
    Ok(ReceivedRequest {
        request,
        environment,
        arguments: ReceivedMessage { bytes, manifest, fds: fds_of_arguments, taken: None },
        fds,
    })
}

/// Writes descriptors into a control stream, which does not block.
fn send_fds(stream: &UnixStream, fds: &[Fd]) -> io::Result<()> {
    fds.chunks(MOST_FDS).try_for_each(|chunk| socket::send(stream, &[0], chunk))
}

/// Reads them.
fn recv_fds(stream: &UnixStream, chunks: usize) -> io::Result<Vec<Fd>> {
    let mut fds = Vec::new();
    for _ in 0..chunks {
        fds.extend(socket::recv(stream, &mut [0])?);
    }
    Ok(fds)
}

pub(super) const ACK: usize = 4;
/// Follows the acknowledgement of a child whose arguments contain handles: the handles are the child's.
pub(super) const ARGUMENTS_TAKEN: [u8; 1] = *b"!";

/// The list of handles in arguments, if there are any: without them it is two bytes.
pub(super) fn handles_of(manifest: &[u8]) -> Option<Vec<u8>> {
    (manifest.len() > 2).then(|| manifest.to_vec())
}

/// The outcome of a call.
pub(super) enum ChildReport {
    Returned(ReceivedMessage),
    Failed(ChildFailure),
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ChildFailure {
    Panicked(Panic),
    /// Arguments that cannot be decoded, or a result that cannot be encoded.
    Codec(CodecError),
    Os(Os),
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct ReportHead {
    kind: u32,
    /// The number of bytes with descriptors that follow.
    chunks: u32,
    /// 1 if manifest and bytes are in sealed memory, whose descriptor came with this.
    sealed: u32,
    manifest: u32,
    bytes: u64,
}

/// Reports a result, whose handles are the parent's from then on.
pub(super) fn report_result(stream: &UnixStream, encoded: EncodedMessage) -> Result<(), SegmentError> {
    report(stream, RESULT, &encoded.manifest, &encoded.bytes, &encoded.fds)?;
    encoded.delivered();
    Ok(())
}

pub(super) fn report_failure(stream: &UnixStream, failure: &ChildFailure) -> Result<(), SegmentError> {
    let bytes = postcard::to_stdvec(failure).map_err(|error| SegmentError::Invalid(error.to_string()))?;
    report(stream, FAILURE, &[], &bytes, &[])
}

fn report(mut stream: &UnixStream, kind: u32, manifest: &[u8], bytes: &[u8], fds: &[Fd]) -> Result<(), SegmentError> {
    let sealed = write_long(&[manifest, bytes])?;
    let head = ReportHead {
        kind,
        chunks: fds.len().div_ceil(MOST_FDS) as u32,
        sealed: u32::from(sealed.is_some()),
        manifest: manifest.len() as u32,
        bytes: bytes.len() as u64,
    };
    socket::send(stream, bytemuck::bytes_of(&head), sealed.as_slice())?;
    send_fds(stream, fds)?;
    if sealed.is_none() {
        stream.write_all(&[manifest, bytes].concat())?;
    }
    Ok(())
}

/// Reads the report of a child that has ended; `None` if it made none. The acknowledgement has been read.
pub(super) fn read_report(stream: &UnixStream) -> Option<ChildReport> {
    let mut head = [0; size_of::<ReportHead>()];
    let sealed = socket::recv(stream, &mut head).ok()?;
    let head: ReportHead = bytemuck::pod_read_unaligned(&head);
    let fds = recv_fds(stream, head.chunks as usize).ok()?;
    let split = head.manifest as usize;
    let (manifest, bytes) = match sealed.first() {
        Some(sealed) if head.sealed == 1 => {
            let sealed = SealedFile::open(sealed).ok()?;
            (sealed.bytes().get(..split)?.to_vec(), MessageBytes::Sealed(sealed, split))
        }
        _ => {
            let length = split.checked_add(head.bytes as usize).filter(|length| *length < SHORT)?;
            let mut manifest = vec![0; length];
            let mut stream = stream;
            stream.read_exact(&mut manifest).ok()?;
            let bytes = manifest.split_off(split);
            (manifest, MessageBytes::Inline(bytes))
        }
    };
    match head.kind {
        RESULT => Some(ChildReport::Returned(ReceivedMessage { bytes, manifest, fds, taken: None })),
        FAILURE => postcard::from_bytes(bytes.as_slice()).ok().map(ChildReport::Failed),
        _ => None,
    }
}
