//! File descriptors of the segments that handles in stored messages refer to.
//!
//! Shared memory cannot carry descriptors. An fd store is a pair of connected sockets that all holders of an
//! object share. A sender puts the descriptors of each segment into the socket as one packet, unless they are in it
//! already. A receiver that does not have the segment looks for the packet and duplicates its descriptors. The kernel
//! keeps the contents of the sockets, whichever process is killed. A table in shared memory says which packets exist
//! and which messages need them.
//!
//! # Layout
//! ```text
//! offset 0    lock (40 bytes), number of the last packet (8), unused (16)
//!        64   entries, 48 bytes each: packet (8), segment (16), `needed` of two rings (8 each), unused (8)
//! ```
//! The messages of a ring are numbered. `needed` is 1 plus the number of the last message that needs the packet.
//!
//! # Protocol
//! All of this happens under the table's lock, which is taken before the lock of a ring's tail.
//! 1. A sender makes sure that each segment has a packet and an entry, in this order. It sets `needed` of the entries
//!    to a pending mark, pushes the message, and replaces the mark by the message's number plus 1.
//! 2. A receiver has the lock of the ring's head and sees a message with handles. It looks for the packets that it
//!    needs, and only then takes the message.
//! 3. Any process removes packets from the front that no message needs any more, entry first.
//!
//! # Invariants
//! * fd_store-B1: the packets that a readable message needs are in the socket.
//! * fd_store-B2: a packet whose number is in no entry is needed by no message.
//! * fd_store-B3: a pending mark that is found after the lock was taken belongs to a sender that died.
//!
//! # If a process dies here
//! Before the push of step 1: the packet is not needed and is removed by step 3. After the push: the mark stays until
//! the next process opens the store, which replaces it by a number not less than that of the newest message
//! (fd_store-B3). Between the two halves of step 3: the packet has no entry and is removed later (fd_store-B2).
#![allow(unsafe_code)] // the table lies in shared memory

use super::table_lock::TableGuard;
use crate::SegmentError;
use crate::sync::{RawLock, Timeout};
use crate::sys::Fd;
use crate::sys::socket::Link;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;

/// The two connected sockets: packets are written to `input` and read from `output`.
#[derive(Debug)]
pub(crate) struct FdStore {
    input: Link,
    output: Link,
}

#[repr(C)]
struct Entry {
    packet: AtomicU64,
    segment: [AtomicU64; 2],
    needed: [AtomicU64; 2],
    _unused: u64,
}

const ENTRIES: usize = 128;

#[repr(C, align(64))]
struct FdTable {
    lock: RawLock,
    next: AtomicU64,
    _unused: [u64; 2],
    entries: [Entry; ENTRIES],
}

/// Size of the table. Its first line begins with a lock.
pub(crate) const FD_TABLE_BYTES: usize = size_of::<FdTable>();
const _: () = assert!(FD_TABLE_BYTES == 64 + 48 * ENTRIES && FD_TABLE_BYTES.is_multiple_of(64));

/// Pending mark: the entry is needed by a message that is being sent.
const PENDING: u64 = u64::MAX;

/// Size of a packet: its number and the id of its segment.
const PACKET_BYTES: usize = 24;

/// Returns the positions of both streams: the number of the next message to read, and of the next to write.
pub(crate) type Positions<'a> = &'a dyn Fn() -> [(u64, u64); 2];

/// An open store: its table is locked.
pub(crate) struct OpenFdStore<'a> {
    store: &'a FdStore,
    table: &'a FdTable,
    _lock: TableGuard<'a>,
    positions: Positions<'a>,
    /// Entry, stream and former value of each pending mark.
    pending: Vec<(usize, usize, u64)>,
}

impl FdStore {
    pub(super) fn new() -> Result<Self, SegmentError> {
        let (input, output) = Link::pair()?;
        Ok(FdStore { input, output })
    }

    pub(super) fn of(input: Option<Fd>, output: Option<Fd>) -> Option<Self> {
        Some(FdStore { input: Link::of(input?)?, output: Link::of(output?)? })
    }

    pub(super) fn duplicate(&self) -> std::io::Result<[Fd; 2]> {
        Ok([self.input.duplicate()?, self.output.duplicate()?])
    }

    /// Opens the store by locking its table, and replaces the marks of dead senders.
    ///
    /// # Safety
    /// `table` points to [`FD_TABLE_BYTES`] bytes of shared memory, aligned to 64, which stay mapped while the result
    /// lives.
    pub(crate) unsafe fn open<'a>(
        &'a self,
        table: NonNull<u8>,
        positions: Positions<'a>,
        timeout: Timeout,
    ) -> Result<OpenFdStore<'a>, SegmentError> {
        // SAFETY: the contract of this function gives memory of this size and alignment; the table consists of atomics,
        // for which all bytes are valid.
        let table: &FdTable = unsafe { table.cast().as_ref() };
        let lock = TableGuard::acquire(&table.lock, timeout)?;
        let open = OpenFdStore { store: self, table, _lock: lock, positions, pending: Vec::new() };
        open.replace_pending();
        Ok(open)
    }
}

