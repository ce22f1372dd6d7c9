//! Messages that carry handles, whatever carries them: a socket (`stream`), or a ring.
//!
//! A handle is a place in memory that the receiver may not have yet. While a message is encoded, each handle leaves its
//! place in a side table of the thread and a *ticket* in the bytes; the table travels beside the bytes, the memory itself
//! as file descriptors. Encoding a handle anywhere else, say into JSON, is an error that says so.
//!
//! # If a process dies here
//! A message that was sent and never received keeps what its handles stand for until the last process of the family ends.

pub(crate) mod socket;

use super::arena::allocator::{self, Location};
use super::fd_store::FdStore;
use super::handle::{Roles, each};
use super::kind::Kind;
use super::segment::{Backing, Segment};
use crate::sys::memory::{self, Letter};
use crate::sys::shm_file::{self, Name};
use crate::sys::{Fd, RaceOnce, process_id, watcher};
use crate::{CodecError, SegmentError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::sync::Mutex;

/// A handle in the bytes of a message.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Ticket {
    segment: u128,
    block: u32,
}

/// The places that a message's handles stand for. Dropped unsent, it gives the flights back.
#[derive(Default)]
struct ExportedHandles {
    places: Vec<Location>,
    flights: Vec<InFlightRef>,
}

/// A handle in a message: on a part of an array, say, or on an end of a pipe.
struct InFlightRef {
    place: Location,
    roles: Roles,
}

/// The handles of a message count as on their way until this is dropped, whatever becomes of the message and of who reads it.
/// For a sender who knows when it has been read: who dies while it reads takes nothing along.
pub(crate) struct InFlightGuard {
    luggage: ExportedHandles,
    /// A fork child has a copy, which counts for nothing.
    owner: process_id::ProcessId,
}

/// What the receiver must know of a segment.
#[derive(Serialize, Deserialize)]
struct SegmentDescriptor {
    segment: u128,
    from: Origin,
}

#[derive(Serialize, Deserialize)]
enum Origin {
    Memfd,
    /// A memory, and the two ends of its satchel.
    MessageRing,
    Named(String),
    Host {
        os_id: String,
        offset: usize,
    },
}

#[derive(Default, Serialize, Deserialize)]
struct Manifest {
    labels: Vec<SegmentDescriptor>,
    flights: Vec<(u128, u32, Roles)>,
}

/// The other half of the side table: what came with a message and was not looked at yet.
struct Arrivals {
    bags: Vec<ReceivedSegment>,
    flights: Vec<(u128, u32, Roles)>,
}

/// A segment that came with a message.
struct ReceivedSegment {
    segment: u128,
    from: Origin,
    fds: Vec<Fd>,
}

/// A message that is being encoded or decoded.
struct CodecScope {
    side: Side,
    /// Why a handle could not go along: the codec's own errors have no room for it.
    reason: Option<String>,
}

enum Side {
    Out(ExportedHandles),
    In(Arrivals),
}

thread_local! {
    /// Innermost last: a `Serialize` may itself encode a message. Empty whenever no codec runs, so there is no destructor
    /// to register, which a new process would pay for with its first message.
    static JOURNEYS: ManuallyDrop<RefCell<Vec<CodecScope>>> = const { ManuallyDrop::new(RefCell::new(Vec::new())) };
}

/// Takes the innermost journey off.
fn end_journey() -> Option<CodecScope> {
    JOURNEYS.with(|journeys| {
        let mut journeys = journeys.borrow_mut();
        let journey = journeys.pop();
        if journeys.is_empty() {
            *journeys = Vec::new();
        }
        journey
    })
}

const NOT_TRAVELLING: &str = "a handle on shared memory can only be part of a message between processes (crossproc::transfer), not of other data";

