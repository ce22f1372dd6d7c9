//! Leased delivery, that of `JoinableQueue`: a task that is taken out stays in the table of leases until it is done. If
//! its process gives it up or dies, it is requeued and comes before all other items. See `leases`.

use super::holders;
use super::leases::{LeaseId, LeaseTable, LeasedMessage};
use super::message_queue::{Delivery, MessageQueue};
use crate::messages::MessageRing;
use crate::messages::codec::{self, SendFailure};
use crate::ring::{Peers, RingError, WaitFor};
use crate::sync::Timeout;
use crate::{CodecError, SegmentError, TaskDoneError};
use serde::de::DeserializeOwned;

/// Delivers each task until it is done.
pub(super) struct Leased;

impl Delivery for Leased {
    fn has_items(queue: &MessageQueue<Self>) -> bool {
        queue.messages.has_messages() || queue.messages.ring.requeued() != 0
    }

    /// Looks for peers first, which requeues the tasks of dead processes.
    fn is_ready(queue: &MessageQueue<Self>) -> bool {
        let MessageRing { ring, .. } = &queue.messages;
        ring.is_alone(&|| Self::peers(queue, WaitFor::Items)) || Self::has_items(queue) || ring.is_closed()
    }

    /// Also requeues the tasks of dead processes. `Watched` here means that the end of every other holder is noticed,
    /// not only that of one: any of them may have a lease.
    fn peers(queue: &MessageQueue<Self>, what: WaitFor) -> Peers {
        let peers = holders::peers(&queue.handle, &queue.messages.ring, what);
        let others = queue.handle.others(0);
        // Each call of `Peers::of` makes the watcher watch that process, so none is left out.
        let unwatched = others.iter().filter(|tag| Peers::of(**tag) != Peers::Watched).count();
        // If a stopped process has the lock, a later look requeues them.
        if let Ok(leases) = queue.leases(Timeout::Now) {
            leases.requeue_dead();
            leases.leave(queue.messages.ring.requeued() != 0);
        }
        if unwatched > 0 && peers == Peers::Watched { Peers::Unknown } else { peers }
    }

    fn takes_from_ring(queue: &MessageQueue<Self>) -> bool {
        queue.messages.ring.requeued() == 0
    }

    fn receive<T: DeserializeOwned>(
        queue: &MessageQueue<Self>,
        to: &mut Option<T>,
        timeout: Timeout,
    ) -> Result<(), SendFailure> {
        let MessageRing { ring, .. } = &queue.messages;
        if !ring.knows_peers() || ring.requeued() != 0 || !queue.messages.has_messages() {
            let (message, fds) = queue.lease_next(timeout)?;
            let _released = EndOnDrop { queue, lease: message.lease, end: MessageQueue::release };
            *to = Some(decode(&message, fds)?);
            return Ok(());
        }
        queue.messages.receive_value(to, timeout, &|| Self::peers(queue, WaitFor::Items))
    }

    fn receive_bytes(queue: &MessageQueue<Self>) -> Result<Vec<u8>, SendFailure> {
        let (message, _) = queue.lease_next(Timeout::Never)?;
        queue.release(&message.lease);
        Ok(message.bytes().to_vec())
    }

    fn discard_all(queue: &MessageQueue<Self>) {
        while let Ok((message, _)) = queue.lease_next(Timeout::Now) {
            queue.release(&message.lease);
        }
    }
}

impl MessageQueue<Leased> {
    /// An error if this process cannot use the leases, which are in the segment's extent.
    pub(super) fn check_extent(&self) -> Result<(), SegmentError> {
        self.messages.segment()?.table(LeaseTable::BYTES).map(drop)
    }

    /// The number of items in the ring, and of requeued tasks.
    pub(super) fn len(&self) -> usize {
        self.messages.len() + self.messages.ring.requeued() as usize
    }