impl OpenFdStore<'_> {
    /// Replaces the marks of dead senders (fd_store-B3).
    fn replace_pending(&self) {
        let ends = (self.positions)();
        for entry in &self.table.entries {
            for (needed, (_, tail)) in entry.needed.iter().zip(ends) {
                // The stored tail may be 1 less than the tail after the dead sender's push.
                let _ = needed.compare_exchange(PENDING, tail.wrapping_add(2), SeqCst, SeqCst);
            }
        }
    }

    /// Makes sure that a segment's descriptors are in the store, and marks them as needed by the message being sent.
    pub(crate) fn put(&mut self, stream: usize, segment: u128, fds: &[Fd]) -> Result<(), SegmentError> {
        let id = [segment as u64, (segment >> 64) as u64];
        let entries = &self.table.entries;
        let matches = |entry: &Entry| {
            entry.packet.load(SeqCst) != 0 && [entry.segment[0].load(SeqCst), entry.segment[1].load(SeqCst)] == id
        };
        let free = |entry: &Entry| entry.packet.load(SeqCst) == 0;
        let at = match entries.iter().position(matches) {
            Some(at) => at,
            None => {
                let at = entries.iter().position(free).or_else(|| {
                    self.tidy();
                    entries.iter().position(free)
                });
                let at = at.ok_or(SegmentError::NoSpace)?;
                let number = self.table.next.fetch_add(1, SeqCst).wrapping_add(1);
                self.send(number, segment, fds)?;
                let entry = &entries[at];
                entry.segment[0].store(id[0], SeqCst);
                entry.segment[1].store(id[1], SeqCst);
                entry.needed.iter().for_each(|needed| needed.store(0, SeqCst));
                entry.packet.store(number, SeqCst);
                at
            }
        };
        let needed = entries[at].needed[stream].swap(PENDING, SeqCst);
        if needed != PENDING {
            self.pending.push((at, stream, needed));
        }
        Ok(())
    }

    fn send(&self, number: u64, segment: u128, fds: &[Fd]) -> Result<(), SegmentError> {
        let packet = [&number.to_ne_bytes()[..], &segment.to_ne_bytes()].concat();
        self.store.input.try_send(&packet, fds).or_else(|_| {
            self.tidy();
            self.store.input.try_send(&packet, fds).map_err(|_| SegmentError::NoSpace)
        })
    }

    /// Replaces the pending marks by the number of the message that was sent. `None` restores the former values.
    pub(crate) fn sent(&mut self, number: Option<u64>) {
        for (at, stream, before) in self.pending.drain(..) {
            self.table.entries[at].needed[stream].store(number.map_or(before, |number| number.wrapping_add(1)), SeqCst);
        }
    }

    /// Returns duplicates of the descriptors of these segments, of those that are in the store.
    pub(crate) fn find(&self, segments: &[u128]) -> std::io::Result<Vec<(u128, Vec<Fd>)>> {
        let mut found: Vec<(u128, Vec<Fd>)> = Vec::new();
        let mut bytes = [0; PACKET_BYTES];
        self.store.output.peek_from_the_first()?;
        while found.len() < segments.len() {
            let Some((packet, fds)) = self.store.output.peek_packet(&mut bytes)? else { break };
            let Some((_, segment)) = parse(packet) else { continue };
            if segments.contains(&segment) && !found.iter().any(|(id, _)| *id == segment) {
                found.push((segment, fds));
            }
        }
        Ok(found)
    }

    /// Removes packets from the front that no message needs any more.
    pub(crate) fn tidy(&self) {
        let heads = (self.positions)().map(|(head, _)| head);
        let mut bytes = [0; PACKET_BYTES];
        loop {
            let first =
                self.store.output.peek_from_the_first().and_then(|()| self.store.output.peek_packet(&mut bytes));
            let Ok(Some((packet, _))) = first else { return };
            let number = parse(packet).map_or(0, |(number, _)| number);
            let matches = |entry: &&Entry| number != 0 && entry.packet.load(SeqCst) == number;
            if let Some(entry) = self.table.entries.iter().find(matches) {
                let is_needed = |(needed, head): (&AtomicU64, u64)| head < needed.load(SeqCst);
                if entry.needed.iter().zip(heads).any(is_needed) {
                    return;
                }
                entry.packet.store(0, SeqCst);
            }
            if !matches!(self.store.output.try_recv(&mut bytes), Ok(Some(_))) {
                return;
            }
        }
    }
}

fn parse(packet: &[u8]) -> Option<(u64, u128)> {
    let (number, segment) = packet.split_at_checked(8)?;
    Some((u64::from_ne_bytes(number.try_into().ok()?), u128::from_ne_bytes(segment.try_into().ok()?)))
}

impl Drop for OpenFdStore<'_> {
    fn drop(&mut self) {
        self.sent(None);
    }
}
