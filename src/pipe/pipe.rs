//! `Pipe`: an end that sends and receives.

use super::endpoint::{Endpoint, endpoint_object};
use super::halves::{self, Receiver, Sender};
use super::kind::PipeKind;
use super::roles::{ENDS, RECEIVERS, SENDERS};
use crate::SegmentError;
use crate::marker::Message;
use crate::ring::RingSource;
use crate::segment;
use std::marker::PhantomData;

/// The room of a pipe for which none is given.
const DEFAULT_BYTES: usize = 256 << 10;

/// One end of a pipe between processes. It sends messages of type `S` and receives messages of type `R`.
///
/// [`pair`](Pipe::pair) makes a pipe and returns both ends; [`one_way`](Pipe::one_way) makes a pipe of one direction
/// and returns its two halves. An end can be an argument, a result, or part of a message, like any handle. Messages
/// keep their boundaries and their order. A pipe holds 256 KiB unless another size is given; a send waits while the
/// pipe is full, and a message that is longer than the pipe goes through all the same. Many threads and processes can
/// use an end at the same time; the other side notices when the last of them drops it.
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
/// A message that the process was sending is either in the pipe, complete, or not in it at all. When no process has the
/// other end any more, `recv` returns the messages that were sent before, then [`Eof`](crate::RecvError::Eof), also in
/// a thread that is already waiting; `send` is [`BrokenPipe`](crate::SendError::BrokenPipe). There are two exceptions,
/// in which the other end still counts: a process was killed while it took that end out of a message, or that end is in
/// an unread message in the pipe itself.
pub struct Pipe<S, R = S> {
    pub(super) endpoint: Endpoint,
    messages: PhantomData<fn(S) -> R>,
}

endpoint_object!(Pipe<S, R>, ENDS);

impl<S, R> Pipe<S, R> {
    fn new(endpoint: Endpoint) -> Self {
        Pipe { endpoint, messages: PhantomData }
    }

    pub(crate) fn ring_source(&self) -> Option<RingSource<'_>> {
        self.endpoint.ring_source()
    }
}

impl<S: Message, R: Message> Pipe<S, R> {
    /// Makes a pipe and returns both ends.
    ///
    /// # Errors
    /// [`NoSpace`](SegmentError::NoSpace), or an error of the operating system.
    ///
    /// ```
    /// let (client, server) = crossproc::Pipe::<String, usize>::pair()?;
    /// client.send(&"hello".to_string())?;
    /// server.send(&server.recv()?.len())?;
    /// assert_eq!(client.recv()?, 5);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    #[allow(clippy::type_complexity, reason = "the types of both ends are written out")]
    pub fn pair() -> Result<(Pipe<S, R>, Pipe<R, S>), SegmentError> {
        Pipe::pair_with_capacity(DEFAULT_BYTES)
    }

    /// Makes a pipe with room for at least `bytes` in each direction, rounded up to a power of two, and returns both
    /// ends.
    ///
    /// # Errors
    /// As for [`pair`](Pipe::pair), and [`TooLarge`](SegmentError::TooLarge).
    ///
    /// ```
    /// let (client, server) = crossproc::Pipe::<u8>::pair_with_capacity(1 << 20)?;
    /// client.send_bytes(&[1; 1_000_000])?;
    /// assert_eq!(server.recv_bytes()?.len(), 1_000_000);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    #[allow(clippy::type_complexity, reason = "the types of both ends are written out")]
    pub fn pair_with_capacity(bytes: usize) -> Result<(Pipe<S, R>, Pipe<R, S>), SegmentError> {
        // It is made with all roles, which are given up when it is dropped here.
        let all: Pipe<S, R> = segment::create(PipeKind::TwoWays { bytes }.pack()?, |_| ())?;
        Ok((Pipe::new(all.endpoint.in_roles(ENDS[0])), Pipe::new(all.endpoint.in_roles(ENDS[1]))))
    }

    /// Splits this end into its two halves, which can go to different threads or processes.
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
        (Sender::new(self.endpoint.half(SENDERS)), Receiver::new(self.endpoint.half(RECEIVERS)))
    }

    /// Closes this end, as dropping it does.
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
    /// Makes a pipe of one direction and returns its two ends.
    ///
    /// # Errors
    /// As for [`pair`](Pipe::pair).
    ///
    /// ```
    /// let (sender, receiver) = crossproc::Pipe::one_way()?;
    /// sender.send(&[1, 2, 3])?;
    /// assert_eq!(receiver.recv()?, [1, 2, 3]);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn one_way() -> Result<(Sender<S>, Receiver<S>), SegmentError> {
        Pipe::one_way_with_capacity(DEFAULT_BYTES)
    }

    /// Makes a pipe of one direction with room for at least `bytes`, rounded up to a power of two.
    ///
    /// # Errors
    /// As for [`pair_with_capacity`](Pipe::pair_with_capacity).
    ///
    /// ```
    /// let (sender, receiver) = crossproc::Pipe::<()>::one_way_with_capacity(4096)?;
    /// sender.send_bytes(&[1; 4000])?;
    /// assert_eq!(receiver.recv_bytes()?.len(), 4000);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn one_way_with_capacity(bytes: usize) -> Result<(Sender<S>, Receiver<S>), SegmentError> {
        halves::one_way(PipeKind::OneWay { bytes })
    }
}
