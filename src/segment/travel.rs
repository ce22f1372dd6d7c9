//! Messages that carry handles, over a Unix socket.
//!
//! A handle is a place in memory that the receiver may not have yet. While a message is encoded, each handle leaves its
//! place in a side table of the thread and a *ticket* in the bytes; the table travels beside the bytes, the memory itself
//! as file descriptors. Encoding a handle anywhere else, say into JSON, is an error that says so.
//!
//! # If a process dies here
//! A sender that dies before the last byte leaves the receiver with [`TravelError::Eof`]. A message that was sent and
//! never received keeps what its handles stand for until the last process of the family ends.

use super::heap::{self, Place};
use super::kind::Kind;
use super::mapping::{Backing, Segment};
use crate::sys::names::{self, Name};
use crate::sys::socket::{self, MOST_FDS, UnixStream};
use crate::sys::{Fd, memory, process};
use crate::{CodecError, SegmentError, TravelError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::sync::Mutex;

/// A handle in the bytes of a message.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Ticket {
    segment: u128,
    block: u32,
}

/// A message and what it carries.
struct Parcel {
    bytes: Vec<u8>,
    luggage: Luggage,
}

/// The places that a message's handles stand for. Dropped unsent, it gives the flights back.
#[derive(Default)]
struct Luggage {
    places: Vec<Place>,
    flights: Vec<Flight>,
}

/// A handle in a message, which may be on a part of an array.
struct Flight {
    place: Place,
    part: bool,
}

/// What the receiver must know of a segment.
#[derive(Serialize, Deserialize)]
struct Label {
    segment: u128,
    from: Origin,
}

#[derive(Serialize, Deserialize)]
enum Origin {
    Memfd,
    Named(String),
    Host { os_id: String, offset: usize },
}

#[derive(Default, Serialize, Deserialize)]
struct Manifest {
    labels: Vec<Label>,
    flights: Vec<(u128, u32, bool)>,
}

/// The other half of the side table: what came with a message and was not looked at yet.
struct Arrivals {
    bags: HashMap<u128, (Origin, Option<Fd>)>,
    flights: Vec<(u128, u32, bool)>,
}

/// A message that is being encoded or decoded.
struct Journey {
    side: Side,
    /// Why a handle could not go along: the codec's own errors have no room for it.
    reason: Option<String>,
}

enum Side {
    Out(Luggage),
    In(Arrivals),
}

thread_local! {
    /// Innermost last: a `Serialize` may itself encode a message.
    static JOURNEYS: RefCell<Vec<Journey>> = const { RefCell::new(Vec::new()) };
}

const NOT_TRAVELLING: &str =
    "a handle on shared memory can only be part of a message between processes (crossproc::travel), not of other data";

impl Drop for Luggage {
    fn drop(&mut self) {
        self.flights.iter().for_each(|flight| flight.place.land(flight.part));
    }
}

impl Drop for Arrivals {
    /// Handles that the reader did not take, since it stopped at an error before them.
    fn drop(&mut self) {
        for (segment, block, part) in std::mem::take(&mut self.flights) {
            let place = heap::lock().place(segment, block);
            if let Some(place) = place {
                place.land(part);
            }
        }
    }
}

/// Runs the codec with this journey innermost, and gives the journey back. An error tells why, where a handle knows.
fn travelling<R>(side: Side, codec: impl FnOnce() -> postcard::Result<R>) -> Result<(R, Side), CodecError> {
    /// Takes the journey off again, also when the codec panics.
    struct Off;
    impl Drop for Off {
        fn drop(&mut self) {
            JOURNEYS.with_borrow_mut(Vec::pop);
        }
    }
    JOURNEYS.with_borrow_mut(|journeys| journeys.push(Journey { side, reason: None }));
    let off = Off;
    let result = codec();
    std::mem::forget(off);
    let journey = JOURNEYS.with_borrow_mut(Vec::pop);
    match (result, journey) {
        (Ok(result), Some(journey)) => Ok((result, journey.side)),
        (Err(error), journey) => Err(CodecError(journey.and_then(|j| j.reason).unwrap_or_else(|| error.to_string()))),
        (Ok(_), None) => Err(CodecError(NOT_TRAVELLING.into())),
    }
}

/// Says why a handle cannot go along, and gives the text.
pub(super) fn refuse(error: impl std::fmt::Display) -> String {
    let text = error.to_string();
    JOURNEYS.with_borrow_mut(|journeys| {
        if let Some(journey) = journeys.last_mut() {
            journey.reason.get_or_insert_with(|| text.clone());
        }
    });
    text
}

/// A handle is encoded: its place goes with the message.
pub(super) fn depart(place: &Place, part: bool) -> Result<Ticket, SegmentError> {
    JOURNEYS.with_borrow_mut(|journeys| {
        let Some(Side::Out(luggage)) = journeys.last_mut().map(|journey| &mut journey.side) else {
            return Err(SegmentError::Invalid(NOT_TRAVELLING.into()));
        };
        place.depart(part)?;
        luggage.flights.push(Flight { place: place.clone(), part });
        let segment = place.segment().header.id();
        if !luggage.places.iter().any(|other| other.segment().header.id() == segment) {
            luggage.places.push(place.clone());
        }
        Ok(Ticket { segment, block: place.block() })
    })
}