impl Drop for ExportedHandles {
    fn drop(&mut self) {
        self.flights.iter().for_each(|flight| flight.place.land(flight.roles));
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        if self.owner != process_id::ProcessId::current() {
            return self.luggage.flights.clear();
        }
        drop(std::mem::take(&mut self.luggage));
        watcher::tell(); // who sleeps may have waited for one of them
    }
}

impl Drop for Arrivals {
    /// Handles that the reader did not take: it stopped at an error before them, or did not want the message. Memory that it
    /// does not have yet is attached for this, and let go again.
    fn drop(&mut self) {
        let mut attached = Vec::new();
        for (segment, block, roles) in std::mem::take(&mut self.flights) {
            if let Some(bag) = self.take_bag(segment)
                && allocator::lock().place(segment, 0).is_none()
            {
                attached.extend(unpack(bag).ok().map(Location::of));
            }
            let known = allocator::lock().place(segment, block);
            let fresh = || attached.iter().find_map(|place: &Location| place.at(segment, block));
            if let Some(place) = known.or_else(fresh) {
                place.land(roles);
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
            end_journey();
        }
    }
    JOURNEYS.with(|journeys| journeys.borrow_mut().push(CodecScope { side, reason: None }));
    let off = Off;
    let result = codec();
    std::mem::forget(off);
    let journey = end_journey();
    match (result, journey) {
        (Ok(result), Some(journey)) => Ok((result, journey.side)),
        (Err(error), journey) => Err(CodecError(journey.and_then(|j| j.reason).unwrap_or_else(|| error.to_string()))),
        (Ok(_), None) => Err(CodecError(NOT_TRAVELLING.into())),
    }
}

/// Says why a handle cannot go along, and gives the text.
pub(super) fn refuse(error: impl std::fmt::Display) -> String {
    let text = error.to_string();
    JOURNEYS.with(|journeys| {
        if let Some(journey) = journeys.borrow_mut().last_mut() {
            journey.reason.get_or_insert_with(|| text.clone());
        }
    });
    text
}

/// A handle is encoded: its place goes with the message.
pub(super) fn depart(place: &Location, roles: Roles) -> Result<Ticket, SegmentError> {
    JOURNEYS.with(|journeys| {
        let mut journeys = journeys.borrow_mut();
        let Some(Side::Out(luggage)) = journeys.last_mut().map(|journey| &mut journey.side) else {
            return Err(SegmentError::Invalid(NOT_TRAVELLING.into()));
        };
        place.depart(roles)?;
        luggage.flights.push(InFlightRef { place: place.clone(), roles });
        let segment = place.segment().header.id();
        if !luggage.places.iter().any(|other| other.segment().header.id() == segment) {
            luggage.places.push(place.clone());
        }
        Ok(Ticket { segment, block: place.block() })
    })
}

/// A handle is decoded: its segment is here already, or came with the message.
pub(super) fn arrive(ticket: &Ticket, counts: impl FnOnce(&Location) -> Roles) -> Result<Location, SegmentError> {
    JOURNEYS.with(|journeys| {
        let mut journeys = journeys.borrow_mut();
        let Some(Side::In(arrivals)) = journeys.last_mut().map(|journey| &mut journey.side) else {
            return Err(SegmentError::Invalid(NOT_TRAVELLING.into()));
        };
        let place = find(ticket, arrivals)?;
        let roles = counts(&place);
        each(roles).try_for_each(|role| allocator::lock().add_part(&place, role))?;
        let flight = (ticket.segment, ticket.block, roles);
        if let Some(at) = arrivals.flights.iter().rposition(|other| *other == flight) {
            arrivals.flights.swap_remove(at);
            place.land(roles); // only now: our own bits are set
        }
        Ok(place)
    })
}

fn find(ticket: &Ticket, arrivals: &mut Arrivals) -> Result<Location, SegmentError> {
    let mut heap = allocator::lock();
    if let Some(segment) = heap.single(ticket.segment) {
        return Ok(Location::Single(segment));
    }
    let arena = match heap.arena(ticket.segment) {
        Some(arena) => arena,
        None => {
            let bag = arrivals.take_bag(ticket.segment).ok_or(SegmentError::Gone)?;
            let segment = unpack(bag)?;
            if segment.header.id() != ticket.segment {
                return Err(SegmentError::NotASegment);
            }
            if segment.header.spec().kind != Kind::Arena as u32 {
                return Ok(Location::Single(heap.adopt_single(segment)));
            }
            heap.adopt_arena(segment)
        }
    };
    arena.arrive(ticket.block)?;
    Ok(Location::Block { arena, block: ticket.block })
}

fn unpack(bag: ReceivedSegment) -> Result<Segment, SegmentError> {
    let mut fds = bag.fds.into_iter();
    match (bag.from, fds.next()) {
        (Origin::Memfd, Some(fd)) => {
            let size = memory::accept(&fd)?;
            Segment::attach(Backing::Memfd(fd), size)
        }
        (Origin::MessageRing, Some(fd)) => {
            let size = memory::accept(&fd)?;
            let satchel = FdStore::of(fds.next(), fds.next()).ok_or(SegmentError::NotASegment)?;
            Ok(Segment::attach(Backing::Memfd(fd), size)?.with(satchel))
        }
        (Origin::Named(name), Some(fd)) => {
            let file = shm_file::reopen(&fd, &Name::new(&name)?)?;
            let size = file.size()?;
            Segment::attach(Backing::Named(Mutex::new(file)), size)
        }
        #[cfg(feature = "shared_memory")]
        (Origin::Host { os_id, offset }, None) => super::within::attach_by_id(&os_id, offset),
        _ => Err(SegmentError::Gone),
    }
}

/// A message that is ready to go, whatever carries it. Dropped before [`EncodedMessage::delivered`], it takes its handles back.
pub(crate) struct EncodedMessage {
    pub(crate) bytes: Vec<u8>,
    /// Which descriptor is what, and which handles are in the message.
    pub(crate) manifest: Vec<u8>,
    pub(crate) fds: Vec<Fd>,
    /// Which segments they are of, and how many each has.
    parcels: Vec<(u128, usize)>,
    luggage: ExportedHandles,
}

/// A message as it came.
pub(crate) struct ReceivedMessage {
    pub(crate) bytes: Bytes,
    pub(crate) manifest: Vec<u8>,
    pub(crate) fds: Vec<Fd>,
    /// Run when all its handles are this process's, before any of them counts as on its way no more: for a sender who takes
    /// back what was not taken.
    pub(crate) taken: Option<fn()>,
}

/// The bytes of a message: long ones come in memory of their own, which nobody can write any more.
pub(crate) enum Bytes {
    Here(Vec<u8>),
    /// From that byte on.
    Letter(Letter, usize),
}

/// Encodes a message.
pub(crate) fn pack<T: Serialize + ?Sized>(message: &T) -> Result<EncodedMessage, CodecError> {
    let (bytes, side) = travelling(Side::Out(ExportedHandles::default()), || postcard::to_stdvec(message))?;
    let Side::Out(luggage) = side else { return Err(CodecError(NOT_TRAVELLING.into())) };
    let (manifest, fds, parcels) = luggage.list().map_err(|error| CodecError(error.to_string()))?;
    let manifest = postcard::to_stdvec(&manifest).map_err(|error| CodecError(error.to_string()))?;
    Ok(EncodedMessage { bytes, manifest, fds, parcels, luggage })
}

/// What a higher layer does for who waits for handles on their way.
static LOOK_OUT: RaceOnce<fn()> = RaceOnce::new();

pub(crate) fn look_out_with(look: fn()) {
    LOOK_OUT.get_or_keep(|| look);
}

/// Handles that are on their way to somebody who has ended are given up.
pub(crate) fn look_out() {
    LOOK_OUT.get().into_iter().for_each(|look| look());
}

/// Whether this thread is encoding or decoding a message right now, of which what it encodes next may be a part.
#[inline]
pub(crate) fn is_under_way() -> bool {
    JOURNEYS.with(|journeys| journeys.try_borrow().map_or(true, |journeys| !journeys.is_empty()))
}

/// The segments of which this process needs the descriptors before it can read a message with this list of handles.
pub(crate) fn wanted(manifest: &[u8]) -> Result<Vec<u128>, CodecError> {
    let manifest: Manifest = read_manifest(manifest)?;
    let mut heap = allocator::lock();
    let needs = |label: &SegmentDescriptor| {
        !matches!(label.from, Origin::Host { .. }) && heap.place(label.segment, 0).is_none()
    };
    Ok(manifest.labels.into_iter().filter(needs).map(|label| label.segment).collect())
}

fn read_manifest(manifest: &[u8]) -> Result<Manifest, CodecError> {
    postcard::from_bytes(manifest).map_err(|_| CodecError("a damaged list of handles".into()))
}

impl EncodedMessage {
    /// The descriptors, by segment.
    pub(crate) fn parcels(&self) -> impl Iterator<Item = (u128, &[Fd])> {
        let mut rest = self.fds.as_slice();
        self.parcels.iter().map(move |(segment, count)| {
            let (own, others) = rest.split_at((*count).min(rest.len()));
            rest = others;
            (*segment, own)
        })
    }

