//! One segment, mapped into this process.
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
use std::sync::Mutex;
use std::sync::atomic::AtomicU32;

/// Offset, on a line of an object, of the number of its handles in messages: after the lock and a 4-byte count.
pub(crate) const IN_FLIGHT_AT: usize = size_of::<RawLock>() + 4;

/// Source of a segment's memory.
pub(crate) enum Backing {
    Memfd(Fd),
    /// Mutex, because a fork child replaces the file by its own open file.
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

// SAFETY: the bytes in the mapping are accessed through atomics, or in place by the holder of the object's lock. The
// other fields are `Send` and `Sync` themselves.
unsafe impl Send for Segment {}
// SAFETY: shared bytes are accessed through atomics or under the object's lock; the other fields are `Sync`.
unsafe impl Sync for Segment {}

impl std::fmt::Debug for Segment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Segment").field("id", &self.header.id()).field("size", &self.header.size).finish()
    }
}

impl Segment {
    /// Creates an anonymous segment. The bytes of its objects are zero.
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

    /// Wraps a mapping whose header is written or checked.
    pub(crate) fn new(map: MmapRaw, header: Header, geometry: Geometry, backing: Backing) -> Self {
        let base = NonNull::new(map.as_mut_ptr()).unwrap_or(NonNull::dangling());
        let (backing, memory) = (ManuallyDrop::new(backing), ManuallyDrop::new(Memory::Mapped { _map: map }));
        Segment { base, header, geometry, backing, memory, extent: ManuallyDrop::new(None), fd_store: None }
    }

    /// Prepares the extent, if the kind of object grows and the file has the length for it.
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

    /// Returns the extent and the file that it is part of. Fails with `NoSpace` for objects that do not grow.
    pub(super) fn extent(&self) -> Result<(&Extent, &Fd), SegmentError> {
        match (&*self.extent, &*self.backing) {
            (Some(extent), Backing::Memfd(fd)) => Ok((extent, fd)),
            _ => Err(SegmentError::NoSpace),
        }
    }

    /// Wraps memory that the program mapped. It stays mapped while the backing lives.
    #[cfg(feature = "shared_memory")]
    pub(crate) fn hosted(base: NonNull<u8>, header: Header, geometry: Geometry, host: super::host::Host) -> Self {
        let (backing, memory) = (ManuallyDrop::new(Backing::Host(host)), ManuallyDrop::new(Memory::Hosted));
        Segment { base, header, geometry, backing, memory, extent: ManuallyDrop::new(None), fd_store: None }
    }

    /// Maps memory that a peer sent or that a name refers to, and checks its header.
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
            Backing::Named(file) => crate::error::locked(file).map(size)?,
            #[cfg(feature = "shared_memory")]
            Backing::Host(_) => return Err(SegmentError::Unsupported),
        };
        // SAFETY: the mapping starts at a page and has `size` bytes, at least `CLAIMS_AT`, which is more than
        // `HEADER_BYTES`.
        let header = unsafe { copy_header(map.as_ptr()) };
        let geometry = header.check(size)?;
        let mut segment = Segment::new(map, header, geometry, backing);
        segment.open_extent()?;
        Ok(segment)
    }

    fn at(&self, offset: usize) -> NonNull<u8> {
        // SAFETY: callers pass offsets of the checked geometry, which lie inside the mapping (header-H2).
        unsafe { self.base.add(offset) }
    }

    /// Returns the address of block `index`, which must be less than `geometry.blocks`.
    pub(crate) fn block(&self, index: usize) -> NonNull<u8> {
        debug_assert!(index < self.geometry.blocks);
        self.at(self.geometry.blocks_at + index * self.geometry.block_size)
    }

    pub(crate) fn roster(&self) -> Roster<'_> {
        // SAFETY: head and claims lie inside the mapping (header-H2). They consist of atomics, for which all bytes are
        // valid, and their offsets are multiples of their alignment.
        unsafe {
            let head = self.at(ROSTER_AT).cast().as_ref();
            let claims = self.at(CLAIMS_AT).cast::<Claim>();
            Roster::new(head, std::slice::from_raw_parts(claims.as_ptr(), self.geometry.claims))
        }
    }

    /// Returns the number of handles in messages for each block. Empty for a single.
    pub(crate) fn in_flight(&self) -> &[AtomicU32] {
        let count = if self.geometry.blocks > 1 { self.geometry.blocks } else { 0 };
        // SAFETY: `count` words lie at this offset inside the mapping (header-H2), aligned to 4; all bytes are valid
        // atomics.
        unsafe { std::slice::from_raw_parts(self.at(self.geometry.in_flight_at).cast().as_ptr(), count) }
    }

    /// Returns the lock at the start of a block.
    pub(crate) fn lock(&self, block: usize) -> &RawLock {
        // SAFETY: each block begins with a lock (arena-A2) and is larger than one; a lock consists of atomics.
        unsafe { self.block(block).cast().as_ref() }
    }

    /// Returns the number of messages that carry parts of the array in this block, or handles in this role.
    pub(crate) fn parts_in_flight(&self, block: usize, role: u32) -> Option<&AtomicU32> {
        let line = role as usize * LINE;
        // SAFETY: the word lies inside the block, by the comparison with its size, and is aligned to 4. It is the
        // counter of the role or of the parts. In objects that have neither it is an unused or another atomic word.
        (line + LINE <= self.geometry.block_size)
            .then(|| unsafe { self.block(block).add(line + IN_FLIGHT_AT).cast().as_ref() })
    }

    /// Returns whether a guard of this process still uses the block. If the process has no handle, that guard was
    /// leaked. Some lock words contain the holder's process id, others only its thread id.
    pub(crate) fn has_live_guard(&self, block: usize, locks: usize) -> bool {
        let (lines, process) = (self.geometry.block_size / LINE, ProcessId::current());
        (0..(1 + locks).min(lines)).any(|i| {
            // SAFETY: line `i` lies inside the block, and each of the first `1 + locks` lines begins with a lock, of
            // atomics.
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
            return; // a guard was leaked: the kernel may still write to its lock, and a `&mut [T]` may exist
        }
        if let Backing::Named(file) = &mut *self.backing
            && let Ok(file) = file.get_mut()
            && !self.header.persists()
        {
            file.leave();
        }
        // SAFETY: each field is dropped once, here, and not used afterwards.
        unsafe {
            ManuallyDrop::drop(&mut self.extent);
            ManuallyDrop::drop(&mut self.memory);
            ManuallyDrop::drop(&mut self.backing);
        }
    }
}

/// Writes a fresh lock at the start of an object and initializes its data.
pub(crate) fn init_object(base: NonNull<u8>, offset: usize, kind: u32, init: impl FnOnce(NonNull<u8>)) {
    // SAFETY: `offset` is `blocks_at` of the geometry: inside the mapping, aligned to a line, with room for a lock. No
    // other process can see the object yet.
    let object = unsafe {
        let object = base.add(offset);
        object.cast::<RawLock>().write(RawLock::new(kind));
        object
    };
    init(object);
}

/// Reads the size of the part before the extent from the header in the file.
fn front_size(fd: &Fd) -> Result<u64, SegmentError> {
    let mut bytes = [0; size_of::<Header>()];
    match memory::read_at(fd, 0, &mut bytes)? {
        got if got == bytes.len() => Ok(bytemuck::pod_read_unaligned::<Header>(&bytes).size.min(extent::EXTENT_AT)),
        _ => Err(SegmentError::NotASegment),
    }
}
