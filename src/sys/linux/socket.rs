//! Unix sockets: a stream of bytes, or a link of whole packets, with file descriptors (`SCM_RIGHTS`).

use super::{Deadline, syscall};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
pub(crate) use std::os::unix::net::UnixStream;

/// The kernel passes at most 253 descriptors at once.
pub(crate) const MOST_FDS: usize = 253;
const ROOM: usize = 2048; // bytes of control data: 16 + 4 * 253, and to spare

#[repr(C, align(8))]
struct Control([u8; ROOM]);

/// Sends all of `bytes`. The descriptors go with the first byte.
pub(crate) fn send(stream: &UnixStream, bytes: &[u8], fds: &[impl AsFd]) -> io::Result<()> {
    let sent = send_once(stream.as_raw_fd(), bytes, fds, 0)?;
    let mut stream = stream;
    stream.write_all(&bytes[sent..])
}

fn send_once(socket: RawFd, bytes: &[u8], fds: &[impl AsFd], flags: libc::c_int) -> io::Result<usize> {
    if fds.len() > MOST_FDS || bytes.is_empty() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let raw: Vec<libc::c_int> = fds.iter().map(super::as_number).collect();
    let mut control = Control([0; ROOM]);
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let mut message = empty_message(&mut part);
    if !raw.is_empty() {
        let size = size_of_val(raw.as_slice()) as u32;
        message.msg_control = control.0.as_mut_ptr().cast();
        // SAFETY: CMSG_* compute inside the control buffer of ROOM bytes, enough for MOST_FDS (checked).
        unsafe {
            message.msg_controllen = libc::CMSG_SPACE(size) as _;
            let header = libc::CMSG_FIRSTHDR(&message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(size) as _;
            std::ptr::copy_nonoverlapping(raw.as_ptr().cast::<u8>(), libc::CMSG_DATA(header), size as usize);
        }
    }
    Ok(syscall!(libc::sendmsg(socket, &message, libc::MSG_NOSIGNAL | flags))? as usize)
}

/// Fills `bytes`. Returns the descriptors that came with them, close-on-exec.
pub(crate) fn recv(stream: &UnixStream, bytes: &mut [u8]) -> io::Result<Vec<OwnedFd>> {
    let (got, fds, whole) = recv_once(stream.as_raw_fd(), bytes, 0)?;
    check(whole)?;
    if got == 0 && !bytes.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut stream = stream;
    stream.read_exact(&mut bytes[got..])?;
    Ok(fds)
}

fn check(whole: bool) -> io::Result<()> {
    if whole { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::EMFILE)) }
}

/// The number of bytes, and the descriptors; false if there was no room for all of them.
fn recv_once(socket: RawFd, bytes: &mut [u8], flags: libc::c_int) -> io::Result<(usize, Vec<OwnedFd>, bool)> {
    let mut control = Control([0; ROOM]);
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    let mut message = empty_message(&mut part);
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = ROOM as _;
    let got = syscall!(libc::recvmsg(socket, &mut message, libc::MSG_CMSG_CLOEXEC | flags))?;
    let fds = take_fds(&message);
    Ok((got as usize, fds, message.msg_flags & libc::MSG_CTRUNC == 0))
}

/// Identifies the socket of a descriptor, whatever its number.
pub(crate) fn identity(socket: &impl AsFd) -> Option<(u64, u64)> {
    // SAFETY: plain data, for which zeros are valid.
    let mut data: libc::stat = unsafe { std::mem::zeroed() };
    syscall!(libc::fstat(super::as_number(socket), &mut data)).ok()?;
    #[allow(clippy::unnecessary_cast, reason = "of other widths on other systems")]
    Some((data.st_dev as u64, data.st_ino as u64))
}

/// Copies the first bytes that have arrived, and leaves them there.
pub(crate) fn peek(stream: &UnixStream, bytes: &mut [u8]) -> io::Result<usize> {
    let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
    let got = syscall!(libc::recv(stream.as_raw_fd(), bytes.as_mut_ptr().cast(), bytes.len(), flags))?;
    Ok(got as usize)
}

