//! The public methods of the ends that send, and of those that receive: each is written once, and only forwards. And
//! the iterator over messages.

use super::endpoint::Endpoint;
use super::{Frame, Pipe, Receiver, Sender, Slot};
use crate::marker::{self, Element, Message};
use crate::{RecvError, RecvIntoError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError};
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

/// Defines the methods for each of the types. In their docs, `#[ends]` stands for the line of an example that makes a
/// `sender` and a `receiver`, which is given with the type.
macro_rules! methods {
    ([$($type:ident<$($message:ident),+>: $make:literal),+] $methods:tt) => {
        $( methods! { @of $type<$($message),+> $make $methods } )+
    };
    (@of $type:ident<$($message:ident),+> $make:literal { $(
        $(#[doc = $doc:literal])*
        #[ends]
        $(#[doc = $rest:literal])*
        pub fn $name:ident $(<$param:ident: $bound:ident>)? ($($args:tt)*) -> $output:ty $body:block
    )+ }) => {
        impl<$($message: Message),+> $type<$($message),+> { $(
            $(#[doc = $doc])*
            #[doc = $make]
            $(#[doc = $rest])*
            #[inline]
            pub fn $name $(<$param: $bound>)? ($($args)*) -> $output $body
        )+ }
    };
}

methods! { [
    Sender<S>: "let (sender, receiver) = crossproc::Pipe::<i32>::one_way()?;",
    Pipe<S, R>: "let (sender, receiver) = crossproc::Pipe::<i32>::pair()?;"
] {
    /// Sends a message; waits while the pipe is full.
    ///
    /// # Errors
    /// [`BrokenPipe`](SendError::BrokenPipe) if no process is left that could receive it, [`Encode`](SendError::Encode)
    /// (nothing was sent), [`NoSpace`](SendError::NoSpace), [`Deadlock`](SendError::Deadlock) if this thread has a
    /// [`Slot`] of this pipe, [`Corrupt`](SendError::Corrupt).
    ///
    /// ```
    #[ends]
    /// sender.send(&5)?;
    /// assert_eq!(receiver.recv()?, 5);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn send(&self, message: &S) -> Result<(), SendError> {
        self.endpoint.send(message)
    }

    /// Sends a message if there is room.
    ///
    /// # Errors
    /// [`Full`](TrySendError::Full), or as for [`send`](Self::send).
    ///
    /// ```
    #[ends]
    /// sender.try_send(&5)?;
    /// assert_eq!(receiver.try_recv()?, 5);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn try_send(&self, message: &S) -> Result<(), TrySendError> {
        self.endpoint.try_send(message)
    }

    /// Sends a message; waits at most for `duration` while the pipe is full, by the monotonic clock.
    ///
    /// # Errors
    /// [`Timeout`](SendTimeoutError::Timeout), or as for [`send`](Self::send).
    ///
    /// ```
    #[ends]
    /// sender.send_timeout(&5, std::time::Duration::from_secs(1))?;
    /// assert_eq!(receiver.recv()?, 5);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn send_timeout(&self, message: &S, duration: Duration) -> Result<(), SendTimeoutError> {
        self.endpoint.send_timeout(message, duration)
    }

    /// Sends bytes without encoding them, for [`recv_bytes`](crate::Receiver::recv_bytes). There may be none.
    ///
    /// # Errors
    /// As for [`send`](Self::send).
    ///
    /// ```
    #[ends]
    /// sender.send_bytes(b"raw")?;
    /// assert_eq!(receiver.recv_bytes()?, b"raw");
    /// # sender.send(&5)?;
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn send_bytes(&self, bytes: &[u8]) -> Result<(), SendError> {
        self.endpoint.send_bytes(bytes)
    }

    /// Sends a slice by one copy, without serde, for [`recv_vec`](crate::Receiver::recv_vec).
    ///
    /// # Errors
    /// As for [`send`](Self::send).
    ///
    /// ```
    #[ends]
    /// sender.send_slice(&[1.5f32, 2.5])?;
    /// assert_eq!(receiver.recv_vec::<f32>()?, [1.5, 2.5]);
    /// # sender.send(&5)?;
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn send_slice<E: Element>(&self, items: &[E]) -> Result<(), SendError> {
        self.endpoint.send_bytes(marker::bytes_of(items))
    }

    /// Reserves room for a message of `length` bytes, to be written in place; waits while the pipe is full. The initial
    /// content is arbitrary. A message of up to 22 bytes, or one that is longer than the pipe, is written elsewhere and
    /// copied.
    ///
    /// # Errors
    /// As for [`send`](Self::send).
    ///
    /// ```
    #[ends]
    /// let mut slot = sender.reserve(3)?;
    /// slot.copy_from_slice(b"raw");
    /// slot.send()?;
    /// assert_eq!(receiver.recv_bytes()?, b"raw");
    /// # sender.send(&5)?;
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn reserve(&self, length: usize) -> Result<Slot<'_>, SendError> {
        Slot::reserve(&self.endpoint, length)
    }
} }

