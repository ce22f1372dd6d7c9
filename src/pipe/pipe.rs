//! `Pipe`: an end that sends and receives. And what all ends have for methods.

use super::endpoint::{self, ENDS, End, RECEIVERS, SENDERS, Unreceived, Unsent, end_object};
use super::{Frame, Receiver, Sender, Slot};
use crate::marker::Message;
use crate::marker::{self, Element};
use crate::ring::RingSource;
use crate::segment::{self, Handle, Holders, Kind, Object, ObjectLayout, Roles, Spec, handle_type};
use crate::sync::Timeout;
use crate::{
    RecvError, RecvIntoError, RecvTimeoutError, SegmentError, SendError, SendTimeoutError, TryRecvError, TrySendError,
};
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

/// One end of a pipe between processes: it sends `S`, and receives `R`.
///
/// [`pair`](Pipe::pair) makes both ends, [`one_way`](Pipe::one_way) the two halves of a pipe of one direction. An end is an
/// argument, a result, or part of a message like any handle. Messages have their boundaries, and come in order. A pipe holds
/// 256 KiB unless asked, and waits when it is full; a message that is longer goes through all the same. An end may be used
/// by many threads and processes at once, where the peer is told of the end by the last of them.
///
/// ```
/// use crossproc::{Pipe, Process};
/// fn upper(pipe: Pipe<String>) {
///     while let Ok(text) = pipe.recv() {
///         pipe.send(&text.to_uppercase()).unwrap();
///     }
/// }
/// let (ours, theirs) = Pipe::pair()?;
/// let child = Process::spawn(upper, (theirs,))?;
/// ours.send(&"hello".to_string())?;
/// assert_eq!(ours.recv()?, "HELLO");
/// ours.close(); // the child's loop ends
/// child.join()?;
/// # Ok::<(), crossproc::Error>(())
/// ```
///
/// # When a process dies
/// A message that it was sending is there, whole, or not. When everybody who had the other end is gone, `recv` gives
/// what had been sent, then [`Eof`](RecvError::Eof), also to one who sleeps; `send` is
/// [`BrokenPipe`](SendError::BrokenPipe). Not so if a process was killed while it took that end out of a message, or if the end
/// lies unread in the pipe itself.
pub struct Pipe<S, R = S> {
    pub(super) end: End,
    messages: PhantomData<fn(S) -> R>,
}

end_object!(Pipe<S, R>, ENDS);

impl<S: Message, R: Message> Pipe<S, R> {
    /// Both ends of a pipe.
    ///
    /// # Errors
    /// [`NoSpace`](SegmentError::NoSpace), or what the system said.
    ///
    /// ```
    /// let (client, server) = crossproc::Pipe::<String, usize>::pair()?;
    /// client.send(&"hello".to_string())?;
    /// server.send(&server.recv()?.len())?;
    /// assert_eq!(client.recv()?, 5);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    #[allow(clippy::type_complexity, reason = "the two ends, as they are")]
    pub fn pair() -> Result<(Pipe<S, R>, Pipe<R, S>), SegmentError> {
        Pipe::pair_with_capacity(endpoint::DEFAULT_BYTES)
    }

    /// The same, with room for at least so many bytes in each direction: rounded up to a power of two.
    ///
    /// # Errors
    /// As [`pair`](Pipe::pair), and [`TooLarge`](SegmentError::TooLarge).
    ///
    /// ```
    /// let (client, server) = crossproc::Pipe::<u8>::pair_with_capacity(1 << 20)?;
    /// client.send_bytes(&[1; 1_000_000])?;
    /// assert_eq!(server.recv_bytes()?.len(), 1_000_000);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    #[allow(clippy::type_complexity, reason = "the two ends, as they are")]
    pub fn pair_with_capacity(bytes: usize) -> Result<(Pipe<S, R>, Pipe<R, S>), SegmentError> {
        let all: Pipe<S, R> = segment::create(endpoint::two_ways(bytes)?, |_| ())?;
        Ok((Pipe::new(all.end.in_roles(ENDS[0])), Pipe::new(all.end.in_roles(ENDS[1]))))
    }

