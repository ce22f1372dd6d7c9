//! Messages with handles over a Unix socket.
//!
//! # Layout
//! ```text
//! header     magic, number of descriptors, lengths of manifest and message
//! 1 byte     with up to 253 descriptors, repeated for all of them
//! manifest
//! message
//! ```
//!
//! # If a process dies here
//! If the sender dies before the last byte, the receiver gets [`TransferError::Eof`].

use super::message::{MessageBytes, ReceivedMessage, encode};
use crate::sys::socket::{self, MOST_FDS, UnixStream};
use crate::sys::{Fd, process_id};
use crate::{CodecError, TransferError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{Read, Write};

/// Header of a message on a socket.
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

/// Sends a message over a Unix socket, with the handles in it.
///
/// The receiver may be any process of the same user that uses the same version of this crate: a child that inherited
/// the socket, or another program. It need not have the memory of the handles yet. Blocks until the message is written.
///
/// # Errors
/// [`Encode`](TransferError::Encode) if the message cannot be encoded, [`WrongOwner`](TransferError::WrongOwner) if the
/// peer runs as another user, else the system's error. After an error the stream may contain half a message: close it.
///
/// # When a process dies
/// If the sender dies before the last byte is sent, the receiver gets [`Eof`](TransferError::Eof). Objects whose
/// handles were in a message that no process received keep their memory until the last process that uses the same arena
/// ends.
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

/// Receives a message that was sent by [`send`]. Blocks until it has arrived.
///
/// # Errors
/// [`Eof`](TransferError::Eof) if the peer has closed the socket or died. [`Decode`](TransferError::Decode) if the
/// bytes are not a message of this type, a handle has another type, or its memory cannot be attached.
/// [`WrongOwner`](TransferError::WrongOwner) if the peer runs as another user. Else the system's error. Memory that a
/// peer sends is checked before it is used.
///
/// After `Decode` the next call receives the next message. After any other error, such as a timeout of the socket, the
/// stream may be inside a message: close it.
///
/// # When a process dies
/// See [`send`].
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
    let bad = |what: &str| TransferError::Decode(CodecError::new(what));
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

/// Reads `length` bytes. The memory for them grows as they arrive.
fn read(stream: &UnixStream, length: u64) -> Result<Vec<u8>, TransferError> {
    let mut bytes = Vec::new();
    stream.take(length).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == length { Ok(bytes) } else { Err(TransferError::Eof) }
}
