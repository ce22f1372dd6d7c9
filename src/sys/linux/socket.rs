//! Unix sockets: a stream of bytes along which file descriptors travel (`SCM_RIGHTS`).

use super::syscall;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
pub(crate) use std::os::unix::net::UnixStream;

/// The kernel passes at most 253 descriptors at once.
pub(crate) const MOST_FDS: usize = 253;
const ROOM: usize = 2048; // bytes of control data: 16 + 4 * 253, and to spare

#[repr(C, align(8))]
struct Control([u8; ROOM]);

/// Sends all of `bytes`; the descriptors go with the first.
pub(crate) fn send(stream: &UnixStream, bytes: &[u8], fds: &[OwnedFd]) -> io::Result<()> {
    if fds.len() > MOST_FDS || bytes.is_empty() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let raw: Vec<libc::c_int> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let mut control = Control([0; ROOM]);
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let mut message = empty_message(&mut part);
    if !raw.is_empty() {
        let size = size_of_val(raw.as_slice()) as u32;
        message.msg_control = control.0.as_mut_ptr().cast();
        // SAFETY: CMSG_* compute inside the control buffer, which holds ROOM bytes, enough for MOST_FDS (checked).
        unsafe {
            message.msg_controllen = libc::CMSG_SPACE(size) as _;
            let header = libc::CMSG_FIRSTHDR(&message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(size) as _;
            std::ptr::copy_nonoverlapping(raw.as_ptr().cast::<u8>(), libc::CMSG_DATA(header), size as usize);
        }
    }
    let sent = syscall!(libc::sendmsg(stream.as_raw_fd(), &message, libc::MSG_NOSIGNAL))?;
    let mut stream = stream;
    stream.write_all(&bytes[sent as usize..])
}

/// Fills `bytes`; gives the descriptors that came with them, close-on-exec.
pub(crate) fn recv(stream: &UnixStream, bytes: &mut [u8]) -> io::Result<Vec<OwnedFd>> {
    let mut control = Control([0; ROOM]);
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    let mut message = empty_message(&mut part);
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = ROOM as _;
    let got = syscall!(libc::recvmsg(stream.as_raw_fd(), &mut message, libc::MSG_CMSG_CLOEXEC))?;
    let fds = take_fds(&message);
    if message.msg_flags & libc::MSG_CTRUNC != 0 {
        return Err(io::Error::from_raw_os_error(libc::EMFILE)); // out of descriptors
    }
    if got == 0 && !bytes.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut stream = stream;
    stream.read_exact(&mut bytes[got as usize..])?;
    Ok(fds)
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

/// The user that the peer ran as when the connection was made.
pub(crate) fn peer_user(stream: &UnixStream) -> io::Result<u32> {
    let mut peer = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut size = size_of::<libc::ucred>() as libc::socklen_t;
    syscall!(libc::getsockopt(
        stream.as_raw_fd(),
        libc::SOL_SOCKET,
        libc::SO_PEERCRED,
        (&raw mut peer).cast(),
        &mut size
    ))?;
    Ok(peer.uid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_travel_with_their_bytes() {
        let (a, b) = UnixStream::pair().unwrap();
        let fd = super::super::memory::anonymous(4096).unwrap();
        let again = fd.try_clone().unwrap();
        send(&a, b"hello", &[fd, again]).unwrap();
        let mut bytes = [0; 5];
        let fds = recv(&b, &mut bytes).unwrap();
        assert_eq!((&bytes, fds.len()), (b"hello", 2));
        assert_eq!(super::super::memory::accept(&fds[0]), Ok(4096));
        drop(a);
        assert_eq!(recv(&b, &mut bytes).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(peer_user(&b).unwrap(), super::super::process::user());
    }
}
