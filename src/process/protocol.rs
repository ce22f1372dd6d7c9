//! What parent, server and child tell each other.
//!
//! # Layout
//! A *call* is a packet to a fork server, with one descriptor: the child's end of its *control stream*. (A child that is
//! executed for itself gets the same packet.) On the control stream the parent writes the *order*,
//! ```text
//! prologue | order | environment | manifest | arguments
//! ```
//! of which the last three are in a sealed memory if they are long. The prologue comes with descriptors: parent's end, working
//! folder, the standard streams that are not null, that memory; those of the arguments follow, up to 253 with each byte.
//! Then comes the *word*: its length, and what the child does not have from its server.
//! The child answers with its *hello* (4 bytes: its number) before it reads the order, with one byte more when it has taken
//! the handles in its arguments, and at its end with one *report*:
//! ```text
//! head | manifest | bytes
//! ```
//!
//! # Protocol
//! 1. The parent calls the server, which forks: for the next order, so that none has to wait for a fork but the first.
//! 2. The child says hello and waits for its order. Meanwhile it does nothing and has nothing of the program's.
//! 3. The parent writes the order, looks at its own surroundings, and writes the *word*: what the child needs of those. Without
//!    the word, since the parent found that it needs another server, or died, the child ends and has run nothing.
//! 4. The server's answer names the child. If the server died before it answered, the stream tells: a hello, then there is
//!    a child; or its end, then there is none and never will be one, and the order goes to another child.
//!
//! # If a process dies here
//! The server, before the answer: step 4; nobody but it and the child has the other end. The child, before it has the order:
//! the parent cannot write it, or the server's answer names a child that has ended like any other. Before that one byte: the
//! parent gives up the handles in the arguments. Right behind it, before the child has: they count until the family ends. If server and child both
//! die before the hello, the order goes to another child, and nobody knows the number of the first to reap it. The
//! parent: step 3; behind it the child goes on, unless it is a daemon. A report is read when its writer has ended: a cut
//! one is none.

use crate::entry::Code;
use crate::segment::transfer::{EncodedMessage, MessageBytes, ReceivedMessage};
use crate::sys::attributes::Changes;
use crate::sys::memory::{self, Letter};
use crate::sys::socket::{self, MOST_FDS, UnixStream};
use crate::sys::{AsFd, Fd};
use crate::{CodecError, Os, SegmentError, SpawnError};
use bytemuck::{Pod, Zeroable};
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};

/// The first part of an order.
#[derive(Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) code: Code,
    pub(super) who: Who,
    /// Which standard streams come along; the others are null.
    pub(super) streams: [bool; 3],
}

/// Who a child is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Who {
    /// Which child of which child: `[1, 2]` is the second child of the first child.
    pub(super) line: Vec<u32>,
    pub(super) name: String,
    pub(super) daemon: bool,
    /// Whether it ends with its parent, as a daemon does in any case.
    pub(super) bound: bool,
    pub(super) parent: Option<(u32, String)>,
}

