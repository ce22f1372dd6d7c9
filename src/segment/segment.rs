//! One segment in this process's memory.
#![allow(unsafe_code)] // pointers into the mapping

use super::arena::roster::{Claim, Roster};
use super::extent::{self, Extent};
use super::fd_store::FdStore;
use super::header::{CLAIMS_AT, Geometry, Header, ROSTER_AT, copy_header, write_header};
use super::kind::{LINE, ObjectLayout, Spec};
use crate::SegmentError;
use crate::sync::RawLock;
use crate::sys::process_id::ProcessId;
use crate::sys::robust_list::HANDED_OVER;
use crate::sys::shm_file::NamedFile;
use crate::sys::{Fd, memory};
use memmap2::MmapRaw;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU32;
use std::sync::{Mutex, PoisonError};

/// Where an array counts its parts in messages: behind its lock and their number.
pub(crate) const IN_FLIGHT_AT: usize = size_of::<RawLock>() + 4;

/// Where the memory comes from.
pub(crate) enum Backing {
    Memfd(Fd),
    /// Behind a mutex, since a fork child takes a hold of its own.
    Named(Mutex<NamedFile>),
    #[cfg(feature = "shared_memory")]
    Host(super::host::Host),
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
    extent: ManuallyDrop<Option<Box<Extent>>>,
    fd_store: Option<FdStore>,
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
    pub(crate) fn anonymous(geometry: Geometry, spec: &Spec, layout: &ObjectLayout) -> Result<Self, SegmentError> {
        let extent = spec.grows();
        let fd = memory::anonymous(geometry.size as u64, if extent { extent::FILE_BYTES } else { 0 })?;
        let map = memory::map(&fd, geometry.size)?;
        let header = Header::new(&geometry, spec, layout.locks, false)?;
        let mut segment = Segment::new(map, header, geometry, Backing::Memfd(fd));
        write_header(segment.base, &segment.header);
        segment.open_extent()?;
        if spec.carries_handles() {
            segment.fd_store = Some(FdStore::new()?);
        }
        Ok(segment)
    }

    /// A segment whose header stands in its memory and is checked.
    pub(crate) fn new(map: MmapRaw, header: Header, geometry: Geometry, backing: Backing) -> Self {
        let base = NonNull::new(map.as_mut_ptr()).unwrap_or(NonNull::dangling());
        let (backing, memory) = (ManuallyDrop::new(backing), ManuallyDrop::new(Memory::Mapped { _map: map }));
        Segment { base, header, geometry, backing, memory, extent: ManuallyDrop::new(None), fd_store: None }
    }

    /// Where its file is long enough, it has room to grow in.
    fn open_extent(&mut self) -> Result<(), SegmentError> {
        if let Backing::Memfd(fd) = &*self.backing
            && self.header.spec().grows()
            && memory::accept(fd)? == extent::FILE_BYTES
        {
            *self.extent = Some(Box::default());
        }
        Ok(())
    }

    pub(super) fn with_fd_store(self, fd_store: FdStore) -> Self {
        let mut segment = self;
        segment.fd_store = Some(fd_store);
        segment
    }

    pub(crate) fn fd_store(&self) -> Option<&FdStore> {
        self.fd_store.as_ref()
    }

    /// The room to grow in, and the memory that it is a part of.
    pub(super) fn extent(&self) -> Result<(&Extent, &Fd), SegmentError> {
        match (&*self.extent, &*self.backing) {
            (Some(extent), Backing::Memfd(fd)) => Ok((extent, fd)),
            _ => Err(SegmentError::NoSpace),
        }
    }

    /// A segment inside memory that somebody else mapped and keeps, for as long as the backing lives.
    #[cfg(feature = "shared_memory")]
    pub(crate) fn hosted(base: NonNull<u8>, header: Header, geometry: Geometry, host: super::host::Host) -> Self {
        let (backing, memory) = (ManuallyDrop::new(Backing::Host(host)), ManuallyDrop::new(Memory::Hosted));
        Segment { base, header, geometry, backing, memory, extent: ManuallyDrop::new(None), fd_store: None }
    }

