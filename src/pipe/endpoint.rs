//! What all ends have in common: a handle, and the rings that it sends into and receives from.

use crate::messages::codec::SendFailure;
use crate::messages::record::Flags;
use crate::messages::{self, MessageGeometry, MessageRing};
use crate::ring::{Peers, RingError, RingSource};
use crate::segment::transfer::InFlightGuard;
use crate::segment::{Handle, Holders, Roles};
use crate::sync::Timeout;
use crate::{RecvError, SegmentError, SendError};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The two roles of a ring.
const SENDS: Roles = 1;
const RECEIVES: Roles = 2;

/// In which roles which end is.
pub(super) const ONE_END: Roles = SENDS | RECEIVES << 2;
pub(super) const OTHER_END: Roles = RECEIVES | SENDS << 2;
pub(super) const ENDS: [Roles; 2] = [ONE_END, OTHER_END];
pub(super) const SENDERS: [Roles; 2] = [SENDS, SENDS << 2];
pub(super) const RECEIVERS: [Roles; 2] = [RECEIVES, RECEIVES << 2];
pub(super) const ALL: Roles = ONE_END | OTHER_END;

/// Who has none left in a role may leave somebody alone.
pub(super) const HOLDERS: Holders = Holders {
    on_add: |_| {},
    on_import: messages::notify_arrival,
    on_release: messages::notify_change,
    notify_at_most: 0,
};

/// A type with an `end`, in one of some roles, as an object of a segment.
macro_rules! end_object {
    ($name:ident<$($param:ident),+>, $roles:expr) => {
        handle_type!($name<$($param),+>);

        impl<$($param),+> Object for $name<$($param),+> {
            const IN_PLACE: bool = false;
            const HOLDERS: Option<Holders> = Some(endpoint::HOLDERS);
            const ROLES: Roles = endpoint::ALL;

            fn accepts(roles: Roles) -> bool {
                $roles.contains(&roles)
            }

            fn spec(count: usize) -> Result<Spec, SegmentError> {
                Ok(Spec::of_messages::<Self>(Kind::Pipe, count))
            }

            fn layout(count: usize) -> Option<ObjectLayout> {
                let (locks, bytes) = endpoint::plan(count)?.layout()?;
                Some(ObjectLayout { locks, bytes })
            }

            fn of(handle: Handle, count: usize) -> Self {
                $name::new(End::new(handle, count))
            }

            fn handle(&self) -> &Handle {
                &self.end.handle
            }

            fn count(&self) -> usize {
                self.end.count
            }
        }

        impl<$($param),+> $name<$($param),+> {
            pub(super) fn new(end: End) -> Self {
                $name { end, messages: PhantomData }
            }
        }
    };
}
pub(super) use end_object;

/// Which kind of pipe: in the object's number of items, beside a size.
const TWO_WAYS: usize = 1 << 61;
const CHANNEL: usize = 1 << 60;
pub(super) const DEFAULT_BYTES: usize = 256 << 10;

pub(super) fn two_ways(bytes: usize) -> Result<usize, SegmentError> {
    if bytes < CHANNEL { Ok(bytes | TWO_WAYS) } else { Err(SegmentError::TooLarge) }
}

pub(super) fn one_way(bytes: usize) -> Result<usize, SegmentError> {
    if bytes < CHANNEL { Ok(bytes) } else { Err(SegmentError::TooLarge) }
}

pub(super) fn of_items(items: usize) -> Result<usize, SegmentError> {
    match items {
        0 => Err(SegmentError::Invalid("a channel for no items".into())),
        _ if items >= CHANNEL => Err(SegmentError::TooLarge),
        _ => Ok(items | CHANNEL),
    }
}

pub(super) fn plan(count: usize) -> Option<MessageGeometry> {
    let size = count & (CHANNEL - 1);
    match (count & TWO_WAYS != 0, count & CHANNEL != 0) {
        (true, false) => MessageGeometry::of_bytes(2, size),
        (false, false) => MessageGeometry::of_bytes(1, size),
        (false, true) => Some(MessageGeometry::of_items(Some(size))),
        (true, true) => None,
    }
}