    /// The two halves of this end, which may go to different threads or processes.
    ///
    /// ```
    /// let (one, other) = crossproc::Pipe::<u8>::pair()?;
    /// let (sender, receiver) = one.split();
    /// sender.send(&1)?;
    /// sender.close();
    /// assert_eq!((other.recv()?, other.recv()), (1, Err(crossproc::RecvError::Eof)));
    /// other.send(&2)?;
    /// assert_eq!(receiver.recv()?, 2);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn split(self) -> (Sender<S>, Receiver<R>) {
        let half = |roles: [Roles; 2]| self.end.in_roles(self.end.handle.roles() & (roles[0] | roles[1]));
        (Sender::new(half(SENDERS)), Receiver::new(half(RECEIVERS)))
    }

    /// Gives this end up, as dropping it does.
    ///
    /// ```
    /// let (one, other) = crossproc::Pipe::<u8>::pair()?;
    /// one.close();
    /// assert_eq!(other.send(&1), Err(crossproc::SendError::BrokenPipe));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn close(self) {}
}

impl<S: Message> Pipe<S> {
    /// A pipe of one direction.
    ///
    /// # Errors
    /// As [`pair`](Pipe::pair).
    ///
    /// ```
    /// let (sender, receiver) = crossproc::Pipe::one_way()?;
    /// sender.send(&[1, 2, 3])?;
    /// assert_eq!(receiver.recv()?, [1, 2, 3]);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn one_way() -> Result<(Sender<S>, Receiver<S>), SegmentError> {
        Pipe::one_way_with_capacity(endpoint::DEFAULT_BYTES)
    }

    /// The same, with room for at least so many bytes: rounded up to a power of two.
    ///
    /// # Errors
    /// As [`pair_with_capacity`](Pipe::pair_with_capacity).
    ///
    /// ```
    /// let (sender, receiver) = crossproc::Pipe::<()>::one_way_with_capacity(4096)?;
    /// sender.send_bytes(&[1; 4000])?;
    /// assert_eq!(receiver.recv_bytes()?.len(), 4000);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn one_way_with_capacity(bytes: usize) -> Result<(Sender<S>, Receiver<S>), SegmentError> {
        super::halves::pair(endpoint::one_way(bytes)?)
    }
}