methods! { [
    Receiver<R>: "let (sender, receiver) = crossproc::Pipe::<i32>::one_way()?;",
    Pipe<S, R>: "let (sender, receiver) = crossproc::Pipe::<i32>::pair()?;"
] {
    /// Receives a message; waits while there is none.
    ///
    /// # Errors
    /// [`Eof`](RecvError::Eof) if no process is left that could send a message and all messages were received;
    /// [`Decode`](RecvError::Decode) if the message is not of this type, or a handle in it refers to an object that is
    /// gone: the message is lost; [`NoSpace`](RecvError::NoSpace), [`Deadlock`](RecvError::Deadlock) if this thread has
    /// a [`Frame`] of this pipe, [`Truncated`](RecvError::Truncated), [`Corrupt`](RecvError::Corrupt).
    ///
    /// ```
    #[ends]
    /// sender.send(&5)?;
    /// assert_eq!(receiver.recv()?, 5);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn recv(&self) -> Result<R, RecvError> {
        self.endpoint.recv()
    }

    /// Receives a message if there is one.
    ///
    /// # Errors
    /// [`Empty`](TryRecvError::Empty), or as for [`recv`](Self::recv).
    ///
    /// ```
    #[ends]
    /// sender.send(&5)?;
    /// assert_eq!((receiver.try_recv(), receiver.try_recv()), (Ok(5), Err(crossproc::TryRecvError::Empty)));
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn try_recv(&self) -> Result<R, TryRecvError> {
        self.endpoint.try_recv()
    }

    /// Receives a message; waits at most for `duration` while there is none, by the monotonic clock.
    ///
    /// # Errors
    /// [`Timeout`](RecvTimeoutError::Timeout), or as for [`recv`](Self::recv).
    ///
    /// ```
    #[ends]
    /// sender.send(&5)?;
    /// assert_eq!(receiver.recv_timeout(std::time::Duration::from_secs(1))?, 5);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn recv_timeout(&self, duration: Duration) -> Result<R, RecvTimeoutError> {
        self.endpoint.recv_timeout(duration)
    }

    /// Waits at most for `duration` for a message. Returns whether `recv` would return at once, with a message or
    /// because no process is left that could send one.
    ///
    /// # Errors
    /// As for [`recv`](Self::recv), except [`Eof`](RecvError::Eof).
    ///
    /// ```
    /// use std::time::Duration;
    #[ends]
    /// assert!(!receiver.poll(Duration::ZERO)?);
    /// sender.send(&5)?;
    /// assert!(receiver.poll(Duration::MAX)?);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn poll(&self, duration: Duration) -> Result<bool, RecvError> {
        self.endpoint.poll(duration)
    }

    /// Receives the bytes of a message, of whatever type it is; waits while there is none.
    ///
    /// # Errors
    /// As for [`recv`](Self::recv).
    ///
    /// ```
    #[ends]
    /// sender.send_bytes(b"raw")?;
    /// assert_eq!(receiver.recv_bytes()?, b"raw");
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn recv_bytes(&self) -> Result<Vec<u8>, RecvError> {
        self.endpoint.recv_bytes()
    }

    /// Receives the bytes of a message into the front of a buffer, and returns their number; waits while there is none.
    ///
    /// # Errors
    /// [`TooShort`](RecvIntoError::TooShort), and the message stays; or as for [`recv`](Self::recv).
    ///
    /// ```
    #[ends]
    /// sender.send_bytes(b"raw")?;
    /// let mut buffer = [0; 10];
    /// assert_eq!((receiver.recv_bytes_into(&mut buffer)?, &buffer[..3]), (3, &b"raw"[..]));
    /// # sender.send(&5)?;
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn recv_bytes_into(&self, buffer: &mut [u8]) -> Result<usize, RecvIntoError> {
        self.endpoint.recv_bytes_into(buffer)
    }

    /// Receives a slice; waits while there is no message.
    ///
    /// # Errors
    /// As for [`recv`](Self::recv); [`Decode`](RecvError::Decode) if the bytes of the message are not valid elements.
    ///
    /// ```
    #[ends]
    /// sender.send_slice(&[1u16, 2])?;
    /// assert_eq!(receiver.recv_vec::<u16>()?, [1, 2]);
    /// # sender.send(&5)?;
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn recv_vec<E: Element>(&self) -> Result<Vec<E>, RecvError> {
        marker::from_bytes(&self.endpoint.recv_bytes()?).map_err(RecvError::Decode)
    }

    /// Returns the next message, to be read in place; waits while there is none. A message of up to 22 bytes, or one
    /// that is longer than the pipe, is copied. Processes that have the other end are trusted not to write to a message
    /// that they have sent.
    ///
    /// # Errors
    /// As for [`recv`](Self::recv).
    ///
    /// ```
    #[ends]
    /// sender.send_bytes(b"raw")?;
    /// let frame = receiver.peek()?;
    /// assert_eq!(&frame[..], b"raw");
    /// frame.consume()?;
    /// # sender.send(&5)?;
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn peek(&self) -> Result<Frame<'_>, RecvError> {
        Frame::peek(&self.endpoint)
    }

    /// An iterator that receives a message for each call of `next`. It ends when no process is left that could send
    /// one.
    ///
    /// ```
    #[ends]
    /// sender.send(&5)?;
    /// drop(sender);
    /// assert_eq!(receiver.iter().collect::<Result<Vec<_>, _>>()?, [5]);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn iter(&self) -> Messages<'_, R> {
        Messages { endpoint: &self.endpoint, messages: PhantomData }
    }
} }