#[derive(Debug)]
pub(super) struct End {
    pub(super) handle: Handle,
    pub(super) count: usize,
    sends: Option<MessageRing>,
    receives: Option<MessageRing>,
}

impl End {
    pub(super) fn new(handle: Handle, count: usize) -> Self {
        let mail = |roles: [Roles; 2]| {
            let (plan, wing) = (plan(count)?, roles.iter().position(|role| handle.roles() & role != 0)?);
            (wing < plan.rings).then(|| MessageRing::of(&handle, &plan, wing))
        };
        let (sends, receives) = (mail(SENDERS), mail(RECEIVERS));
        End { handle, count, sends, receives }
    }

    /// The same object in some of the roles of this end.
    pub(super) fn in_roles(&self, roles: Roles) -> Self {
        End::new(self.handle.in_roles(roles), self.count)
    }

    /// Where this end sends to.
    pub(super) fn outgoing(&self) -> Result<&MessageRing, SendError> {
        self.sends.as_ref().ok_or(SendError::Corrupt)
    }

    /// Where this end receives from.
    pub(super) fn incoming(&self) -> Result<&MessageRing, RecvError> {
        self.receives.as_ref().ok_or(RecvError::Corrupt)
    }

    /// Whether anybody is on the other side of that ring: who receives what is sent, or sends what is received.
    fn company(&self, mail: &MessageRing, roles: [Roles; 2]) -> Peers {
        let census = self.handle.fresh_holder_count(roles[mail.index()].trailing_zeros());
        match census.elsewhere {
            None if census.here == 0 => Peers::Alone,
            None => Peers::Watched, // by the change that a goodbye is
            Some(tag) => Peers::of(tag),
        }
    }

    pub(super) fn has_writers(&self) -> bool {
        self.receives.as_ref().is_some_and(|mail| {
            let census = self.handle.fresh_holder_count(SENDERS[mail.index()].trailing_zeros());
            census.elsewhere.is_some() || census.here > 0
        })
    }

    pub(super) fn readers(&self, mail: &MessageRing) -> Peers {
        self.company(mail, RECEIVERS)
    }

    pub(super) fn writers(&self, mail: &MessageRing) -> Peers {
        self.company(mail, SENDERS)
    }

    /// An error if nobody is left who could receive. Two loads if nothing has changed since the last look.
    #[inline]
    pub(super) fn check_readers(&self, mail: &MessageRing) -> Result<(), RingError> {
        if !mail.ring.knows_peers() && mail.ring.is_alone(&|| self.readers(mail)) {
            return Err(RingError::Alone);
        }
        Ok(())
    }

    /// Whether nobody is left who could receive, where the tail's lock is ours: at once, by what was found out before.
    pub(super) fn knows_no_readers(&self, mail: &MessageRing) -> bool {
        !mail.ring.knows_peers() && self.readers(mail) == Peers::Alone
    }

    #[inline]
    pub(super) fn send<T: Serialize + ?Sized>(&self, message: &T, patience: Timeout) -> Result<(), Unsent> {
        let mail = self.outgoing()?;
        self.check_readers(mail)?;
        Ok(mail.send_value(message, patience, &|| self.readers(mail))?)
    }

    pub(super) fn send_and_keep<T: Serialize + ?Sized>(&self, message: &T) -> Result<Option<InFlightGuard>, Unsent> {
        let mail = self.outgoing()?;
        self.check_readers(mail)?;
        Ok(mail.send_and_keep(message, Timeout::Never, &|| self.readers(mail))?)
    }

    pub(super) fn send_bytes(&self, bytes: &[u8], patience: Timeout) -> Result<(), Unsent> {
        let mail = self.outgoing()?;
        self.check_readers(mail)?;
        mail.send(bytes, Flags::default(), patience, &|| self.readers(mail))?;
        Ok(())
    }

    #[inline]
    pub(super) fn recv<T: DeserializeOwned>(&self, patience: Timeout) -> Result<T, Unreceived> {
        let mail = self.incoming()?;
        let mut message = None;
        mail.receive_value(&mut message, patience, &|| self.writers(mail))?;
        message.ok_or(Unreceived::Error(RecvError::Corrupt)) // there is one
    }