    /// From here on the handles are the sender's to keep: the message says nothing of them.
    pub(crate) fn keep(&mut self) -> Result<InFlightGuard, CodecError> {
        let manifest = Manifest { flights: Vec::new(), ..read_manifest(&self.manifest)? };
        self.manifest = postcard::to_stdvec(&manifest).map_err(|error| CodecError(error.to_string()))?;
        Ok(InFlightGuard { luggage: std::mem::take(&mut self.luggage), owner: process_id::ProcessId::current() })
    }

    /// It is on its way and cannot come back: its handles are the receiver's.
    pub(crate) fn delivered(mut self) {
        self.luggage.flights.clear();
    }
}

impl Bytes {
    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Bytes::Here(bytes) => bytes,
            Bytes::Letter(letter, from) => letter.bytes().get(*from..).unwrap_or(&[]),
        }
    }
}

impl ReceivedMessage {
    /// A message whose descriptors came by themselves, by segment.
    pub(crate) fn with(bytes: Vec<u8>, manifest: Vec<u8>, found: Vec<(u128, Vec<Fd>)>) -> Result<Self, CodecError> {
        let mut found = found;
        let mut parsed = read_manifest(&manifest)?;
        let mut fds = Vec::new();
        // Those of the segments that are here already were not asked for.
        parsed.labels.retain(|label| match found.iter().position(|(segment, _)| *segment == label.segment) {
            Some(at) => {
                fds.extend(found.swap_remove(at).1);
                true
            }
            None => matches!(label.from, Origin::Host { .. }),
        });
        let manifest = postcard::to_stdvec(&parsed).map_err(|error| CodecError(error.to_string()))?;
        Ok(ReceivedMessage { bytes: Bytes::Here(bytes), manifest, fds, taken: None })
    }

