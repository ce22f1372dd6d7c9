//! Manifest of a message: the segments and handles that it carries.

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

/// Reference to an object in the bytes of a message.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct HandleRef {
    pub(super) segment: u128,
    pub(super) block: u32,
}

/// Handles of a message that is being sent. On drop they are uncounted, unless the message was delivered.
#[derive(Default)]
pub(super) struct ExportedHandles {
    pub(super) locations: Vec<Location>,
    pub(super) in_flight: Vec<InFlightRef>,
}

/// A handle in flight, in its roles; a part of an array has role 0.
pub(super) struct InFlightRef {
    pub(super) location: Location,
    pub(super) roles: Roles,
}

/// Description of a segment for the receiver.
#[derive(Serialize, Deserialize)]
pub(super) struct SegmentDescriptor {
    pub(super) segment: u128,
    pub(super) from: Origin,
}

#[derive(Serialize, Deserialize)]
pub(super) enum Origin {
    Memfd,
    /// A memory file, and the two sockets of its fd store.
    WithFdStore,
    Named(String),
    Host {
        os_id: String,
        offset: usize,
    },
}

#[derive(Default, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) segments: Vec<SegmentDescriptor>,
    pub(super) in_flight: Vec<(u128, u32, Roles)>,
}

/// Handles of a received message that were not decoded yet.
pub(super) struct ReceivedHandles {
    segments: Vec<ReceivedSegment>,
    pub(super) in_flight: Vec<(u128, u32, Roles)>,
}

/// A segment that came with a message.
pub(super) struct ReceivedSegment {
    pub(super) segment: u128,
    pub(super) from: Origin,
    fds: Vec<Fd>,
}

impl Drop for ExportedHandles {
    fn drop(&mut self) {
        self.in_flight.iter().for_each(|handle| handle.location.release(handle.roles));
    }
}

impl Drop for ReceivedHandles {
    /// Uncounts handles that were not decoded, because of an error before them or because the message was discarded.
    /// Segments that this process does not have are attached for this and detached again.
    fn drop(&mut self) {
        let mut attached = Vec::new();
        for (segment, block, roles) in std::mem::take(&mut self.in_flight) {
            if let Some(received) = self.take_segment(segment)
                && allocator::lock().location(segment, 0).is_none()
            {
                attached.extend(attach(received).ok().map(Location::detached));
            }
            let known = allocator::lock().location(segment, block);
            let fresh = || attached.iter().find_map(|location: &Location| location.sibling(segment, block));
            if let Some(location) = known.or_else(fresh) {
                location.release(roles);
            }
        }
    }
}

pub(super) fn read_manifest(manifest: &[u8]) -> Result<Manifest, CodecError> {
    postcard::from_bytes(manifest).map_err(|_| CodecError::new("a damaged list of handles"))
}

impl ExportedHandles {
    #[allow(clippy::type_complexity, reason = "the three parts of one list")]
    pub(super) fn list(&self) -> Result<(Manifest, Vec<Fd>, Vec<(u128, usize)>), SegmentError> {
        let mut manifest = Manifest::default();
        let mut fds = Vec::new();
        let mut fd_counts = Vec::new();
        for location in &self.locations {
            let segment = location.segment();
            let (from, own) = origin(segment)?;
            if !own.is_empty() {
                fd_counts.push((segment.header.id(), own.len()));
            }
            fds.extend(own);
            manifest.segments.push(SegmentDescriptor { segment: segment.header.id(), from });
        }
        manifest.in_flight = self
            .in_flight
            .iter()
            .map(|handle| (handle.location.segment().header.id(), handle.location.block(), handle.roles))
            .collect();
        Ok((manifest, fds, fd_counts))
    }
}

/// Returns how another process can get the segment, and the descriptors for that.
fn origin(segment: &Segment) -> Result<(Origin, Vec<Fd>), SegmentError> {
    Ok(match &*segment.backing {
        Backing::Memfd(fd) => match segment.fd_store() {
            None => (Origin::Memfd, vec![memory::duplicate(fd)?]),
            Some(fd_store) => {
                let [one, other] = fd_store.duplicate()?;
                (Origin::WithFdStore, vec![memory::duplicate(fd)?, one, other])
            }
        },
        Backing::Named(file) => {
            // A fork takes the allocator's mutex first, so it never copies this one locked.
            let _allocator = allocator::lock();
            let file = crate::error::locked(file);
            (Origin::Named(file.name().as_str().to_owned()), vec![file.descriptor()?])
        }
        #[cfg(feature = "shared_memory")]
        Backing::Host(host) => (Origin::Host { os_id: host.os_id().to_owned(), offset: host.offset() }, Vec::new()),
    })
}

impl ReceivedHandles {
    pub(super) fn locate(&mut self, reference: &HandleRef) -> Result<Location, SegmentError> {
        let mut allocator = allocator::lock();
        if let Some(segment) = allocator.single(reference.segment) {
            return Ok(Location::Single(segment));
        }
        let arena = match allocator.arena(reference.segment) {
            Some(arena) => arena,
            None => {
                let received = self.take_segment(reference.segment).ok_or(SegmentError::Gone)?;
                let segment = attach(received)?;
                if segment.header.id() != reference.segment {
                    return Err(SegmentError::NotASegment);
                }
                if segment.header.spec().kind != Kind::Arena as u32 {
                    return Ok(Location::Single(allocator.adopt_single(segment)));
                }
                allocator.adopt_arena(segment)
            }
        };
        arena.import(reference.block)?;
        Ok(Location::Block { arena, block: reference.block })
    }

    pub(super) fn new(manifest: Manifest, fds: Vec<Fd>) -> Self {
        let mut fds = fds.into_iter();
        // A sorted list in place of a `std` map, whose random seed would cost a new process as much as the rest.
        let mut segments: Vec<ReceivedSegment> = manifest
            .segments
            .into_iter()
            .map(|SegmentDescriptor { segment, from }| {
                let count = match from {
                    Origin::Host { .. } => 0,
                    Origin::Memfd | Origin::Named(_) => 1,
                    Origin::WithFdStore => 3,
                };
                ReceivedSegment { segment, from, fds: fds.by_ref().take(count).collect() }
            })
            .collect();
        segments.sort_by_key(|received| received.segment);
        // Reversed, as handles are taken from the end: the first handle of the message comes last.
        ReceivedHandles { segments, in_flight: manifest.in_flight.into_iter().rev().collect() }
    }

    fn take_segment(&mut self, segment: u128) -> Option<ReceivedSegment> {
        let at = self.segments.binary_search_by_key(&segment, |received| received.segment).ok()?;
        Some(self.segments.remove(at))
    }
}

fn attach(received: ReceivedSegment) -> Result<Segment, SegmentError> {
    let mut fds = received.fds.into_iter();
    match (received.from, fds.next()) {
        (Origin::Memfd, Some(fd)) => {
            let size = memory::accept(&fd)?;
            Segment::attach(Backing::Memfd(fd), size)
        }
        (Origin::WithFdStore, Some(fd)) => {
            let size = memory::accept(&fd)?;
            let fd_store = FdStore::of(fds.next(), fds.next()).ok_or(SegmentError::NotASegment)?;
            Ok(Segment::attach(Backing::Memfd(fd), size)?.with_fd_store(fd_store))
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
