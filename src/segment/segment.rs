//! One segment in this process's memory.
#![allow(unsafe_code)] // pointers into the mapping

use super::arena::roster::{Claim, Roster};
use super::extent::{self, Annex};
use super::fd_store::FdStore;
use super::header::{CELLS_AT, Geometry, HEADER_ROOM, Header, ROSTER_AT};
use super::kind::{LINE, ObjectLayout, Spec};
use crate::SegmentError;
use crate::sync::{RawLock, atomic_copy};
use crate::sys::process_id::ProcessId;
use crate::sys::robust_list::HANDED_OVER;
use crate::sys::shm_file::NamedFile;
use crate::sys::{Fd, memory};
use memmap2::MmapRaw;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::Mutex;
use std::sync::atomic::AtomicU32;

/// Where an array counts its parts in messages: behind its lock and their number.
pub(crate) const PART_FLIGHTS_AT: usize = size_of::<RawLock>() + 4;

/// Where the memory comes from.
pub(crate) enum Backing {
    Memfd(Fd),
    /// Behind a mutex, since a fork child takes a hold of its own.
    Named(Mutex<NamedFile>),
    #[cfg(feature = "shared_memory")]
    Host(super::within::Host),
}

enum Memory {
    Mapped {
        _map: MmapRaw,
    },
    #[cfg(feature = "shared_memory")]
    Hosted,
}

/// A mapped segment with a checked header.
pub(crate) struct Segment {
    base: NonNull<u8>,
    pub(crate) header: Header,
    pub(crate) geometry: Geometry,
    pub(crate) backing: ManuallyDrop<Backing>,
    memory: ManuallyDrop<Memory>,
    annex: ManuallyDrop<Option<Box<Annex>>>,
    satchel: Option<FdStore>,
}

// SAFETY: what lies in the mapping is touched by atomics, or in place under a lock (the users' invariants); the rest is
// Send and Sync by itself.
unsafe impl Send for Segment {}
// SAFETY: as above.
unsafe impl Sync for Segment {}

impl std::fmt::Debug for Segment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Segment").field("id", &self.header.id()).field("size", &self.header.size).finish()
    }
}

impl Segment {
    /// Makes an anonymous segment; its objects are all zeros.
    pub(crate) fn anonymous(geometry: Geometry, spec: &Spec, shape: &ObjectLayout) -> Result<Self, SegmentError> {
        let annex = spec.has_annex();
        let fd = memory::anonymous(geometry.size as u64, if annex { extent::LENGTH } else { 0 })?;
        let map = memory::map(&fd, geometry.size)?;
        let header = Header::new(&geometry, spec, shape.locks, false)?;
        let mut segment = Segment::new(map, header, geometry, Backing::Memfd(fd));
        write_header(segment.base, &segment.header);
        segment.open_annex()?;
        if spec.carries_handles() {
            segment.satchel = Some(FdStore::new()?);
        }
        Ok(segment)
    }

    /// A segment whose header stands in its memory and is checked.
    pub(crate) fn new(map: MmapRaw, header: Header, geometry: Geometry, backing: Backing) -> Self {
        let base = NonNull::new(map.as_mut_ptr()).unwrap_or(NonNull::dangling());
        let (backing, memory) = (ManuallyDrop::new(backing), ManuallyDrop::new(Memory::Mapped { _map: map }));
        Segment { base, header, geometry, backing, memory, annex: ManuallyDrop::new(None), satchel: None }
    }

    /// Where its file is long enough, it has room to grow in.
    fn open_annex(&mut self) -> Result<(), SegmentError> {
        if let Backing::Memfd(fd) = &*self.backing
            && self.header.spec().has_annex()
            && memory::accept(fd)? == extent::LENGTH
        {
            *self.annex = Some(Box::default());
        }
        Ok(())
    }

    pub(super) fn with(self, satchel: FdStore) -> Self {
        let mut segment = self;
        segment.satchel = Some(satchel);
        segment
    }

    pub(crate) fn satchel(&self) -> Option<&FdStore> {
        self.satchel.as_ref()
    }

    /// The room to grow in, and the memory that it is a part of.
    pub(super) fn annex(&self) -> Result<(&Annex, &Fd), SegmentError> {
        match (&*self.annex, &*self.backing) {
            (Some(annex), Backing::Memfd(fd)) => Ok((annex, fd)),
            _ => Err(SegmentError::NoSpace),
        }
    }

    /// A segment inside memory that somebody else mapped and keeps, for as long as the backing lives.
    #[cfg(feature = "shared_memory")]
    pub(crate) fn hosted(base: NonNull<u8>, header: Header, geometry: Geometry, host: super::within::Host) -> Self {
        let (backing, memory) = (ManuallyDrop::new(Backing::Host(host)), ManuallyDrop::new(Memory::Hosted));
        Segment { base, header, geometry, backing, memory, annex: ManuallyDrop::new(None), satchel: None }
    }

    /// Maps what a peer sent, or a name led to, and checks it.
    pub(crate) fn attach(backing: Backing, size: u64) -> Result<Self, SegmentError> {
        let size = match &backing {
            Backing::Memfd(fd) if size == extent::LENGTH => size_in_front(fd)?,
            _ => size,
        };
        let size = usize::try_from(size).map_err(|_| SegmentError::TooLarge)?;
        if size < CELLS_AT {
            return Err(SegmentError::NotASegment);
        }
        let map = match &backing {
            Backing::Memfd(fd) => memory::map(fd, size)?,
            Backing::Named(file) => crate::error::locked(file).map(size)?,
            #[cfg(feature = "shared_memory")]
            Backing::Host(_) => return Err(SegmentError::Unsupported),
        };
        // SAFETY: the mapping has `size` bytes, at least CELLS_AT.
        let header = unsafe { copy_header(map.as_ptr()) };
        let geometry = header.check(size)?;
        let mut segment = Segment::new(map, header, geometry, backing);
        segment.open_annex()?;
        Ok(segment)
    }