/// One end of a pair for whole packets: a killed sender leaves all of a packet or nothing.
#[derive(Debug)]
pub(crate) struct Link(OwnedFd);

impl Link {
    pub(crate) fn pair() -> io::Result<(Self, Self)> {
        let mut ends = [0; 2];
        let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
        syscall!(libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()))?;
        // SAFETY: two new descriptors that nothing else owns.
        unsafe { Ok((Link(OwnedFd::from_raw_fd(ends[0])), Link(OwnedFd::from_raw_fd(ends[1])))) }
    }

    /// An end that came from another process, if it is one.
    pub(crate) fn of(fd: OwnedFd) -> Option<Self> {
        let mut kind: libc::c_int = 0;
        let mut size = size_of_val(&kind) as libc::socklen_t;
        let option = (libc::SOL_SOCKET, libc::SO_TYPE);
        let call = syscall!(libc::getsockopt(fd.as_raw_fd(), option.0, option.1, (&raw mut kind).cast(), &mut size));
        (call.is_ok() && kind == libc::SOCK_SEQPACKET).then_some(Link(fd))
    }

    pub(crate) fn send(&self, bytes: &[u8], fds: &[impl AsFd]) -> io::Result<()> {
        send_once(self.0.as_raw_fd(), bytes, fds, 0).map(drop)
    }

    /// Sends one packet; `WouldBlock` where it would have to wait.
    pub(crate) fn try_send(&self, bytes: &[u8], fds: &[impl AsFd]) -> io::Result<()> {
        send_once(self.0.as_raw_fd(), bytes, fds, libc::MSG_DONTWAIT).map(drop)
    }

    /// From here on [`Link::peek_packet`] starts at the first packet.
    pub(crate) fn peek_from_the_first(&self) -> io::Result<()> {
        let first: libc::c_int = 0;
        let option = (libc::SOL_SOCKET, libc::SO_PEEK_OFF);
        let size = size_of_val(&first) as libc::socklen_t;
        syscall!(libc::setsockopt(self.0.as_raw_fd(), option.0, option.1, (&raw const first).cast(), size)).map(drop)
    }

    /// Copies the next packet, which stays there, and duplicates its descriptors; `None` after the last.
    pub(crate) fn peek_packet<'a>(&self, bytes: &'a mut [u8]) -> io::Result<Option<(&'a [u8], Vec<OwnedFd>)>> {
        self.take_now(bytes, libc::MSG_PEEK)
    }

    /// The next packet, if there is one.
    pub(crate) fn try_recv<'a>(&self, bytes: &'a mut [u8]) -> io::Result<Option<(&'a [u8], Vec<OwnedFd>)>> {
        self.take_now(bytes, 0)
    }

    fn take_now<'a>(&self, bytes: &'a mut [u8], flags: libc::c_int) -> io::Result<Option<(&'a [u8], Vec<OwnedFd>)>> {
        match recv_once(self.0.as_raw_fd(), bytes, flags | libc::MSG_DONTWAIT) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
            Ok((got, fds, whole)) => {
                check(whole)?;
                Ok((got > 0).then_some((&bytes[..got], fds)))
            }
        }
    }

    /// Waits for the next packet. `bytes` must have room for it. `None` at the end of the link.
    pub(crate) fn recv<'a>(&self, bytes: &'a mut [u8]) -> io::Result<Option<(&'a [u8], Vec<OwnedFd>)>> {
        let (got, fds, whole) = recv_once(self.0.as_raw_fd(), bytes, 0)?;
        check(whole)?;
        Ok((got > 0).then_some((&bytes[..got], fds)))
    }

    /// Like [`Link::recv`], but also without the descriptors, if this process has no room for them.
    pub(crate) fn recv_as_far_as_possible<'a>(
        &self,
        bytes: &'a mut [u8],
    ) -> io::Result<Option<(&'a [u8], Vec<OwnedFd>)>> {
        let (got, fds, _) = recv_once(self.0.as_raw_fd(), bytes, 0)?;
        Ok((got > 0).then_some((&bytes[..got], fds)))
    }

    /// Whether a packet or the end has arrived before the deadline.
    pub(crate) fn poll(&self, deadline: Deadline) -> bool {
        super::poll::readable(self.0.as_raw_fd(), Some(deadline))
    }

    /// The process that made the pair.
    pub(crate) fn maker(&self) -> io::Result<u32> {
        peer(self.0.as_raw_fd()).map(|peer| peer.pid as u32)
    }

    /// Another descriptor of the same end.
    pub(crate) fn duplicate(&self) -> io::Result<OwnedFd> {
        self.0.try_clone()
    }

    /// The descriptor itself, to pass to another program.
    pub(crate) fn into_fd(self) -> OwnedFd {
        self.0
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn empty_message(part: &mut libc::iovec) -> libc::msghdr {
    // SAFETY: plain data, for which zeros are valid.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = part;
    message.msg_iovlen = 1;
    message
}

fn take_fds(message: &libc::msghdr) -> Vec<OwnedFd> {
    let mut fds = Vec::new();
    // SAFETY: the kernel filled the control buffer; the CMSG_* walk stays inside its length.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(message);
        while !header.is_null() {
            if ((*header).cmsg_level, (*header).cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
                let size = (*header).cmsg_len as usize - libc::CMSG_LEN(0) as usize;
                let data = libc::CMSG_DATA(header).cast::<libc::c_int>();
                for i in 0..size / size_of::<libc::c_int>() {
                    fds.push(OwnedFd::from_raw_fd(data.add(i).read_unaligned()));
                }
            }
            header = libc::CMSG_NXTHDR(message, header);
        }
    }
    fds
}

