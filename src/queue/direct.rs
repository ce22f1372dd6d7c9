//! Direct delivery, that of `Queue`: an item that is taken out belongs to the process that took it.

use super::holders;
use super::message_queue::{Delivery, MessageQueue};
use crate::messages::MessageRing;
use crate::messages::codec::SendFailure;
use crate::ring::{Peers, WaitFor};
use crate::sync::Timeout;
use serde::de::DeserializeOwned;

/// Delivers each item at most once.
pub(super) struct Direct;

impl Delivery for Direct {
    #[inline]
    fn has_items(queue: &MessageQueue<Self>) -> bool {
        queue.messages.has_messages()
    }

    fn is_ready(queue: &MessageQueue<Self>) -> bool {
        let MessageRing { ring, .. } = &queue.messages;
        Self::has_items(queue) || ring.is_closed() || ring.is_alone(&|| Self::peers(queue, WaitFor::Items))
    }

    fn peers(queue: &MessageQueue<Self>, what: WaitFor) -> Peers {
        holders::peers(&queue.handle, &queue.messages.ring, what)
    }

    #[inline]
    fn takes_from_ring(_: &MessageQueue<Self>) -> bool {
        true
    }

    #[inline]
    fn receive<T: DeserializeOwned>(
        queue: &MessageQueue<Self>,
        to: &mut Option<T>,
        timeout: Timeout,
    ) -> Result<(), SendFailure> {
        queue.messages.receive_value(to, timeout, &|| Self::peers(queue, WaitFor::Items))
    }

    fn receive_bytes(queue: &MessageQueue<Self>) -> Result<Vec<u8>, SendFailure> {
        Ok(queue.messages.receive_bytes(usize::MAX, Timeout::Never, &|| Self::peers(queue, WaitFor::Items))?)
    }

    fn discard_all(queue: &MessageQueue<Self>) {
        queue.messages.discard_all();
    }
}