    fn leases(&self, timeout: Timeout) -> Result<LeaseTable<'_>, RingError> {
        let popping = self.messages.ring.begin_pop(timeout)?;
        LeaseTable::open(&self.messages, popping).map_err(|(error, popping)| popping.fail(error))
    }

    /// Leases the first requeued task, or else the next item of the ring; waits for one of them. Also returns the
    /// descriptors that its handles need.
    fn lease_next(&self, timeout: Timeout) -> Result<(LeasedMessage, codec::FdsBySegment), RingError> {
        let MessageRing { ring, .. } = &self.messages;
        let ready = || Leased::has_items(self);
        let peers = || Leased::peers(self, WaitFor::Items);
        loop {
            if !ring.knows_peers() {
                ring.is_alone(&peers);
            }
            if !ready() {
                ring.wait(WaitFor::Items, timeout, &ready, &peers)?;
            }
            let mut leases = self.leases(timeout)?;
            match leases.redeliver() {
                Ok(None) => {}
                Ok(Some(message)) => {
                    leases.leave(false);
                    return self.with_descriptors(message);
                }
                Err(error) => return Err(leases.fail(error)),
            }
            match leases.lease() {
                Ok(None) => {
                    leases.fail(RingError::NotNow);
                }
                Ok(Some(message)) => {
                    leases.leave_popped(&message.record);
                    return self.with_descriptors(message);
                }
                Err(error) => return Err(leases.fail(error)),
            }
        }
    }

    /// This process has the lease, so no other process can have released the descriptors.
    fn with_descriptors(&self, message: LeasedMessage) -> Result<(LeasedMessage, codec::FdsBySegment), RingError> {
        let mut fds = Vec::new();
        if message.flags().has_handles() {
            self.messages.find_descriptors(message.bytes(), &mut fds)?;
        }
        Ok((message, fds))
    }

    /// Takes a task out. A task that cannot be decoded counts as done.
    pub(super) fn take_task<T: DeserializeOwned>(&self, timeout: Timeout) -> Result<(T, LeaseId), SendFailure> {
        let (message, fds) = self.lease_next(timeout)?;
        let undecoded = EndOnDrop { queue: self, lease: message.lease, end: Self::acknowledge };
        let item = decode(&message, fds)?;
        std::mem::forget(undecoded);
        Ok((item, message.lease))
    }

    /// The task is done.
    pub(super) fn acknowledge(&self, lease: &LeaseId) {
        self.end(lease, |leases| leases.acknowledge(lease));
    }

    /// The task was got as an item, which ends the lease; `task_done` is still to come.
    fn release(&self, lease: &LeaseId) {
        self.end(lease, |leases| leases.release(lease));
    }

    fn end(&self, lease: &LeaseId, end: impl FnOnce(&LeaseTable<'_>)) {
        if let Ok(leases) = self.leases(Timeout::Never) {
            let message = leases.message_with_handles(lease);
            end(&leases);
            leases.leave(false);
            if let Some(message) = message {
                codec::release_handles(message.bytes());
                self.messages.tidy_fd_store();
            }
        }
    }

    pub(super) fn requeue(&self, lease: &LeaseId) {
        if let Ok(leases) = self.leases(Timeout::Never) {
            leases.requeue(lease);
            leases.leave(true);
        }
    }

    /// One of the items that were got is done.
    pub(super) fn acknowledge_got(&self) -> Result<(), TaskDoneError> {
        let leases = self.leases(Timeout::Never).map_err(|_| TaskDoneError::Corrupt)?;
        let got = leases.got();
        if got > 0 {
            leases.acknowledge_got();
        }
        leases.leave(false);
        if got > 0 { Ok(()) } else { Err(TaskDoneError::TooMany) }
    }

    /// Waits until every item that was ever put is done.
    pub(super) fn join(&self, timeout: Timeout) -> Result<(), RingError> {
        let ring = &self.messages.ring;
        let is_done = || ring.is_drained();
        while !is_done() {
            ring.wait(WaitFor::Drained, timeout, &is_done, &|| Leased::peers(self, WaitFor::Items))?;
            ring.pass_on_alone();
        }
        Ok(())
    }
}

fn decode<T: DeserializeOwned>(message: &LeasedMessage, fds: codec::FdsBySegment) -> Result<T, CodecError> {
    codec::decode_keeping_handles(message.bytes(), message.flags(), fds)
}

/// Ends a lease when it is dropped, also when the program's decoder panics.
struct EndOnDrop<'a> {
    queue: &'a MessageQueue<Leased>,
    lease: LeaseId,
    end: fn(&MessageQueue<Leased>, &LeaseId),
}

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        (self.end)(self.queue, &self.lease);
    }
}
