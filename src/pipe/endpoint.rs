//! `Endpoint`: what every end of a pipe has. Every message is sent and received here, and every failure becomes a typed
//! error.

use super::errors::{Unreceived, Unsent};
use super::kind::PipeKind;
use super::roles::{ALL, RECEIVERS, SENDERS};
use crate::messages::record::Flags;
use crate::messages::{self, MessageRing};
use crate::ring::{Peers, RingError, RingSource};
use crate::segment::transfer::InFlightGuard;
use crate::segment::{Handle, Holders, ObjectLayout, Roles};
use crate::sync::Timeout;
use crate::{RecvError, RecvIntoError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// What happens to a pipe when its holders change. A process that has no handle left in a role notifies its peers: one
/// of them may be alone now.
pub(super) const HOLDERS: Holders = Holders {
    on_add: |_| {},
    on_import: messages::notify_arrival,
    on_release: messages::notify_change,
    notify_at_most: 0,
};
pub(super) const ROLES: Roles = ALL;

pub(super) fn layout(count: usize) -> Option<ObjectLayout> {
    let (locks, bytes) = PipeKind::unpack(count)?.geometry()?.layout()?;
    Some(ObjectLayout { locks, bytes })
}

/// Makes a type with an `endpoint`, which holds it in one of `$roles`, an object of a segment.
macro_rules! endpoint_object {
    ($name:ident<$($param:ident),+>, $roles:expr) => {
        $crate::segment::handle_type!($name<$($param),+>);

        impl<$($param),+> $crate::segment::Object for $name<$($param),+> {
            const IN_PLACE: bool = false;
            const HOLDERS: Option<$crate::segment::Holders> = Some($crate::pipe::endpoint::HOLDERS);
            const ROLES: $crate::segment::Roles = $crate::pipe::endpoint::ROLES;

            fn accepts(roles: $crate::segment::Roles) -> bool {
                $roles.contains(&roles)
            }

            fn spec(count: usize) -> Result<$crate::segment::Spec, $crate::SegmentError> {
                Ok($crate::segment::Spec::of_messages::<Self>($crate::segment::Kind::Pipe, count))
            }

            fn layout(count: usize) -> Option<$crate::segment::ObjectLayout> {
                $crate::pipe::endpoint::layout(count)
            }

            fn of(handle: $crate::segment::Handle, count: usize) -> Self {
                $name::new($crate::pipe::endpoint::Endpoint::new(handle, count))
            }

            fn handle(&self) -> &$crate::segment::Handle {
                self.endpoint.handle()
            }

            fn count(&self) -> usize {
                self.endpoint.count()
            }
        }
    };
}
pub(super) use endpoint_object;

#[derive(Debug)]
pub(super) struct Endpoint {
    handle: Handle,
    /// A packed [`PipeKind`].
    count: usize,
    sends: Option<MessageRing>,
    receives: Option<MessageRing>,
}

impl Endpoint {
    pub(super) fn new(handle: Handle, count: usize) -> Self {
        let ring = |roles: [Roles; 2]| {
            let geometry = PipeKind::unpack(count)?.geometry()?;
            let index = roles.iter().position(|role| handle.roles() & role != 0)?;
            (index < geometry.rings).then(|| MessageRing::of(&handle, &geometry, index))
        };
        let (sends, receives) = (ring(SENDERS), ring(RECEIVERS));
        Endpoint { handle, count, sends, receives }
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// An end of the same pipe that has these roles.
    pub(super) fn in_roles(&self, roles: Roles) -> Self {
        Endpoint::new(self.handle.in_roles(roles), self.count)
    }

    /// An end of the same pipe that has those of this one's roles that are among `roles`.
    pub(super) fn half(&self, roles: [Roles; 2]) -> Self {
        self.in_roles(self.handle.roles() & (roles[0] | roles[1]))
    }

    /// The ring that this end sends into.
    pub(super) fn outgoing(&self) -> Result<&MessageRing, SendError> {
        self.sends.as_ref().ok_or(SendError::Corrupt)
    }

    /// The ring that this end receives from.
    pub(super) fn incoming(&self) -> Result<&MessageRing, RecvError> {
        self.receives.as_ref().ok_or(RecvError::Corrupt)
    }

    /// Which other processes hold the ring in one of `roles`.
    fn peers(&self, ring: &MessageRing, roles: [Roles; 2]) -> Peers {
        let holders = self.handle.fresh_holder_count(roles[ring.index()].trailing_zeros());
        match holders.elsewhere {
            None if holders.here == 0 => Peers::Alone,
            None => Peers::Watched, // dropping a handle is a change, which wakes all sleepers
            Some(tag) => Peers::of(tag),
        }
    }

    pub(super) fn receivers(&self, ring: &MessageRing) -> Peers {
        self.peers(ring, RECEIVERS)
    }

    pub(super) fn senders(&self, ring: &MessageRing) -> Peers {
        self.peers(ring, SENDERS)
    }

    /// Whether any process can send to this end. Does not make the end of that process noticed.
    pub(super) fn has_senders(&self) -> bool {
        self.receives.as_ref().is_some_and(|ring| {
            let holders = self.handle.fresh_holder_count(SENDERS[ring.index()].trailing_zeros());
            holders.elsewhere.is_some() || holders.here > 0
        })
    }

    /// An error if no process is left that could receive. Takes two loads if nothing has changed since the last look.
    #[inline]
    pub(super) fn check_receivers(&self, ring: &MessageRing) -> Result<(), RingError> {
        if !ring.ring.knows_peers() && ring.ring.is_alone(&|| self.receivers(ring)) {
            return Err(RingError::Alone);
        }
        Ok(())
    }

    /// Whether no process is left that could receive. For a thread that has the tail's lock: does not touch the wait
    /// queues.
    pub(super) fn knows_no_receivers(&self, ring: &MessageRing) -> bool {
        !ring.ring.knows_peers() && self.receivers(ring) == Peers::Alone
    }

    #[inline(always)]
    pub(super) fn send<T: Serialize + ?Sized>(&self, message: &T) -> Result<(), SendError> {
        Ok(self.send_value(message, Timeout::Never)?)
    }

    #[inline(always)]
    pub(super) fn try_send<T: Serialize + ?Sized>(&self, message: &T) -> Result<(), TrySendError> {
        Ok(self.send_value(message, Timeout::Now)?)
    }

    pub(super) fn send_timeout<T: Serialize + ?Sized>(
        &self,
        message: &T,
        duration: Duration,
    ) -> Result<(), SendTimeoutError> {
        Ok(self.send_value(message, Timeout::at_most(duration))?)
    }

    #[inline]
    fn send_value<T: Serialize + ?Sized>(&self, message: &T, timeout: Timeout) -> Result<(), Unsent> {
        let ring = self.outgoing()?;
        self.check_receivers(ring)?;
        Ok(ring.send_value(message, timeout, &|| self.receivers(ring))?)
    }

    /// Sends a message whose handles stay in flight until the guard is dropped.
    pub(super) fn send_and_keep<T: Serialize + ?Sized>(&self, message: &T) -> Result<Option<InFlightGuard>, SendError> {
        let send = || {
            let ring = self.outgoing()?;
            self.check_receivers(ring)?;
            Ok::<_, Unsent>(ring.send_and_keep(message, Timeout::Never, &|| self.receivers(ring))?)
        };
        Ok(send()?)
    }

    pub(super) fn send_bytes(&self, bytes: &[u8]) -> Result<(), SendError> {
        let send = || {
            let ring = self.outgoing()?;
            self.check_receivers(ring)?;
            Ok::<_, Unsent>(ring.send(bytes, Flags::default(), Timeout::Never, &|| self.receivers(ring))?)
        };
        send()?;
        Ok(())
    }

    #[inline(always)]
    pub(super) fn recv<T: DeserializeOwned>(&self) -> Result<T, RecvError> {
        Ok(self.recv_value(Timeout::Never)?)
    }

    #[inline(always)]
    pub(super) fn try_recv<T: DeserializeOwned>(&self) -> Result<T, TryRecvError> {
        Ok(self.recv_value(Timeout::Now)?)
    }

    pub(super) fn recv_timeout<T: DeserializeOwned>(&self, duration: Duration) -> Result<T, RecvTimeoutError> {
        Ok(self.recv_value(Timeout::at_most(duration))?)
    }

    #[inline]
    fn recv_value<T: DeserializeOwned>(&self, timeout: Timeout) -> Result<T, Unreceived> {
        let ring = self.incoming()?;
        let mut message = None;
        ring.receive_value(&mut message, timeout, &|| self.senders(ring))?;
        message.ok_or(Unreceived::Error(RecvError::Corrupt)) // not reached: `receive_value` sets it
    }

    pub(super) fn recv_bytes(&self) -> Result<Vec<u8>, RecvError> {
        let ring = self.incoming()?;
        let received = ring.receive_bytes(usize::MAX, Timeout::Never, &|| self.senders(ring));
        received.map_err(|error| Unreceived::from(error).into())
    }

    pub(super) fn recv_bytes_into(&self, buffer: &mut [u8]) -> Result<usize, RecvIntoError> {
        let ring = self.incoming()?;
        let received = ring.receive_bytes_into(buffer, Timeout::Never, &|| self.senders(ring));
        received.map_err(|error| Unreceived::from(error).into())
    }

    /// Waits until there is a message, or there can never be one.
    pub(super) fn poll(&self, duration: Duration) -> Result<bool, RecvError> {
        let timeout = if duration.is_zero() { Timeout::Now } else { Timeout::at_most(duration) };
        let ring = self.incoming()?;
        let slept = !ring.has_messages();
        let waited = ring.wait_for_message(timeout, &|| self.senders(ring));
        if slept && waited.is_ok() {
            ring.ring.pass_on_alone(); // the message stays: it may be for another receiver, which was not woken
        }
        match waited {
            Ok(()) | Err(RingError::Alone | RingError::Closed) => Ok(true),
            Err(RingError::NotNow | RingError::Timeout) => Ok(false),
            Err(error) => Err(Unreceived::from(error).into()),
        }
    }

    /// This end in a wait for several things. An end that receives nothing is always ready.
    pub(super) fn ring_source(&self) -> Option<RingSource<'_>> {
        let ring = self.receives.as_ref()?;
        let senders = || self.senders(ring);
        let ready = move || ring.has_messages() || ring.ring.is_alone(&senders);
        Some(RingSource::new(&ring.ring, ready))
    }
}

/// The last end that could receive discards the messages that are left, with the handles in them.
impl Drop for Endpoint {
    fn drop(&mut self) {
        if let Some(ring) = &self.receives
            && ring.has_messages()
        {
            let holders = self.handle.holder_count(RECEIVERS[ring.index()].trailing_zeros());
            if holders.here == 1 && holders.elsewhere.is_none() {
                ring.discard_all();
            }
        }
    }
}