/// The methods of an end that sends, which has an `end`.
macro_rules! sends {
    ($type:ty, $message:ident, [$($params:tt)*], $make:expr) => {
        impl<$($params)*> $type {
            /// Sends a message; waits while the pipe is full.
            ///
            /// # Errors
            /// [`BrokenPipe`](SendError::BrokenPipe) when nobody is left who could receive it,
            /// [`Encode`](SendError::Encode) (nothing was sent), [`NoSpace`](SendError::NoSpace),
            /// [`Deadlock`](SendError::Deadlock) when this thread has a [`Slot`] of it, [`Corrupt`](SendError::Corrupt).
            ///
            /// ```
            #[doc = $make]
            /// sender.send(&5)?;
            /// assert_eq!(receiver.recv()?, 5);
            /// # Ok::<(), crossproc::Error>(())
            /// ```
            #[inline]
            pub fn send(&self, message: &$message) -> Result<(), SendError> {
                self.end.send(message, Timeout::Never).map_err(never_full)
            }

            /// Sends a message if there is room.
            ///
            /// # Errors
            /// [`Full`](TrySendError::Full), or as [`send`](Self::send).
            ///
            /// ```
            #[doc = $make]
            /// sender.try_send(&5)?;
            /// assert_eq!(receiver.try_recv()?, 5);
            /// # Ok::<(), crossproc::Error>(())
            /// ```
            pub fn try_send(&self, message: &$message) -> Result<(), TrySendError> {
                self.end.send(message, Timeout::Now).map_err(|unsent| match unsent {
                    Unsent::Full => TrySendError::Full,
                    Unsent::Error(error) => error.into(),
                })
            }

            /// Sends a message; waits for that long while the pipe is full, by the monotonic clock.
            ///
            /// # Errors
            /// [`Timeout`](SendTimeoutError::Timeout), or as [`send`](Self::send).
            ///
            /// ```
            #[doc = $make]
            /// sender.send_timeout(&5, std::time::Duration::from_secs(1))?;
            /// assert_eq!(receiver.recv()?, 5);
            /// # Ok::<(), crossproc::Error>(())
            /// ```
            pub fn send_timeout(&self, message: &$message, duration: Duration) -> Result<(), SendTimeoutError> {
                self.end.send(message, Timeout::at_most(duration)).map_err(|unsent| match unsent {
                    Unsent::Full => SendTimeoutError::Timeout,
                    Unsent::Error(error) => error.into(),
                })
            }

            /// Sends bytes, as they are, none of them too: for [`recv_bytes`](crate::Receiver::recv_bytes).
            ///
            /// # Errors
            /// As [`send`](Self::send).
            ///
            /// ```
            #[doc = $make]
            /// sender.send_bytes(b"raw")?;
            /// assert_eq!(receiver.recv_bytes()?, b"raw");
            /// # sender.send(&5)?;
            /// # Ok::<(), crossproc::Error>(())
            /// ```
            pub fn send_bytes(&self, bytes: &[u8]) -> Result<(), SendError> {
                self.end.send_bytes(bytes, Timeout::Never).map_err(never_full)
            }

            /// Sends a slice, by one copy, without serde: for [`recv_vec`](crate::Receiver::recv_vec).
            ///
            /// # Errors
            /// As [`send`](Self::send).
            ///
            /// ```
            #[doc = $make]
            /// sender.send_slice(&[1.5f32, 2.5])?;
            /// assert_eq!(receiver.recv_vec::<f32>()?, [1.5, 2.5]);
            /// # sender.send(&5)?;
            /// # Ok::<(), crossproc::Error>(())
            /// ```
            pub fn send_slice<E: Element>(&self, items: &[E]) -> Result<(), SendError> {
                self.send_bytes(marker::bytes_of(items))
            }

            /// Room for a message of that many bytes, to be written in place; waits while the pipe is full. What it
            /// holds at first is arbitrary. In place is what is longer than 22 bytes and not longer than the pipe; other
            /// messages are copied.
            ///
            /// # Errors
            /// As [`send`](Self::send).
            ///
            /// ```
            #[doc = $make]
            /// let mut slot = sender.reserve(3)?;
            /// slot.copy_from_slice(b"raw");
            /// slot.send()?;
            /// assert_eq!(receiver.recv_bytes()?, b"raw");
            /// # sender.send(&5)?;
            /// # Ok::<(), crossproc::Error>(())
            /// ```
            pub fn reserve(&self, length: usize) -> Result<Slot<'_>, SendError> {
                Slot::reserve(&self.end, length)
            }
        }
    };
}
pub(super) use sends;