    pub(super) fn recv_bytes(&self, most: usize, patience: Timeout) -> Result<Vec<u8>, Unreceived> {
        let mail = self.incoming()?;
        Ok(mail.receive_bytes(most, patience, &|| self.writers(mail))?)
    }

    pub(super) fn recv_bytes_into(&self, buffer: &mut [u8]) -> Result<usize, Unreceived> {
        let mail = self.incoming()?;
        Ok(mail.receive_bytes_into(buffer, Timeout::Never, &|| self.writers(mail))?)
    }

    /// For one who waits for several at once. An end that receives nothing is ready.
    pub(super) fn ring_source(&self) -> Option<RingSource<'_>> {
        let mail = self.receives.as_ref()?;
        let company = || self.writers(mail);
        let ready = move || mail.has_messages() || mail.ring.is_alone(&company);
        Some(RingSource::new(&mail.ring, ready))
    }

    /// Whether there is a message, or will never be one.
    pub(super) fn poll(&self, patience: Timeout) -> Result<bool, RecvError> {
        let mail = self.incoming()?;
        let slept = !mail.has_messages();
        let waited = mail.wait_for_message(patience, &|| self.writers(mail));
        if slept && waited.is_ok() {
            mail.ring.pass_on_alone(); // the message stays, and may be for another one who was not woken
        }
        match waited {
            Ok(()) | Err(RingError::Alone | RingError::Closed) => Ok(true),
            Err(RingError::NotNow | RingError::Timeout) => Ok(false),
            Err(stop) => Err(recv_error(stop)),
        }
    }
}

/// When nobody is left who could receive what was sent, it is given up, with the handles in it.
impl Drop for End {
    fn drop(&mut self) {
        if let Some(mail) = &self.receives
            && mail.has_messages()
        {
            let census = self.handle.holder_count(RECEIVERS[mail.index()].trailing_zeros());
            if census.here == 1 && census.elsewhere.is_none() {
                mail.discard_all();
            }
        }
    }
}

/// Why a message was not sent.
pub(super) enum Unsent {
    /// There was no room, or not in time.
    Full,
    Error(SendError),
}

/// Why none was received.
pub(super) enum Unreceived {
    Empty,
    TooShort(usize),
    Error(RecvError),
}

impl From<SendError> for Unsent {
    fn from(error: SendError) -> Self {
        Unsent::Error(error)
    }
}

impl From<RecvError> for Unreceived {
    fn from(error: RecvError) -> Self {
        Unreceived::Error(error)
    }
}

impl From<RingError> for Unsent {
    fn from(stop: RingError) -> Self {
        Unsent::Error(match stop {
            RingError::NotNow | RingError::Timeout => return Unsent::Full,
            RingError::Alone | RingError::Closed => SendError::BrokenPipe,
            RingError::NoSpace => SendError::NoSpace,
            RingError::Deadlock => SendError::Deadlock,
            _ => SendError::Corrupt,
        })
    }
}

impl From<SendFailure> for Unsent {
    fn from(failure: SendFailure) -> Self {
        match failure {
            SendFailure::Ring(stop) => stop.into(),
            SendFailure::Codec(error) => Unsent::Error(SendError::Encode(error)),
        }
    }
}

pub(super) fn recv_error(stop: RingError) -> RecvError {
    match stop {
        RingError::Alone | RingError::Closed => RecvError::Eof,
        RingError::NoSpace => RecvError::NoSpace,
        RingError::Deadlock => RecvError::Deadlock,
        RingError::Truncated => RecvError::Truncated,
        _ => RecvError::Corrupt,
    }
}

impl From<RingError> for Unreceived {
    fn from(stop: RingError) -> Self {
        match stop {
            RingError::NotNow | RingError::Timeout => Unreceived::Empty,
            RingError::TooShort(needed) => Unreceived::TooShort(needed),
            stop => Unreceived::Error(recv_error(stop)),
        }
    }
}

impl From<SendFailure> for Unreceived {
    fn from(failure: SendFailure) -> Self {
        match failure {
            SendFailure::Ring(stop) => stop.into(),
            SendFailure::Codec(error) => Unreceived::Error(RecvError::Decode(error)),
        }
    }
}
