//! The kernel's message queues, as POSIX has them. One holds as many messages as everybody may have in one, ten unless
//! the machine was told otherwise; both sides sleep. It has no name any more when the children come.

use super::{CAPACITY, Consumer, Ends, Producer};
use anyhow::{Context, Result, ensure};
use std::ffi::CString;
use std::io::Error;
use std::ops::Range;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

pub struct MessageQueue(OwnedFd);

pub fn mqueue(pairs: usize) -> Result<Ends<MessageQueue, MessageQueue>> {
    let queue = open()?;
    let end = || Ok(MessageQueue(queue.try_clone()?));
    Ok(Ends::of(pairs, end, end)?.slow())
}

fn open() -> Result<OwnedFd> {
    let most = std::fs::read_to_string("/proc/sys/fs/mqueue/msg_max").context("no message queues")?;
    let name = CString::new(format!("/crossproc-bench-{}", std::process::id()))?;
    // SAFETY: plain numbers, of which zeros are some.
    let mut attributes: libc::mq_attr = unsafe { std::mem::zeroed() };
    attributes.mq_maxmsg = most.trim().parse::<libc::c_long>()?.min(CAPACITY as libc::c_long);
    attributes.mq_msgsize = 8;
    let flags = libc::O_CREAT | libc::O_EXCL | libc::O_RDWR | libc::O_CLOEXEC;
    // SAFETY: the name and the attributes live.
    let queue = unsafe { libc::mq_open(name.as_ptr(), flags, 0o600, &raw const attributes) };
    ensure!(queue >= 0, "mq_open: {}", Error::last_os_error());
    // SAFETY: a new descriptor, which it is on Linux, and nobody else's.
    let queue = unsafe { OwnedFd::from_raw_fd(queue) };
    // SAFETY: a C string.
    ensure!(unsafe { libc::mq_unlink(name.as_ptr()) } == 0, "mq_unlink: {}", Error::last_os_error());
    Ok(queue)
}

impl Producer for MessageQueue {
    fn put(&mut self, items: Range<u64>) -> Result<()> {
        for item in items {
            // SAFETY: eight bytes.
            let answer = unsafe { libc::mq_send(self.0.as_raw_fd(), (&raw const item).cast(), 8, 0) };
            ensure!(answer == 0, "mq_send: {}", Error::last_os_error());
        }
        Ok(())
    }
}

impl Consumer for MessageQueue {
    fn get(&mut self, mut each: impl FnMut(u64)) -> Result<()> {
        let mut item = 0_u64;
        // SAFETY: room for eight bytes; nobody asks for the priority.
        let received = unsafe { libc::mq_receive(self.0.as_raw_fd(), (&raw mut item).cast(), 8, std::ptr::null_mut()) };
        ensure!(received == 8, "mq_receive: {received}, {}", Error::last_os_error());
        each(item);
        Ok(())
    }
}
