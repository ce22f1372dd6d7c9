//! `Sender` and `Receiver`: the halves of an end, or the two ends of a pipe of one direction or a channel.

use super::endpoint::{self, End, RECEIVERS, SENDERS, Unreceived, Unsent, end_object};
use super::pipe::{never_empty, never_full, receives, sends};
use super::{Frame, Messages, Slot};
use crate::marker::Message;
use crate::marker::{self, Element};
use crate::messages::MessageRing;
use crate::ring::RingSource;
use crate::segment::transfer::InFlightGuard;
use crate::segment::{self, Handle, Holders, Kind, Object, ObjectLayout, Roles, Spec, handle_type};
use crate::sync::Timeout;
use crate::{
    RecvError, RecvIntoError, RecvTimeoutError, SegmentError, SendError, SendTimeoutError, TryRecvError, TrySendError,
};
use std::marker::PhantomData;
use std::time::Duration;

macro_rules! half {
    ($(#[$doc:meta])* $name:ident, $roles:ident, $closed:expr) => {
        $(#[$doc])*
        pub struct $name<T> {
            end: End,
            messages: PhantomData<fn() -> T>,
        }

        end_object!($name<T>, $roles);

        impl<T> $name<T> {
            /// Gives this half up, as dropping it does.
            ///
            /// ```
            /// let (sender, receiver) = crossproc::Pipe::<u8>::one_way()?;
            #[doc = $closed]
            /// # Ok::<(), crossproc::Error>(())
            /// ```
            pub fn close(self) {}
        }
    };
}

half! {
    /// What sends: of a pipe of one direction, a channel, or the half of an end of a [`Pipe`](crate::Pipe).
    ///
    /// Messages from all clones of it, in whatever process, come in the order in which their `send`s came to their end.
    ///
    /// ```
    /// use crossproc::{Process, Sender, channel};
    /// fn work(results: Sender<u32>) {
    ///     results.send(&std::process::id()).unwrap();
    /// }
    /// let (sender, receiver) = channel(64)?;
    /// let workers = (0..3).map(|_| Process::spawn(work, (sender.clone(),))).collect::<Result<Vec<_>, _>>()?;
    /// drop(sender); // so that the end comes with the workers'
    /// assert_eq!(receiver.iter().count(), 3);
    /// workers.into_iter().try_for_each(|worker| worker.join())?;
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    ///
    /// # When a process dies
    /// See [`Pipe`](crate::Pipe).
    Sender, SENDERS, "sender.close();\nassert_eq!(receiver.recv(), Err(crossproc::RecvError::Eof));"
}

half! {
    /// What receives: of a pipe of one direction, a channel, or the half of an end of a [`Pipe`](crate::Pipe).
    ///
    /// Its clones, in whatever process, share the messages: each goes to one of them.
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
    Receiver, RECEIVERS, "receiver.close();\nassert_eq!(sender.send(&1), Err(crossproc::SendError::BrokenPipe));"
}

sends!(Sender<T>, T, [T: Message], "let (sender, receiver) = crossproc::Pipe::<i32>::one_way()?;");
impl<T> Sender<T> {
    /// Sends a message of whatever type; its handles are the caller's to keep, until it is known that they were taken.
    pub(crate) fn send_and_keep<U: Message>(&self, message: &U) -> Result<Option<InFlightGuard>, SendError> {
        match self.end.send_and_keep(message) {
            Ok(custody) => Ok(custody),
            Err(Unsent::Error(error)) => Err(error),
            Err(Unsent::Full) => Err(SendError::Corrupt), // no answer to one who waits for ever
        }
    }

    /// The ring that it sends into, for messages of whatever type.
    pub(crate) fn mail(&self) -> Result<&MessageRing, SendError> {
        self.end.outgoing()
    }
}

impl<T> Receiver<T> {
    /// The ring that it receives from, for messages of whatever type.
    pub(crate) fn mail(&self) -> Result<&MessageRing, RecvError> {
        self.end.incoming()
    }

    /// Whether anybody has a sender. Whose end is to be news is not watched.
    pub(crate) fn has_senders(&self) -> bool {
        self.end.has_writers()
    }

    pub(crate) fn ring_source(&self) -> Option<RingSource<'_>> {
        self.end.ring_source()
    }
}

receives!(Receiver<T>, T, [T: Message], "let (sender, receiver) = crossproc::Pipe::<i32>::one_way()?;");

/// Both halves of a pipe of one direction.
pub(super) fn pair<T>(count: usize) -> Result<(Sender<T>, Receiver<T>), SegmentError> {
    // Made with all roles, of which there are none when it is dropped here.
    let all: Sender<T> = segment::create(count, |_| ())?;
    Ok((Sender::new(all.end.in_roles(SENDERS[0])), Receiver::new(all.end.in_roles(RECEIVERS[0]))))
}

/// A channel for at most so many messages at once, of whatever length: a [`Queue`](crate::Queue) whose holders have roles, so
/// that each side knows when the other is gone.
///
/// # Errors
/// [`Invalid`](SegmentError::Invalid) for 0 messages, [`TooLarge`](SegmentError::TooLarge) for 2^60,
/// [`NoSpace`](SegmentError::NoSpace), or what the system said.
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
    pair(endpoint::of_items(bound)?)
}