    fn at(&self, offset: usize) -> NonNull<u8> {
        // SAFETY: callers pass offsets of the checked geometry, inside the mapping.
        unsafe { self.base.add(offset) }
    }

    /// Block `index`, which is below `geometry.blocks`.
    pub(crate) fn block(&self, index: usize) -> NonNull<u8> {
        debug_assert!(index < self.geometry.blocks);
        self.at(self.geometry.blocks_at + index * self.geometry.block_size)
    }

    pub(crate) fn roster(&self) -> Roster<'_> {
        // SAFETY: by H2 these lie inside the mapping; they consist of atomics, for which all bytes are valid, and the
        // offsets are multiples of their alignment.
        unsafe {
            let head = self.at(ROSTER_AT).cast().as_ref();
            let cells = self.at(CELLS_AT).cast::<Claim>();
            Roster::new(head, std::slice::from_raw_parts(cells.as_ptr(), self.geometry.cells))
        }
    }

    /// Handles on their way, per block; empty for a single.
    pub(crate) fn flights(&self) -> &[AtomicU32] {
        let count = if self.geometry.blocks > 1 { self.geometry.blocks } else { 0 };
        // SAFETY: as in `roster`.
        unsafe { std::slice::from_raw_parts(self.at(self.geometry.flights_at).cast().as_ptr(), count) }
    }

    /// The lock at the front of a block.
    pub(crate) fn lock(&self, block: usize) -> &RawLock {
        // SAFETY: blocks begin with a lock, of atomics, and are at least as large.
        unsafe { self.block(block).cast().as_ref() }
    }

    /// How many messages carry parts of the array in this block, or handles in this role.
    pub(crate) fn part_flights(&self, block: usize, role: u32) -> Option<&AtomicU32> {
        let line = role as usize * LINE;
        // SAFETY: behind the lock and the number of parts on the line of the role, for objects that have parts or roles; a
        // spare or another atomic word for those that have none. Inside the block.
        (line + LINE <= self.geometry.block_size)
            .then(|| unsafe { self.block(block).add(line + PART_FLIGHTS_AT).cast().as_ref() })
    }

    /// Whether a guard of this process still uses the block: a leaked one, if the process has no handle. Some locks name its
    /// process, others only its thread.
    pub(crate) fn is_busy(&self, block: usize, locks: usize) -> bool {
        let (most, process) = (self.geometry.block_size / LINE, ProcessId::current());
        (0..(1 + locks).min(most)).any(|i| {
            // SAFETY: inside the block; each line of the first `1 + locks` begins with a lock.
            let lock: &RawLock = unsafe { self.block(block).add(i * LINE).cast().as_ref() };
            let is_ours =
                |holder: u32| holder == process.pid || holder & HANDED_OVER == 0 && process.has_thread(holder);
            lock.is_held() && lock.holder().is_some_and(is_ours)
        })
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        let single = self.geometry.blocks == 1;
        if single && self.is_busy(0, self.header.locks as usize) {
            return; // a leaked guard: the kernel may still write to its lock, and a `&mut [T]` may live somewhere
        }
        if let Backing::Named(file) = &mut *self.backing
            && let Ok(file) = file.get_mut()
            && !self.header.persists()
        {
            file.leave();
        }
        // SAFETY: dropped once, here; nothing uses them afterwards.
        unsafe {
            ManuallyDrop::drop(&mut self.annex);
            ManuallyDrop::drop(&mut self.memory);
            ManuallyDrop::drop(&mut self.backing);
        }
    }
}

/// How long a memory with an annex is without it, by its header.
fn size_in_front(fd: &Fd) -> Result<u64, SegmentError> {
    let mut bytes = [0; size_of::<Header>()];
    match memory::read_at(fd, 0, &mut bytes)? {
        got if got == bytes.len() => Ok(bytemuck::pod_read_unaligned::<Header>(&bytes).size.min(extent::FIRST)),
        _ => Err(SegmentError::NotASegment),
    }
}

/// Writes a header into fresh memory of at least `HEADER_ROOM` bytes.
pub(crate) fn write_header(base: NonNull<u8>, header: &Header) {
    let bytes = bytemuck::bytes_of(header);
    // SAFETY: by H2 a segment is larger than its header, which is whole words; its base is aligned to a line.
    unsafe { atomic_copy::store(base.as_ptr().cast(), bytes.as_ptr(), bytes.len()) };
}

/// The same, but for the first word, which is stored last where others may look already.
#[cfg(feature = "shared_memory")]
pub(crate) fn write_header_behind_magic(base: NonNull<u8>, header: &Header) {
    let bytes = &bytemuck::bytes_of(header)[8..];
    // SAFETY: as in `write_header`.
    unsafe { atomic_copy::store(base.as_ptr().add(8).cast(), bytes.as_ptr(), bytes.len()) };
}

/// One copy of a header (H1).
///
/// # Safety
/// `base` leads to at least `HEADER_ROOM` bytes, aligned to words.
pub(crate) unsafe fn copy_header(base: *const u8) -> Header {
    let mut bytes = [0_u8; HEADER_ROOM];
    // SAFETY: by the caller's promise.
    unsafe { atomic_copy::load(base.cast(), bytes.as_mut_ptr(), HEADER_ROOM) };
    bytemuck::pod_read_unaligned(&bytes[..size_of::<Header>()])
}
