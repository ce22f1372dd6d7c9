//! What messages in shared memory cannot carry: the descriptors of the memory that their handles lead to.
//!
//! A store is a pair of connected sockets that all holders of a queue share. A sender puts the descriptors of each segment
//! into it, as one packet, unless they are there already; a reader that does not have the segment looks for the packet and
//! duplicates the descriptors. The kernel keeps what is in the sockets, whoever is killed. A table in shared memory says
//! which packets there are, and which messages need them.
//!
//! # Layout
//! ```text
//! offset 0    lock (40 bytes), the next packet's number (8), unused (16)
//!        64   entries, 48 bytes each: packet (8), segment (16), needed by messages of two rings (8 each), unused (8)
//! ```
//! `needed` is one more than the number of the last message that needs the packet.
//!
//! # Protocol
//! Under the lock, which is taken before a ring's tail is:
//! 1. A sender sees to it that each segment has a packet and an entry (packet first), positions the entries as needed by a
//!    message that is being sent, pushes the message, and writes its number in place of the mark.
//! 2. A reader that has the ring's head and sees a message with handles looks for the packets that it wants; only then it
//!    takes the message.
//! 3. Anybody takes packets off the input that no message needs any more (entry first).
//!
//! # Invariants
//! * B1: a message that can be read has the packets that it needs.
//! * B2: a packet whose number no entry has is needed by nobody.
//! * B3: a mark that is found under the lock is a dead sender's.
//!
//! # If a process dies here
//! Before 1's push the packet is there for nothing, and goes by 3. Behind it the mark stays, and counts like the number of
//! the newest message. Between the two halves of 3, the packet goes by B2.
#![allow(unsafe_code)] // the table lies in shared memory

use super::table_lock::TableGuard;
use crate::SegmentError;
use crate::sync::{RawLock, Timeout};
use crate::sys::Fd;
use crate::sys::socket::Link;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;

/// The two ends: in at one, out at the other.
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

/// How many bytes the table takes, of which the first line begins with a lock.
pub(crate) const FD_TABLE_BYTES: usize = size_of::<FdTable>();
const _: () = assert!(FD_TABLE_BYTES == 64 + 48 * ENTRIES && FD_TABLE_BYTES.is_multiple_of(64));

/// Marks an entry as needed by a message that is being sent.
const PENDING: u64 = u64::MAX;

/// A packet: its number, and its segment's.
const PACKET_BYTES: usize = 24;

/// Heads and tails of the two rings that share a store: the numbers of the next message to read, and to write.
pub(crate) type Positions<'a> = &'a dyn Fn() -> [(u64, u64); 2];

/// A store that is open: its table is locked.
pub(crate) struct OpenFdStore<'a> {
    store: &'a FdStore,
    table: &'a FdTable,
    _lock: TableGuard<'a>,
    positions: Positions<'a>,
    /// What was pending, and what had stood there.
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

    /// Opens it; the table lies there.
    ///
    /// # Safety
    /// `table` leads to [`FD_TABLE_BYTES`] bytes of shared memory, which stay as long as the result.
    pub(crate) unsafe fn open<'a>(
        &'a self,
        table: NonNull<u8>,
        positions: Positions<'a>,
        timeout: Timeout,
    ) -> Result<OpenFdStore<'a>, SegmentError> {
        // SAFETY: by the caller's promise; it consists of atomics.
        let table: &FdTable = unsafe { table.cast().as_ref() };
        let lock = TableGuard::acquire(&table.lock, timeout)?;
        let open = OpenFdStore { store: self, table, _lock: lock, positions, pending: Vec::new() };
        open.replace_pending();
        Ok(open)
    }
}

impl OpenFdStore<'_> {
    /// B3.
    fn replace_pending(&self) {
        let ends = (self.positions)();
        for entry in &self.table.entries {
            for (needed, (_, tail)) in entry.needed.iter().zip(ends) {
                // The tail may have stayed behind one message.
                let _ = needed.compare_exchange(PENDING, tail.wrapping_add(2), SeqCst, SeqCst);
            }
        }
    }

    /// Sees to it that a segment's descriptors are in, for a message of the ring that is being sent.
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

    /// The message is sent, under this number; or it is not.
    pub(crate) fn sent(&mut self, number: Option<u64>) {
        for (at, stream, before) in self.pending.drain(..) {
            self.table.entries[at].needed[stream].store(number.map_or(before, |number| number.wrapping_add(1)), SeqCst);
        }
    }

    /// The descriptors of these segments, as far as they are in.
    pub(crate) fn find(&self, segments: &[u128]) -> std::io::Result<Vec<(u128, Vec<Fd>)>> {
        let mut found: Vec<(u128, Vec<Fd>)> = Vec::new();
        let mut bytes = [0; PACKET_BYTES];
        self.store.output.look_from_the_first()?;
        while found.len() < segments.len() {
            let Some((packet, fds)) = self.store.output.look(&mut bytes)? else { break };
            let Some((_, segment)) = parse(packet) else { continue };
            if segments.contains(&segment) && !found.iter().any(|(id, _)| *id == segment) {
                found.push((segment, fds));
            }
        }
        Ok(found)
    }

    /// Takes out what no message needs any more.
    pub(crate) fn tidy(&self) {
        let heads = (self.positions)().map(|(head, _)| head);
        let mut bytes = [0; PACKET_BYTES];
        loop {
            let first = self.store.output.look_from_the_first().and_then(|()| self.store.output.look(&mut bytes));
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