    /// Decodes the message and attaches its handles.
    pub(crate) fn unpack<T: DeserializeOwned>(self) -> Result<T, CodecError> {
        if let Some(taken) = self.taken {
            let manifest = self.manifest.clone();
            let message = ReceivedMessage { taken: None, ..self }.unpack_again();
            taken();
            ReceivedMessage { bytes: Bytes::Here(Vec::new()), manifest, fds: Vec::new(), taken: None }.discard();
            return message;
        }
        let (bytes, arrivals) = self.open()?;
        unpack_from(&bytes, arrivals)
    }

    /// The same, of a message that may be read again: its handles stay on their way.
    pub(crate) fn unpack_again<T: DeserializeOwned>(self) -> Result<T, CodecError> {
        let (bytes, mut arrivals) = self.open()?;
        arrivals.flights.clear();
        unpack_from(&bytes, arrivals)
    }

    /// Nobody wants the message: gives up the handles in it.
    pub(crate) fn discard(self) {
        drop(self.open());
    }

    fn open(self) -> Result<(Bytes, Arrivals), CodecError> {
        let manifest = read_manifest(&self.manifest)?;
        Ok((self.bytes, Arrivals::new(manifest, self.fds)))
    }
}

fn unpack_from<T: DeserializeOwned>(bytes: &Bytes, arrivals: Arrivals) -> Result<T, CodecError> {
    let bytes = bytes.as_slice();
    let ((message, rest), _) = travelling(Side::In(arrivals), || postcard::take_from_bytes(bytes))?;
    match rest {
        [] => Ok(message),
        _ => Err(CodecError(format!("{} bytes behind the message", rest.len()))),
    }
}

