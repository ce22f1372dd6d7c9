//! Ways for items of eight bytes, under one interface: from producers to consumers, first in, first out.

mod byte_ring;
mod bytes;
mod copied;
mod futex;
mod iceoryx;
mod iceoryx_bytes;
mod iceoryx_woken;
mod iceoryx_words;
mod ipc;
mod ipmpsc_ring;
mod kernel;
mod mqueue;
mod ours;
mod pipes;
mod posted;
mod ring;
mod serde_queue;
mod signalled;
mod streams;
mod threads;
mod vyukov;

pub use byte_ring::byte_ring;
pub use bytes::room;
pub use futex::slot;
pub use iceoryx_bytes::{iceoryx_copied, iceoryx_in_place};
pub use iceoryx_woken::iceoryx_woken;
pub use iceoryx_words::iceoryx_polled;
pub use ipc::{ipc_bytes, ipc_words};
pub use ipmpsc_ring::{ipmpsc_bytes, ipmpsc_words};
pub use kernel::{pipe, seqpacket};
pub use mqueue::mqueue;
pub use ours::{batched, one_by_one};
pub use pipes::{copied, in_place};
pub use posted::{Post, posted};
pub use ring::ring;
pub use serde_queue::serde_queue;
pub use signalled::signalled;
pub use streams::{interprocess, pipe_of_bytes, sockets};
pub use threads::{crossbeam, rtrb};
pub use vyukov::vyukov;

use anyhow::Result;
use std::any::Any;
use std::ops::Range;

/// How many items may be in between; a power of two. For those that can choose.
pub const CAPACITY: usize = 1024;
/// How many items go at once, where many do.
pub const BATCH: u64 = 256;

pub trait Producer {
    /// Puts these, each by itself or all at once as the channel is meant to be used; waits for room.
    fn put(&mut self, items: Range<u64>) -> Result<()>;
}

pub trait Consumer {
    /// Takes one item or, where many go at once, up to [`BATCH`]; waits for the first.
    fn get(&mut self, each: impl FnMut(u64)) -> Result<()>;
}

/// The ends of a channel.
pub struct Ends<P, C> {
    pub producers: Vec<P>,
    pub consumers: Vec<C>,
    /// Items between two looks at the clock: many where they are small, at least one.
    pub round: u64,
    /// What has to outlive the children that the ends go to.
    pub keep: Option<Box<dyn Any>>,
}

impl<P, C> Ends<P, C> {
    /// So many of each, made one by one.
    fn of(
        pairs: usize,
        mut producer: impl FnMut() -> Result<P>,
        mut consumer: impl FnMut() -> Result<C>,
    ) -> Result<Self> {
        let producers = (0..pairs).map(|_| producer()).collect::<Result<_>>()?;
        let consumers = (0..pairs).map(|_| consumer()).collect::<Result<_>>()?;
        Ok(Ends { producers, consumers, round: 4 * BATCH, keep: None })
    }

    fn pair(producer: P, consumer: C) -> Self {
        Ends { producers: vec![producer], consumers: vec![consumer], round: 4 * BATCH, keep: None }
    }

    /// For one that takes far longer for an item than those that only touch memory.
    fn slow(self) -> Self {
        Ends { round: (self.round / 8).max(1), ..self }
    }
}
