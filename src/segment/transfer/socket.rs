//! Messages with handles over a Unix socket.
//!
//! # If a process dies here
//! A sender that dies before the last byte leaves the receiver with [`TransferError::Eof`].

use super::message::{MessageBytes, ReceivedMessage, encode};
use crate::sys::socket::{self, MOST_FDS, UnixStream};
use crate::sys::{Fd, process_id};
use crate::{CodecError, TransferError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{Read, Write};

/// What stands in front of a message on a socket.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct StreamHeader {
    magic: u32,
    fds: u32,
    manifest: u64,
    bytes: u64,
}
const MAGIC: u32 = u32::from_be_bytes(*b"xprc");
const LARGEST_MANIFEST: u64 = 64 << 20;

/// Sends a message over a Unix socket, with the handles that are in it.
///
/// The receiver may be any process of the same user that uses the same version of this crate: a child that inherited the
/// socket, or another program. It need not have seen the handles' memory before. Blocks until the message is written.
///
/// # Errors
/// [`Encode`](TransferError::Encode) when the message cannot be encoded, [`WrongOwner`](TransferError::WrongOwner) when the
/// peer runs as another user, else what the system said. After an error the stream may hold half a message: close it.
///
/// # When a process dies
/// The receiver gets [`Eof`](TransferError::Eof) if the sender died before the last byte. Objects whose handles were in a
/// message that nobody received keep their memory until the last process that uses the same arena ends.
///
/// ```
/// use crossproc::{Value, transfer};
/// let (here, there) = std::os::unix::net::UnixStream::pair()?;
/// let value = Value::new(41)?;
/// transfer::send(&here, &("answer", &value))?;
/// let (name, same): (String, Value<i32>) = transfer::recv(&there)?;
/// *same.lock()? += 1;
/// assert_eq!((name.as_str(), value.get()), ("answer", 42));
/// # Ok::<(), crossproc::Error>(())
/// ```
pub fn send<T: Serialize + ?Sized>(stream: &UnixStream, message: &T) -> Result<(), TransferError> {
    if socket::peer_user(stream)? != process_id::user() {
        return Err(TransferError::WrongOwner);
    }
    let encoded = encode(message).map_err(TransferError::Encode)?;
    let header = StreamHeader {
        magic: MAGIC,
        fds: encoded.fds.len() as u32,
        manifest: encoded.manifest.len() as u64,
        bytes: encoded.bytes.len() as u64,
    };
    socket::send(stream, bytemuck::bytes_of(&header), &[] as &[Fd])?;
    for fds in encoded.fds.chunks(MOST_FDS) {
        socket::send(stream, &[0], fds)?;
    }
    let mut stream = stream;
    stream.write_all(&encoded.manifest)?;
    stream.write_all(&encoded.bytes)?;
    encoded.delivered();
    Ok(())
}

/// Receives a message that [`send`] sent. Blocks until it is there.
///
/// # Errors
/// [`Eof`](TransferError::Eof) when the peer has closed or died, [`Decode`](TransferError::Decode) when the bytes are no such
/// message, a handle is of another type, or its memory cannot be attached; [`WrongOwner`](TransferError::WrongOwner) when
/// the peer runs as another user; else what the system said. Memory that a peer sends is checked before it is used.
/// After `Decode` the stream stands at the next message; after any other error, a timeout of the socket among them, it may
/// stand inside one: close it.
///
/// # When a process dies
/// See [`send`], which has an example too.
///
/// ```
/// use crossproc::{TransferError, transfer};
/// let (here, there) = std::os::unix::net::UnixStream::pair()?;
/// transfer::send(&here, "hello")?;
/// assert_eq!(transfer::recv::<String>(&there)?, "hello");
/// drop(here);
/// assert_eq!(transfer::recv::<String>(&there), Err(TransferError::Eof));
/// # Ok::<(), crossproc::Error>(())
/// ```
pub fn recv<T: DeserializeOwned>(stream: &UnixStream) -> Result<T, TransferError> {
    if socket::peer_user(stream)? != process_id::user() {
        return Err(TransferError::WrongOwner);
    }
    let bad = |what: &str| TransferError::Decode(CodecError(what.into()));
    let mut header = [0; size_of::<StreamHeader>()];
    socket::recv(stream, &mut header)?;
    let header: StreamHeader = bytemuck::pod_read_unaligned(&header);
    if header.magic != MAGIC || header.manifest > LARGEST_MANIFEST {
        return Err(bad("not a message of crossproc::transfer"));
    }
    let mut fds = Vec::new();
    while fds.len() < header.fds as usize {
        let more = socket::recv(stream, &mut [0])?;
        if more.is_empty() {
            return Err(bad("file descriptors are missing"));
        }
        fds.extend(more);
    }
    let manifest = read(stream, header.manifest)?;
    let bytes = read(stream, header.bytes)?;
    ReceivedMessage { bytes: MessageBytes::Inline(bytes), manifest, fds, taken: None }
        .decode()
        .map_err(TransferError::Decode)
}

/// Reads that many bytes; memory grows with what really comes.
fn read(stream: &UnixStream, length: u64) -> Result<Vec<u8>, TransferError> {
    let mut bytes = Vec::new();
    stream.take(length).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == length { Ok(bytes) } else { Err(TransferError::Eof) }
}