    /// Maps what a peer sent, or a name led to, and checks it.
    pub(crate) fn attach(backing: Backing, size: u64) -> Result<Self, SegmentError> {
        let size = match &backing {
            Backing::Memfd(fd) if size == extent::FILE_BYTES => front_size(fd)?,
            _ => size,
        };
        let size = usize::try_from(size).map_err(|_| SegmentError::TooLarge)?;
        if size < CLAIMS_AT {
            return Err(SegmentError::NotASegment);
        }
        let map = match &backing {
            Backing::Memfd(fd) => memory::map(fd, size)?,
            Backing::Named(file) => file.lock().unwrap_or_else(PoisonError::into_inner).map(size)?,
            #[cfg(feature = "shared_memory")]
            Backing::Host(_) => return Err(SegmentError::Unsupported),
        };
        // SAFETY: the mapping has `size` bytes, at least CLAIMS_AT.
        let header = unsafe { copy_header(map.as_ptr()) };
        let geometry = header.check(size)?;
        let mut segment = Segment::new(map, header, geometry, backing);
        segment.open_extent()?;
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
            let claims = self.at(CLAIMS_AT).cast::<Claim>();
            Roster::new(head, std::slice::from_raw_parts(claims.as_ptr(), self.geometry.claims))
        }
    }

    /// Handles on their way, per block; empty for a single.
    pub(crate) fn in_flight(&self) -> &[AtomicU32] {
        let count = if self.geometry.blocks > 1 { self.geometry.blocks } else { 0 };
        // SAFETY: as in `roster`.
        unsafe { std::slice::from_raw_parts(self.at(self.geometry.in_flight_at).cast().as_ptr(), count) }
    }

    /// The lock at the front of a block.
    pub(crate) fn lock(&self, block: usize) -> &RawLock {
        // SAFETY: blocks begin with a lock, of atomics, and are at least as large.
        unsafe { self.block(block).cast().as_ref() }
    }

    /// How many messages carry parts of the array in this block, or handles in this role.
    pub(crate) fn parts_in_flight(&self, block: usize, role: u32) -> Option<&AtomicU32> {
        let line = role as usize * LINE;
        // SAFETY: behind the lock and the number of parts on the line of the role, for objects that have parts or roles; a
        // spare or another atomic word for those that have none. Inside the block.
        (line + LINE <= self.geometry.block_size)
            .then(|| unsafe { self.block(block).add(line + IN_FLIGHT_AT).cast().as_ref() })
    }

    /// Whether a guard of this process still uses the block: a leaked one, if the process has no handle. Some locks name its
    /// process, others only its thread.
    pub(crate) fn has_live_guard(&self, block: usize, locks: usize) -> bool {
        let (lines, process) = (self.geometry.block_size / LINE, ProcessId::current());
        (0..(1 + locks).min(lines)).any(|i| {
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
        if single && self.has_live_guard(0, self.header.locks as usize) {
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
            ManuallyDrop::drop(&mut self.extent);
            ManuallyDrop::drop(&mut self.memory);
            ManuallyDrop::drop(&mut self.backing);
        }
    }
}

/// Puts a fresh lock at the front of the object, then its data.
pub(crate) fn init_object(base: NonNull<u8>, offset: usize, kind: u32, init: impl FnOnce(NonNull<u8>)) {
    // SAFETY: the offset is the geometry's, inside the mapping and aligned to a line.
    let object = unsafe {
        let object = base.add(offset);
        object.cast::<RawLock>().write(RawLock::new(kind));
        object
    };
    init(object);
}

/// How long a memory with an extent is without it, by its header.
fn front_size(fd: &Fd) -> Result<u64, SegmentError> {
    let mut bytes = [0; size_of::<Header>()];
    match memory::read_at(fd, 0, &mut bytes)? {
        got if got == bytes.len() => Ok(bytemuck::pod_read_unaligned::<Header>(&bytes).size.min(extent::EXTENT_AT)),
        _ => Err(SegmentError::NotASegment),
    }
}