/// The methods of an end that receives, which has an `end`.
macro_rules! receives {
    ($type:ty, $message:ident, [$($params:tt)*], $make:expr) => {
        impl<$($params)*> $type {
            /// Receives a message; waits while there is none.
            ///
            /// # Errors
            /// [`Eof`](RecvError::Eof) when nobody is left who could send one, and all that was sent was received;
            /// [`Decode`](RecvError::Decode) when it is none of this type, or a handle in it leads nowhere: it is gone;
            /// [`NoSpace`](RecvError::NoSpace), [`Deadlock`](RecvError::Deadlock) when this thread has a [`Frame`] of it,
            /// [`Truncated`](RecvError::Truncated), [`Corrupt`](RecvError::Corrupt).
            ///
            /// ```
            #[doc = $make]
            /// sender.send(&5)?;
            /// assert_eq!(receiver.recv()?, 5);
            /// # Ok::<(), crossproc::Error>(())
            /// ```
            #[inline]
            pub fn recv(&self) -> Result<$message, RecvError> {
                self.end.recv(Timeout::Never).map_err(never_empty)
            }

            /// Receives a message if there is one.
            ///
            /// # Errors
            /// [`Empty`](TryRecvError::Empty), or as [`recv`](Self::recv).
            ///
            /// ```
            #[doc = $make]
            /// sender.send(&5)?;
            /// assert_eq!((receiver.try_recv(), receiver.try_recv()), (Ok(5), Err(crossproc::TryRecvError::Empty)));
            /// # Ok::<(), crossproc::Error>(())
            /// ```
            pub fn try_recv(&self) -> Result<$message, TryRecvError> {
                self.end.recv(Timeout::Now).map_err(|unreceived| match unreceived {
                    Unreceived::Empty => TryRecvError::Empty,
                    other => never_empty(other).into(),
                })
            }

            /// Receives a message; waits for that long while there is none, by the monotonic clock.
            ///
            /// # Errors
            /// [`Timeout`](RecvTimeoutError::Timeout), or as [`recv`](Self::recv).
            ///
            /// ```
            #[doc = $make]
            /// sender.send(&5)?;
            /// assert_eq!(receiver.recv_timeout(std::time::Duration::from_secs(1))?, 5);
            /// # Ok::<(), crossproc::Error>(())
            /// ```
            pub fn recv_timeout(&self, duration: Duration) -> Result<$message, RecvTimeoutError> {
                self.end.recv(Timeout::at_most(duration)).map_err(|unreceived| match unreceived {
                    Unreceived::Empty => RecvTimeoutError::Timeout,
                    other => never_empty(other).into(),
                })
            }

            /// Waits for that long for a message: whether a `recv` would not wait, also since the end has come.
            ///
            /// # Errors
            /// As [`recv`](Self::recv), but for the end.
            ///
            /// ```
            /// use std::time::Duration;
            #[doc = $make]
            /// assert!(!receiver.poll(Duration::ZERO)?);
            /// sender.send(&5)?;
            /// assert!(receiver.poll(Duration::MAX)?);
            /// # Ok::<(), crossproc::Error>(())
            /// ```
            pub fn poll(&self, duration: Duration) -> Result<bool, RecvError> {
                self.end.poll(if duration.is_zero() { Timeout::Now } else { Timeout::at_most(duration) })
            }

            /// Receives the bytes of a message, whatever it is; waits while there is none.
            ///
            /// # Errors
            /// As [`recv`](Self::recv).
            ///
            /// ```
            #[doc = $make]
            /// sender.send_bytes(b"raw")?;
            /// assert_eq!(receiver.recv_bytes()?, b"raw");
            /// # sender.send(&5)?;
            /// # Ok::<(), crossproc::Error>(())
            /// ```
            pub fn recv_bytes(&self) -> Result<Vec<u8>, RecvError> {
                self.end.recv_bytes(usize::MAX, Timeout::Never).map_err(never_empty)
            }

            /// Receives the bytes of a message into the front of a buffer, and says how many there are; waits while there
            /// is none.
            ///
            /// # Errors
            /// [`TooShort`](RecvIntoError::TooShort), and the message stays; or as [`recv`](Self::recv).
            ///
            /// ```
            #[doc = $make]
            /// sender.send_bytes(b"raw")?;
            /// let mut buffer = [0; 10];
            /// assert_eq!((receiver.recv_bytes_into(&mut buffer)?, &buffer[..3]), (3, &b"raw"[..]));
            /// # sender.send(&5)?;
            /// # Ok::<(), crossproc::Error>(())
            /// ```
            pub fn recv_bytes_into(&self, buffer: &mut [u8]) -> Result<usize, RecvIntoError> {
                self.end.recv_bytes_into(buffer).map_err(|unreceived| match unreceived {
                    Unreceived::TooShort(needed) => RecvIntoError::TooShort { needed },
                    other => never_empty(other).into(),
                })
            }

            /// Receives a slice; waits while there is none.
            ///
            /// # Errors
            /// As [`recv`](Self::recv); [`Decode`](RecvError::Decode) when the message is none of such elements.
            ///
            /// ```
            #[doc = $make]
            /// sender.send_slice(&[1u16, 2])?;
            /// assert_eq!(receiver.recv_vec::<u16>()?, [1, 2]);
            /// # sender.send(&5)?;
            /// # Ok::<(), crossproc::Error>(())
            /// ```
            pub fn recv_vec<E: Element>(&self) -> Result<Vec<E>, RecvError> {
                marker::from_bytes(&self.recv_bytes()?).map_err(RecvError::Decode)
            }

            /// The next message, to be read in place; waits while there is none. In place is what is longer than 22
            /// bytes and not longer than the pipe; other messages are copied. Processes that have the other end are
            /// trusted not to write to a message that they have sent.
            ///
            /// # Errors
            /// As [`recv`](Self::recv).
            ///
            /// ```
            #[doc = $make]
            /// sender.send_bytes(b"raw")?;
            /// let frame = receiver.peek()?;
            /// assert_eq!(&frame[..], b"raw");
            /// frame.consume()?;
            /// # sender.send(&5)?;
            /// # Ok::<(), crossproc::Error>(())
            /// ```
            pub fn peek(&self) -> Result<Frame<'_>, RecvError> {
                Frame::peek(&self.end)
            }

            /// The messages, each received when it is asked for, until the end.
            ///
            /// ```
            #[doc = $make]
            /// sender.send(&5)?;
            /// drop(sender);
            /// assert_eq!(receiver.iter().collect::<Result<Vec<_>, _>>()?, [5]);
            /// # Ok::<(), crossproc::Error>(())
            /// ```
            pub fn iter(&self) -> Messages<'_, $message> {
                Messages { end: &self.end, messages: PhantomData }
            }
        }

        impl<'a, $($params)*> IntoIterator for &'a $type {
            type Item = Result<$message, RecvError>;
            type IntoIter = Messages<'a, $message>;

            fn into_iter(self) -> Messages<'a, $message> {
                self.iter()
            }
        }
    };
}
pub(super) use receives;

