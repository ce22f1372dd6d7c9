//! The crate `ipc-channel`: messages through serde, and as bytes. Sockets underneath, of which each holds as much as
//! the kernel lets it; both sides sleep. Made before the children are, which then have the descriptors.

use super::copied::{CopiedEnds, ReceiveBytes, SendBytes, both_ends};
use super::{Consumer, Ends, Producer};
use anyhow::Result;
use ipc_channel::ipc::{IpcBytesReceiver, IpcBytesSender, IpcReceiver, IpcSender, bytes_channel, channel};
use std::ops::Range;

pub fn ipc_words() -> Result<Ends<IpcSender<u64>, IpcReceiver<u64>>> {
    let (sender, receiver) = channel()?;
    Ok(Ends::pair(sender, receiver).slow())
}

impl Producer for IpcSender<u64> {
    fn put(&mut self, mut items: Range<u64>) -> Result<()> {
        Ok(items.try_for_each(|item| self.send(item))?)
    }
}

impl Consumer for IpcReceiver<u64> {
    fn get(&mut self, mut each: impl FnMut(u64)) -> Result<()> {
        each(self.recv()?);
        Ok(())
    }
}

/// Received in a vector of its own, which is what this crate has for bytes.
pub fn ipc_bytes(length: usize) -> Result<CopiedEnds<IpcBytesSender, IpcBytesReceiver>> {
    let (sender, receiver) = bytes_channel()?;
    Ok(both_ends(length, sender, receiver).slow())
}

impl SendBytes for IpcBytesSender {
    fn send_message(&mut self, message: &[u8]) -> Result<()> {
        Ok(self.send(message)?)
    }
}

impl ReceiveBytes for IpcBytesReceiver {
    fn receive(&mut self, _buffer: &mut [u8], look: impl FnOnce(&[u8]) -> Result<u64>) -> Result<u64> {
        look(&self.recv()?)
    }
}
