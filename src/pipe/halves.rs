//! `Sender` and `Receiver`: the two halves of an end, or the two ends of a pipe of one direction.

use super::endpoint::{Endpoint, endpoint_object};
use super::kind::PipeKind;
use super::roles::{RECEIVERS, SENDERS};
use crate::marker::Message;
use crate::messages::MessageRing;
use crate::ring::RingSource;
use crate::segment;
use crate::segment::transfer::InFlightGuard;
use crate::{RecvError, SegmentError, SendError};
use std::marker::PhantomData;

/// The sending end of a pipe of one direction or of a channel, or the sending half of an end of a
/// [`Pipe`](crate::Pipe).
///
/// Clones of it can be in any process. All their messages arrive in the order in which their calls of `send` took
/// effect.
///
/// ```
/// use crossproc::{Process, Sender, channel};
/// fn work(results: Sender<u32>) {
///     results.send(&std::process::id()).unwrap();
/// }
/// let (sender, receiver) = channel(64)?;
/// let workers = (0..3).map(|_| Process::spawn(work, (sender.clone(),))).collect::<Result<Vec<_>, _>>()?;
/// drop(sender); // the workers have the only senders now
/// assert_eq!(receiver.iter().count(), 3);
/// workers.into_iter().try_for_each(|worker| worker.join())?;
/// # Ok::<(), crossproc::Error>(())
/// ```
///
/// # When a process dies
/// See [`Pipe`](crate::Pipe).
pub struct Sender<T> {
    pub(super) endpoint: Endpoint,
    messages: PhantomData<fn() -> T>,
}

/// The receiving end of a pipe of one direction or of a channel, or the receiving half of an end of a
/// [`Pipe`](crate::Pipe).
///
/// Clones of it can be in any process. They share the messages: each message goes to one of them.
///
/// ```
/// let (sender, receiver) = crossproc::channel(64)?;
/// sender.send(&1)?;
/// drop(sender);
/// for message in &receiver {
///     assert_eq!(message?, 1);
/// } // until every sender is gone
/// # Ok::<(), crossproc::Error>(())
/// ```
///
/// # When a process dies
/// See [`Pipe`](crate::Pipe).
pub struct Receiver<T> {
    pub(super) endpoint: Endpoint,
    messages: PhantomData<fn() -> T>,
}

endpoint_object!(Sender<T>, SENDERS);
endpoint_object!(Receiver<T>, RECEIVERS);

impl<T> Sender<T> {
    pub(super) fn new(endpoint: Endpoint) -> Self {
        Sender { endpoint, messages: PhantomData }
    }

    /// Closes this sender, as dropping it does.
    ///
    /// ```
    /// let (sender, receiver) = crossproc::Pipe::<u8>::one_way()?;
    /// sender.close();
    /// assert_eq!(receiver.recv(), Err(crossproc::RecvError::Eof));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn close(self) {}

    /// Sends a message of any type. The handles in it stay in flight until the guard is dropped, which the caller does
    /// when it knows that they were taken.
    pub(crate) fn send_and_keep<U: Message>(&self, message: &U) -> Result<Option<InFlightGuard>, SendError> {
        self.endpoint.send_and_keep(message)
    }

    /// The ring that it sends into, for messages of any type.
    pub(crate) fn message_ring(&self) -> Result<&MessageRing, SendError> {
        self.endpoint.outgoing()
    }
}

impl<T> Receiver<T> {
    pub(super) fn new(endpoint: Endpoint) -> Self {
        Receiver { endpoint, messages: PhantomData }
    }

    /// Closes this receiver, as dropping it does.
    ///
    /// ```
    /// let (sender, receiver) = crossproc::Pipe::<u8>::one_way()?;
    /// receiver.close();
    /// assert_eq!(sender.send(&1), Err(crossproc::SendError::BrokenPipe));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn close(self) {}

    /// The ring that it receives from, for messages of any type.
    pub(crate) fn message_ring(&self) -> Result<&MessageRing, RecvError> {
        self.endpoint.incoming()
    }

    /// Whether any process has a sender. Does not make the end of that process noticed.
    pub(crate) fn has_senders(&self) -> bool {
        self.endpoint.has_senders()
    }

    pub(crate) fn ring_source(&self) -> Option<RingSource<'_>> {
        self.endpoint.ring_source()
    }
}

/// Both ends of a new pipe of one direction.
pub(super) fn one_way<T>(kind: PipeKind) -> Result<(Sender<T>, Receiver<T>), SegmentError> {
    // It is made with all roles, which are given up when it is dropped here.
    let all: Sender<T> = segment::create(kind.pack()?, |_| ())?;
    Ok((Sender::new(all.endpoint.in_roles(SENDERS[0])), Receiver::new(all.endpoint.in_roles(RECEIVERS[0]))))
}

/// Makes a channel for at most `bound` messages at a time, each of any length: a [`Queue`](crate::Queue) with a sending
/// and a receiving side, each of which notices when the other one is gone.
///
/// # Errors
/// [`Invalid`](SegmentError::Invalid) if `bound` is 0, [`TooLarge`](SegmentError::TooLarge) from 2^60,
/// [`NoSpace`](SegmentError::NoSpace), or an error of the operating system.
///
/// ```
/// use crossproc::{RecvError, channel};
/// let (sender, receiver) = channel(2)?;
/// sender.send(&"a".to_string())?;
/// drop(sender);
/// assert_eq!((receiver.recv()?, receiver.recv()), ("a".to_string(), Err(RecvError::Eof)));
/// # Ok::<(), crossproc::Error>(())
/// ```
pub fn channel<T: Message>(bound: usize) -> Result<(Sender<T>, Receiver<T>), SegmentError> {
    one_way(PipeKind::Channel { messages: bound })
}