/// A handle is decoded: its segment is here already, or came with the message.
pub(super) fn arrive(ticket: &Ticket, part: bool) -> Result<Place, SegmentError> {
    JOURNEYS.with_borrow_mut(|journeys| {
        let Some(Side::In(arrivals)) = journeys.last_mut().map(|journey| &mut journey.side) else {
            return Err(SegmentError::Invalid(NOT_TRAVELLING.into()));
        };
        let place = find(ticket, arrivals)?;
        if part {
            heap::lock().add_part(&place)?;
        }
        let flight = (ticket.segment, ticket.block, part);
        if let Some(at) = arrivals.flights.iter().rposition(|other| *other == flight) {
            arrivals.flights.swap_remove(at);
            place.land(part); // only now: our own bits are set
        }
        Ok(place)
    })
}

fn find(ticket: &Ticket, arrivals: &mut Arrivals) -> Result<Place, SegmentError> {
    let mut heap = heap::lock();
    if let Some(segment) = heap.single(ticket.segment) {
        return Ok(Place::Single(segment));
    }
    let arena = match heap.arena(ticket.segment) {
        Some(arena) => arena,
        None => {
            let bag = arrivals.bags.remove(&ticket.segment).ok_or(SegmentError::Gone)?;
            let segment = unpack(bag)?;
            if segment.header.id() != ticket.segment {
                return Err(SegmentError::NotASegment);
            }
            if segment.header.spec().kind != Kind::Arena as u32 {
                return Ok(Place::Single(heap.adopt_single(segment)));
            }
            heap.adopt_arena(segment)
        }
    };
    arena.arrive(ticket.block)?;
    Ok(Place::Block { arena, block: ticket.block })
}

fn unpack(bag: (Origin, Option<Fd>)) -> Result<Segment, SegmentError> {
    match bag {
        (Origin::Memfd, Some(fd)) => {
            let size = memory::accept(&fd)?;
            Segment::attach(Backing::Memfd(fd), size)
        }
        (Origin::Named(name), Some(fd)) => {
            let file = names::reopen(&fd, &Name::new(&name)?)?;
            let size = file.size()?;
            Segment::attach(Backing::Named(Mutex::new(file)), size)
        }
        #[cfg(feature = "shared_memory")]
        (Origin::Host { os_id, offset }, None) => super::within::attach_by_id(&os_id, offset),
        _ => Err(SegmentError::Gone),
    }
}

fn pack<T: Serialize + ?Sized>(message: &T) -> Result<Parcel, CodecError> {
    let (bytes, side) = travelling(Side::Out(Luggage::default()), || postcard::to_stdvec(message))?;
    match side {
        Side::Out(luggage) => Ok(Parcel { bytes, luggage }),
        Side::In(_) => Err(CodecError(NOT_TRAVELLING.into())),
    }
}

fn unpack_message<T: DeserializeOwned>(bytes: &[u8], arrivals: Arrivals) -> Result<T, CodecError> {
    let ((message, rest), _) = travelling(Side::In(arrivals), || postcard::take_from_bytes(bytes))?;
    match rest {
        [] => Ok(message),
        _ => Err(CodecError(format!("{} bytes behind the message", rest.len()))),
    }
}

/// What stands in front of a message on a socket.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Prologue {
    magic: u32,
    fds: u32,
    manifest: u64,
    bytes: u64,
}
const MAGIC: u32 = u32::from_be_bytes(*b"xprc");
const LARGEST_MANIFEST: u64 = 64 << 20;

/// Sends a message over a Unix socket, with the handles that are in it.
///
/// The receiver may be any process of the same user that uses the same version of this crate: a child that inherited the
/// socket, or another program. It need not have seen the handles' memory before. Blocks until the message is written.
///
/// # Errors
/// [`Encode`](TravelError::Encode) when the message cannot be encoded, [`WrongOwner`](TravelError::WrongOwner) when the
/// peer runs as another user, else what the system said. After an error the stream may hold half a message: close it.
///
/// # When a process dies
/// The receiver gets [`Eof`](TravelError::Eof) if the sender died before the last byte. Objects whose handles were in a
/// message that nobody received keep their memory until the last process that uses the same arena ends.
///
/// ```
/// use crossproc::{Value, travel};
/// let (here, there) = std::os::unix::net::UnixStream::pair()?;
/// let value = Value::new(41)?;
/// travel::send(&here, &("answer", &value))?;
/// let (name, same): (String, Value<i32>) = travel::recv(&there)?;
/// *same.lock()? += 1;
/// assert_eq!((name.as_str(), value.get()), ("answer", 42));
/// # Ok::<(), crossproc::Error>(())
/// ```
pub fn send<T: Serialize + ?Sized>(stream: &UnixStream, message: &T) -> Result<(), TravelError> {
    if socket::peer_user(stream)? != process::user() {
        return Err(TravelError::WrongOwner);
    }
    let mut parcel = pack(message).map_err(TravelError::Encode)?;
    let (manifest, fds) = parcel.luggage.list();
    let manifest =
        postcard::to_stdvec(&manifest).map_err(|error| TravelError::Encode(CodecError(error.to_string())))?;
    let prologue = Prologue {
        magic: MAGIC,
        fds: fds.len() as u32,
        manifest: manifest.len() as u64,
        bytes: parcel.bytes.len() as u64,
    };
    socket::send(stream, bytemuck::bytes_of(&prologue), &[])?;
    for fds in fds.chunks(MOST_FDS) {
        socket::send(stream, &[0], fds)?;
    }
    let mut stream = stream;
    stream.write_all(&manifest)?;
    stream.write_all(&parcel.bytes)?;
    parcel.luggage.flights.clear(); // they are the receiver's now
    Ok(())
}