impl<'a, R: Message> IntoIterator for &'a Receiver<R> {
    type Item = Result<R, RecvError>;
    type IntoIter = Messages<'a, R>;

    fn into_iter(self) -> Messages<'a, R> {
        self.iter()
    }
}

impl<'a, S: Message, R: Message> IntoIterator for &'a Pipe<S, R> {
    type Item = Result<R, RecvError>;
    type IntoIter = Messages<'a, R>;

    fn into_iter(self) -> Messages<'a, R> {
        self.iter()
    }
}

/// The messages of an end, each received by a call of `next`; see [`Receiver::iter`].
///
/// ```
/// let (sender, receiver) = crossproc::Pipe::one_way()?;
/// sender.send(&'a')?;
/// assert_eq!(receiver.iter().next(), Some(Ok('a')));
/// # Ok::<(), crossproc::Error>(())
/// ```
pub struct Messages<'a, T> {
    endpoint: &'a Endpoint,
    messages: PhantomData<fn() -> T>,
}

impl<T: Message> Iterator for Messages<'_, T> {
    type Item = Result<T, RecvError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.endpoint.recv() {
            Err(RecvError::Eof) => None,
            message => Some(message),
        }
    }
}

impl<T> fmt::Debug for Messages<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Messages").finish_non_exhaustive()
    }
}
