//! The list of segments and handles beside a message.

use crate::segment::arena::allocator;
use crate::segment::arena::location::Location;
use crate::segment::fd_store::FdStore;
use crate::segment::handle::roles::Roles;
#[cfg(feature = "shared_memory")]
use crate::segment::host::Host;
use crate::segment::kind::Kind;
use crate::segment::segment::{Backing, Segment};
use crate::sys::shm_file::{self, Name};
use crate::sys::{Fd, memory};
use crate::{CodecError, SegmentError};
use serde::{Deserialize, Serialize};
use std::sync::Mutex;

/// A handle in the bytes of a message.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Ticket {
    pub(super) segment: u128,
    pub(super) block: u32,
}

/// The places that a message's handles stand for. Dropped unsent, it gives the flights back.
#[derive(Default)]
pub(super) struct ExportedHandles {
    pub(super) places: Vec<Location>,
    pub(super) flights: Vec<InFlightRef>,
}

/// A handle in a message: on a part of an array, say, or on an end of a pipe.
pub(super) struct InFlightRef {
    pub(super) place: Location,
    pub(super) roles: Roles,
}

/// What the receiver must know of a segment.
#[derive(Serialize, Deserialize)]
pub(super) struct SegmentDescriptor {
    pub(super) segment: u128,
    pub(super) from: Origin,
}

#[derive(Serialize, Deserialize)]
pub(super) enum Origin {
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
pub(super) struct Manifest {
    pub(super) labels: Vec<SegmentDescriptor>,
    pub(super) flights: Vec<(u128, u32, Roles)>,
}

/// The other half of the side table: what came with a message and was not looked at yet.
pub(super) struct Arrivals {
    bags: Vec<ReceivedSegment>,
    pub(super) flights: Vec<(u128, u32, Roles)>,
}

/// A segment that came with a message.
pub(super) struct ReceivedSegment {
    pub(super) segment: u128,
    pub(super) from: Origin,
    fds: Vec<Fd>,
}

impl Drop for ExportedHandles {
    fn drop(&mut self) {
        self.flights.iter().for_each(|flight| flight.place.land(flight.roles));
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

pub(super) fn read_manifest(manifest: &[u8]) -> Result<Manifest, CodecError> {
    postcard::from_bytes(manifest).map_err(|_| CodecError("a damaged list of handles".into()))
}

impl ExportedHandles {
    #[allow(clippy::type_complexity, reason = "the three parts of one list")]
    pub(super) fn list(&self) -> Result<(Manifest, Vec<Fd>, Vec<(u128, usize)>), SegmentError> {
        let mut manifest = Manifest::default();
        let mut fds = Vec::new();
        let mut parcels = Vec::new();
        for place in &self.places {
            let segment = place.segment();
            let (from, own) = origin(segment)?;
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

/// How another process gets at a segment, and the descriptors for that.
fn origin(segment: &Segment) -> Result<(Origin, Vec<Fd>), SegmentError> {
    Ok(match &*segment.backing {
        Backing::Memfd(fd) => match segment.satchel() {
            None => (Origin::Memfd, vec![memory::duplicate(fd)?]),
            Some(satchel) => {
                let [one, other] = satchel.duplicate()?;
                (Origin::MessageRing, vec![memory::duplicate(fd)?, one, other])
            }
        },
        Backing::Named(file) => {
            // A fork takes the heap first, so that it never copies this one locked.
            let _heap = allocator::lock();
            let file = file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            (Origin::Named(file.name().as_str().to_owned()), vec![file.descriptor()?])
        }
        #[cfg(feature = "shared_memory")]
        Backing::Host(host) => (Origin::Host { os_id: host.os_id().to_owned(), offset: host.offset() }, Vec::new()),
    })
}

impl Arrivals {
    pub(super) fn find(&mut self, ticket: &Ticket) -> Result<Location, SegmentError> {
        let mut heap = allocator::lock();
        if let Some(segment) = heap.single(ticket.segment) {
            return Ok(Location::Single(segment));
        }
        let arena = match heap.arena(ticket.segment) {
            Some(arena) => arena,
            None => {
                let bag = self.take_bag(ticket.segment).ok_or(SegmentError::Gone)?;
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

    pub(super) fn new(manifest: Manifest, fds: Vec<Fd>) -> Self {
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
        (Origin::Host { os_id, offset }, None) => Segment::attach_in_host(&Host::by_id(&os_id, offset)?),
        _ => Err(SegmentError::Gone),
    }
}