/// The user of the peer when the connection was made.
pub(crate) fn peer_user(stream: &UnixStream) -> io::Result<u32> {
    peer(stream.as_raw_fd()).map(|peer| peer.uid)
}

fn peer(socket: RawFd) -> io::Result<libc::ucred> {
    let mut peer = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut size = size_of::<libc::ucred>() as libc::socklen_t;
    let option = (libc::SOL_SOCKET, libc::SO_PEERCRED);
    syscall!(libc::getsockopt(socket, option.0, option.1, (&raw mut peer).cast(), &mut size))?;
    Ok(peer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_travel_with_their_bytes() {
        let (a, b) = UnixStream::pair().unwrap();
        let fd = super::super::memory::anonymous(4096, 0).unwrap();
        let again = fd.try_clone().unwrap();
        send(&a, b"hello", &[fd, again]).unwrap();
        let mut bytes = [0; 5];
        let fds = recv(&b, &mut bytes).unwrap();
        assert_eq!((&bytes, fds.len()), (b"hello", 2));
        assert_eq!(super::super::memory::accept(&fds[0]), Ok(4096));
        let (one, other) = Link::pair().unwrap();
        one.send(b"packet", &fds).unwrap();
        let mut bytes = [0; 100];
        let (packet, fds) = other.recv(&mut bytes).unwrap().unwrap();
        assert_eq!((packet, fds.len()), (&b"packet"[..], 2));
        for number in [1, 2, 3_u8] {
            one.try_send(&[number], &fds).unwrap();
        }
        for _ in 0..2 {
            other.peek_from_the_first().unwrap();
            for number in [1, 2, 3_u8] {
                let (packet, fds) = other.peek_packet(&mut bytes).unwrap().unwrap();
                assert_eq!((packet, fds.len()), (&[number][..], 2), "looking takes nothing");
            }
            assert!(other.peek_packet(&mut bytes).unwrap().is_none());
        }
        for number in [1, 2, 3_u8] {
            assert_eq!(other.try_recv(&mut bytes).unwrap().unwrap().0, [number]);
        }
        assert!(other.try_recv(&mut bytes).unwrap().is_none());
        drop(one);
        assert!(other.recv(&mut bytes).unwrap().is_none());
        drop(a);
        let mut bytes = [0; 5];
        assert_eq!(recv(&b, &mut bytes).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(peer_user(&b).unwrap(), crate::sys::process_id::user());
    }
}