sends!(Pipe<S, R>, S, [S: Message, R: Message], "let (sender, receiver) = crossproc::Pipe::<i32>::pair()?;");
impl<S, R> Pipe<S, R> {
    pub(crate) fn ring_source(&self) -> Option<RingSource<'_>> {
        self.end.ring_source()
    }
}

receives!(Pipe<S, R>, R, [S: Message, R: Message], "let (sender, receiver) = crossproc::Pipe::<i32>::pair()?;");

/// Of one who waits as long as it takes.
pub(super) fn never_full(unsent: Unsent) -> SendError {
    match unsent {
        Unsent::Error(error) => error,
        Unsent::Full => SendError::Corrupt,
    }
}

/// The same for one who receives, into a buffer without end.
pub(super) fn never_empty(unreceived: Unreceived) -> RecvError {
    match unreceived {
        Unreceived::Error(error) => error,
        Unreceived::Empty | Unreceived::TooShort(_) => RecvError::Corrupt,
    }
}

/// The messages of an end; see [`Receiver::iter`].
///
/// ```
/// let (sender, receiver) = crossproc::Pipe::one_way()?;
/// sender.send(&'a')?;
/// assert_eq!(receiver.iter().next(), Some(Ok('a')));
/// # Ok::<(), crossproc::Error>(())
/// ```
pub struct Messages<'a, T> {
    pub(super) end: &'a End,
    pub(super) messages: PhantomData<fn() -> T>,
}

impl<T> fmt::Debug for Messages<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Messages").finish_non_exhaustive()
    }
}

impl<T: Message> Iterator for Messages<'_, T> {
    type Item = Result<T, RecvError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.end.recv(Timeout::Never).map_err(never_empty) {
            Err(RecvError::Eof) => None,
            message => Some(message),
        }
    }
}