/// Receives a message that [`send`] sent. Blocks until it is there.
///
/// # Errors
/// [`Eof`](TravelError::Eof) when the peer has closed or died, [`Decode`](TravelError::Decode) when the bytes are no such
/// message, a handle is of another type, or its memory cannot be attached; [`WrongOwner`](TravelError::WrongOwner) when
/// the peer runs as another user; else what the system said. Memory that a peer sends is checked before it is used.
/// After `Decode` the stream stands at the next message; after any other error, a timeout of the socket among them, it may
/// stand inside one: close it.
///
/// # When a process dies
/// See [`send`], which has an example too.
///
/// ```
/// use crossproc::{TravelError, travel};
/// let (here, there) = std::os::unix::net::UnixStream::pair()?;
/// travel::send(&here, "hello")?;
/// assert_eq!(travel::recv::<String>(&there)?, "hello");
/// drop(here);
/// assert_eq!(travel::recv::<String>(&there), Err(TravelError::Eof));
/// # Ok::<(), crossproc::Error>(())
/// ```
pub fn recv<T: DeserializeOwned>(stream: &UnixStream) -> Result<T, TravelError> {
    if socket::peer_user(stream)? != process::user() {
        return Err(TravelError::WrongOwner);
    }
    let bad = |what: &str| TravelError::Decode(CodecError(what.into()));
    let mut prologue = [0; size_of::<Prologue>()];
    socket::recv(stream, &mut prologue)?;
    let prologue: Prologue = bytemuck::pod_read_unaligned(&prologue);
    if prologue.magic != MAGIC || prologue.manifest > LARGEST_MANIFEST {
        return Err(bad("not a message of crossproc::travel"));
    }
    let mut fds = Vec::new();
    while fds.len() < prologue.fds as usize {
        let more = socket::recv(stream, &mut [0])?;
        if more.is_empty() {
            return Err(bad("file descriptors are missing"));
        }
        fds.extend(more);
    }
    let manifest = read(stream, prologue.manifest)?;
    let bytes = read(stream, prologue.bytes)?;
    let manifest: Manifest = postcard::from_bytes(&manifest).map_err(|_| bad("a damaged list of handles"))?;
    unpack_message(&bytes, Arrivals::new(manifest, fds)).map_err(TravelError::Decode)
}

/// Reads that many bytes; memory grows with what really comes.
fn read(stream: &UnixStream, length: u64) -> Result<Vec<u8>, TravelError> {
    let mut bytes = Vec::new();
    stream.take(length).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == length { Ok(bytes) } else { Err(TravelError::Eof) }
}

impl Luggage {
    fn list(&self) -> (Manifest, Vec<Fd>) {
        let mut manifest = Manifest::default();
        let mut fds = Vec::new();
        for place in &self.places {
            let segment = place.segment();
            let (from, fd) = segment.origin();
            fds.extend(fd);
            manifest.labels.push(Label { segment: segment.header.id(), from });
        }
        manifest.flights = self
            .flights
            .iter()
            .map(|flight| (flight.place.segment().header.id(), flight.place.block(), flight.part))
            .collect();
        (manifest, fds)
    }
}

impl Segment {
    fn origin(&self) -> (Origin, Option<Fd>) {
        match &*self.backing {
            Backing::Memfd(fd) => (Origin::Memfd, memory::duplicate(fd)),
            Backing::Named(file) => {
                // A fork takes the heap first, so that it never copies this one locked.
                let _heap = heap::lock();
                let file = file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                (Origin::Named(file.name().as_str().to_owned()), file.descriptor())
            }
            #[cfg(feature = "shared_memory")]
            Backing::Host(host) => (Origin::Host { os_id: host.os_id().to_owned(), offset: host.offset() }, None),
        }
    }
}

impl Arrivals {
    fn new(manifest: Manifest, fds: Vec<Fd>) -> Self {
        let mut fds = fds.into_iter();
        let bags = manifest.labels.into_iter().map(|label| {
            let fd = if matches!(label.from, Origin::Host { .. }) { None } else { fds.next() };
            (label.segment, (label.from, fd))
        });
        // Read from the end, which is where the first handle of the message stands then.
        Arrivals { bags: bags.collect(), flights: manifest.flights.into_iter().rev().collect() }
    }
}