impl ExportedHandles {
    #[allow(clippy::type_complexity, reason = "the three parts of one list")]
    fn list(&self) -> Result<(Manifest, Vec<Fd>, Vec<(u128, usize)>), SegmentError> {
        let mut manifest = Manifest::default();
        let mut fds = Vec::new();
        let mut parcels = Vec::new();
        for place in &self.places {
            let segment = place.segment();
            let (from, own) = segment.origin()?;
            if !own.is_empty() {
                parcels.push((segment.header.id(), own.len()));
            }
            fds.extend(own);
            manifest.labels.push(SegmentDescriptor { segment: segment.header.id(), from });
        }
        manifest.flights = self
            .flights
            .iter()
            .map(|flight| (flight.place.segment().header.id(), flight.place.block(), flight.roles))
            .collect();
        Ok((manifest, fds, parcels))
    }
}

impl Segment {
    fn origin(&self) -> Result<(Origin, Vec<Fd>), SegmentError> {
        Ok(match &*self.backing {
            Backing::Memfd(fd) => match self.satchel() {
                None => (Origin::Memfd, vec![memory::duplicate(fd)?]),
                Some(satchel) => {
                    let [one, other] = satchel.duplicate()?;
                    (Origin::MessageRing, vec![memory::duplicate(fd)?, one, other])
                }
            },
            Backing::Named(file) => {
                // A fork takes the heap first, so that it never copies this one locked.
                let _heap = allocator::lock();
                let file = crate::error::locked(file);
                (Origin::Named(file.name().as_str().to_owned()), vec![file.descriptor()?])
            }
            #[cfg(feature = "shared_memory")]
            Backing::Host(host) => (Origin::Host { os_id: host.os_id().to_owned(), offset: host.offset() }, Vec::new()),
        })
    }
}

impl Arrivals {
    fn new(manifest: Manifest, fds: Vec<Fd>) -> Self {
        let mut fds = fds.into_iter();
        // A list that is sorted, not a map of std's: its seed would cost a new process as much as all the rest.
        let mut bags: Vec<ReceivedSegment> = manifest
            .labels
            .into_iter()
            .map(|SegmentDescriptor { segment, from }| {
                let count = match from {
                    Origin::Host { .. } => 0,
                    Origin::Memfd | Origin::Named(_) => 1,
                    Origin::MessageRing => 3,
                };
                ReceivedSegment { segment, from, fds: fds.by_ref().take(count).collect() }
            })
            .collect();
        bags.sort_by_key(|bag| bag.segment);
        // Read from the end, which is where the first handle of the message stands then.
        Arrivals { bags, flights: manifest.flights.into_iter().rev().collect() }
    }

    fn take_bag(&mut self, segment: u128) -> Option<ReceivedSegment> {
        let at = self.bags.binary_search_by_key(&segment, |bag| bag.segment).ok()?;
        Some(self.bags.remove(at))
    }
}