impl Who {
    /// Nobody's child.
    pub(super) fn called(name: &str) -> Self {
        Who { line: Vec::new(), name: name.into(), daemon: false, bound: false, parent: None }
    }
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Prologue {
    kind: u32,
    order: u32,
    environment: u32,
    manifest: u32,
    arguments: u64,
    /// How many bytes with descriptors follow.
    chunks: u32,
    /// 1 if the last three parts are in a memory, whose descriptor is the last of the prologue's.
    letter: u32,
}

const ORDER: u32 = u32::from_be_bytes(*b"ordr");
const RESULT: u32 = u32::from_be_bytes(*b"rslt");
const FAILURE: u32 = u32::from_be_bytes(*b"fail");

/// A packet to a server: make a child, whose control stream comes along.
pub(super) const CALL: [u8; 4] = *b"call";
/// Watch processes, whose descriptors come along: children of the same parent, whose server is gone.
pub(super) const WATCH: [u8; 4] = *b"wtch";

/// The parts of an order that are plain bytes, in a memory of their own if they are long.
pub(super) struct Body<'a> {
    parts: [&'a [u8]; 3],
    letter: Option<Fd>,
}

/// What is shorter stands in the stream itself, which holds that much without a reader.
const SHORT: usize = 32 << 10;

fn write_long(parts: &[&[u8]]) -> Result<Option<Fd>, SegmentError> {
    let length = parts.iter().fold(0_usize, |sum, part| sum.saturating_add(part.len()));
    if length < SHORT { Ok(None) } else { memory::write_letter(parts).map(Some) }
}

impl<'a> Body<'a> {
    pub(super) fn new(environment: &'a [u8], packed: &'a EncodedMessage) -> Result<Self, SegmentError> {
        let parts = [environment, &packed.manifest, &packed.bytes];
        Ok(Body { parts, letter: write_long(&parts)? })
    }
}

/// Writes an order; `fds` are the prologue's, `baggage` the arguments' descriptors.
pub(super) fn send_order(
    stream: &UnixStream,
    order: &Order,
    body: &Body<'_>,
    fds: &[&dyn AsFd],
    baggage: &[Fd],
) -> Result<(), SpawnError> {
    let order = postcard::to_stdvec(order).map_err(|error| SpawnError::Encode(CodecError(error.to_string())))?;
    if order.len() > SHORT {
        return Err(SpawnError::Os(Os::TOO_LONG)); // a name of such a length
    }
    let prologue = Prologue {
        kind: ORDER,
        order: order.len() as u32,
        environment: body.parts[0].len() as u32,
        manifest: body.parts[1].len() as u32,
        arguments: body.parts[2].len() as u64,
        chunks: baggage.len().div_ceil(MOST_FDS) as u32,
        letter: u32::from(body.letter.is_some()),
    };
    let mut bytes = [bytemuck::bytes_of(&prologue), &order].concat();
    if body.letter.is_none() {
        body.parts.iter().for_each(|part| bytes.extend_from_slice(part));
    }
    let mut fds: Vec<_> = fds.iter().map(|fd| fd.as_fd()).collect();
    fds.extend(body.letter.iter().map(AsFd::as_fd));
    socket::send(stream, &bytes, &fds)?;
    Ok(send_fds(stream, baggage)?)
}

/// Writes the word that sets the child off.
pub(super) fn send_word(mut stream: &UnixStream, word: &Changes) -> Result<(), SpawnError> {
    let word = postcard::to_stdvec(word).map_err(|error| SpawnError::Encode(CodecError(error.to_string())))?;
    Ok(stream.write_all(&[(word.len() as u32).to_ne_bytes().as_slice(), &word].concat())?)
}

/// Waits for the word. An error where the parent went away, or let it be.
pub(super) fn recv_word(mut stream: &UnixStream) -> io::Result<Changes> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut word = vec![0; u32::from_ne_bytes(length) as usize];
    stream.read_exact(&mut word)?;
    postcard::from_bytes(&word).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// An order as the child has it.
pub(super) struct Received {
    pub(super) order: Order,
    pub(super) environment: Vec<u8>,
    pub(super) arguments: ReceivedMessage,
    /// Parent's end, working folder, standard streams.
    pub(super) fds: Vec<Fd>,
}

/// Reads an order. An error also where the parent went away, or let it be.
pub(super) fn recv_order(mut stream: &UnixStream) -> io::Result<Received> {
    let damaged = || io::Error::from(io::ErrorKind::InvalidData);
    let mut prologue = [0; size_of::<Prologue>()];
    let mut fds = socket::recv(stream, &mut prologue)?;
    let prologue: Prologue = bytemuck::pod_read_unaligned(&prologue);
    if prologue.kind != ORDER {
        return Err(damaged());
    }
    let mut take = |length: u64| -> io::Result<Vec<u8>> {
        let mut part = vec![0; usize::try_from(length).map_err(|_| damaged())?];
        stream.read_exact(&mut part)?;
        Ok(part)
    };
    let (environment, manifest) = (prologue.environment as usize, prologue.manifest as usize);
    let order = take(prologue.order.into())?;
    let (environment, manifest, bytes) = if prologue.letter == 1 {
        let letter = fds.pop().ok_or_else(damaged)?;
        let letter = Letter::open(&letter).map_err(|_| damaged())?;
        let part = |from, to| letter.bytes().get(from..to).map(<[u8]>::to_vec).ok_or_else(damaged);
        let arguments = environment + manifest;
        (part(0, environment)?, part(environment, arguments)?, MessageBytes::Sealed(letter, arguments))
    } else {
        (take(environment as u64)?, take(manifest as u64)?, MessageBytes::Inline(take(prologue.arguments)?))
    };
    let order = postcard::from_bytes(&order).map_err(|_| damaged())?;
    let baggage = recv_fds(stream, prologue.chunks as usize)?;
    Ok(Received { order, environment, arguments: ReceivedMessage { bytes, manifest, fds: baggage, taken: None }, fds })
}

/// Puts descriptors into a control stream, which does not block.
fn send_fds(stream: &UnixStream, fds: &[Fd]) -> io::Result<()> {
    fds.chunks(MOST_FDS).try_for_each(|chunk| socket::send(stream, &[0], chunk))
}

/// Takes them out.
fn recv_fds(stream: &UnixStream, chunks: usize) -> io::Result<Vec<Fd>> {
    let mut fds = Vec::new();
    for _ in 0..chunks {
        fds.extend(socket::recv(stream, &mut [0])?);
    }
    Ok(fds)
}

pub(super) const HELLO: usize = 4;
/// Behind the hello of a child whose arguments have handles in them: these are the child's.
pub(super) const TAKEN: [u8; 1] = *b"!";

/// The list of handles in arguments, if there are any: without them it is two bytes.
pub(super) fn handles_in(manifest: &[u8]) -> Option<Vec<u8>> {
    (manifest.len() > 2).then(|| manifest.to_vec())
}

/// What became of a call.
pub(super) enum Report {
    Returned(ReceivedMessage),
    Failed(Failure),
}

/// What a panic said.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Panic {
    pub(crate) message: String,
    pub(crate) location: Option<String>,
    pub(crate) backtrace: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Failure {
    Panicked(Panic),
    /// Arguments that cannot be decoded, or a result that cannot be encoded.
    Codec(CodecError),
    Os(Os),
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct ReportHead {
    kind: u32,
    /// How many bytes with descriptors follow.
    chunks: u32,
    /// 1 if manifest and bytes are in a memory whose descriptor came with this.
    letter: u32,
    manifest: u32,
    bytes: u64,
}

/// Reports a result, whose handles are the parent's from then on.
pub(super) fn report_result(stream: &UnixStream, packed: EncodedMessage) -> Result<(), SegmentError> {
    report(stream, RESULT, &packed.manifest, &packed.bytes, &packed.fds)?;
    packed.delivered();
    Ok(())
}

pub(super) fn report_failure(stream: &UnixStream, failure: &Failure) -> Result<(), SegmentError> {
    let bytes = postcard::to_stdvec(failure).map_err(|error| SegmentError::Invalid(error.to_string()))?;
    report(stream, FAILURE, &[], &bytes, &[])
}

fn report(mut stream: &UnixStream, kind: u32, manifest: &[u8], bytes: &[u8], fds: &[Fd]) -> Result<(), SegmentError> {
    let letter = write_long(&[manifest, bytes])?;
    let head = ReportHead {
        kind,
        chunks: fds.len().div_ceil(MOST_FDS) as u32,
        letter: u32::from(letter.is_some()),
        manifest: manifest.len() as u32,
        bytes: bytes.len() as u64,
    };
    socket::send(stream, bytemuck::bytes_of(&head), letter.as_slice())?;
    send_fds(stream, fds)?;
    if letter.is_none() {
        stream.write_all(&[manifest, bytes].concat())?;
    }
    Ok(())
}

/// Reads the report of a child that has ended; none if it made none. The hello is read before.
pub(super) fn read_report(stream: &UnixStream) -> Option<Report> {
    let mut head = [0; size_of::<ReportHead>()];
    let letter = socket::recv(stream, &mut head).ok()?;
    let head: ReportHead = bytemuck::pod_read_unaligned(&head);
    let fds = recv_fds(stream, head.chunks as usize).ok()?;
    let split = head.manifest as usize;
    let (manifest, bytes) = match letter.first() {
        Some(letter) if head.letter == 1 => {
            let letter = Letter::open(letter).ok()?;
            (letter.bytes().get(..split)?.to_vec(), MessageBytes::Sealed(letter, split))
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
        RESULT => Some(Report::Returned(ReceivedMessage { bytes, manifest, fds, taken: None })),
        FAILURE => postcard::from_bytes(bytes.as_slice()).ok().map(Report::Failed),
        _ => None,
    }
}
