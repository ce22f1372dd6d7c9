//! Objects inside a [`shared_memory::Shmem`] that the program owns.
#![allow(unsafe_code)] // pointers into the program's memory

use super::handle::single_geometry;
use super::header::{CELLS_AT, Header};
use super::kind::{LINE, ObjectLayout, Spec};
use super::named::{Named, Site, init_object};
use super::segment::{Segment, copy_header, write_header_behind_magic};
use crate::SegmentError;
use crate::sys::process_id::{self, ProcessId};
use shared_memory::{Shmem, ShmemConf};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// A [`shared_memory::Shmem`] with room for this crate's objects, each at an offset that the program chooses.
///
/// `Value::within(&memory, offset)` and its kin make objects in it, or open those that another program made there. The
/// memory stays mapped as long as an object in it is used. An object takes some hundred bytes beside its data; the
/// offset is a multiple of 64. Two processes must not create an object at the same offset at the same time, else one of
/// them is told that it exists already.
///
/// ```
/// use crossproc::{Array, Value, Within};
/// use shared_memory::ShmemConf;
/// let memory = Within::new(ShmemConf::new().size(16384).create().unwrap());
/// let value = Value::within(&memory, 0).create(7i64)?;
/// let list = Array::within(&memory, 4096).create(&[1u8, 2, 3])?;
///
/// // elsewhere: attach by the id of the memory
/// let there = Within::new(ShmemConf::new().os_id(memory.shmem().get_os_id()).open().unwrap());
/// *Value::<i64>::within(&there, 0).open()?.lock()? += 1;
/// assert_eq!((value.get(), list.get(2)?), (8, 3));
/// # Ok::<(), crossproc::Error>(())
/// ```
#[derive(Clone)]
pub struct Within {
    memory: Arc<Memory>,
}

struct Memory(Shmem);
// SAFETY: of a Shmem only its address, length and names are used, which do not change; it is dropped by the last owner.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

/// A place inside such memory.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    within: Within,
    offset: usize,
}

impl std::fmt::Debug for Within {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Within").field("os_id", &self.shmem().get_os_id()).field("len", &self.shmem().len()).finish()
    }
}

impl Within {
    /// Takes the memory, in which nothing of this crate need be yet. Fresh memory is zeros.
    ///
    /// ```
    /// let memory = crossproc::Within::new(shared_memory::ShmemConf::new().size(65536).create().unwrap());
    /// assert_eq!(memory.shmem().len(), 65536);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn new(shmem: Shmem) -> Self {
        Within { memory: Arc::new(Memory(shmem)) }
    }

    /// The memory itself.
    ///
    /// ```
    /// let memory = crossproc::Within::new(shared_memory::ShmemConf::new().size(65536).create().unwrap());
    /// assert!(!memory.shmem().get_os_id().is_empty());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn shmem(&self) -> &Shmem {
        &self.memory.0
    }

    fn host(&self, offset: usize) -> Host {
        Host { within: self.clone(), offset }
    }

    /// An object at this offset.
    pub(crate) fn at<H>(&self, offset: usize) -> Named<H> {
        Named::on(Site::Host(self.host(offset)))
    }
}

impl Host {
    pub(crate) fn os_id(&self) -> &str {
        self.within.shmem().get_os_id()
    }

    pub(crate) fn offset(&self) -> usize {
        self.offset
    }

    /// The address, and how many bytes there are from it on.
    fn base(&self) -> Result<(NonNull<u8>, usize), SegmentError> {
        let shmem = self.within.shmem();
        let start = NonNull::new(shmem.as_ptr()).ok_or(SegmentError::NotASegment)?;
        if !self.offset.is_multiple_of(LINE) || !(start.as_ptr() as usize).is_multiple_of(LINE) {
            return Err(SegmentError::Invalid("the offset is not a multiple of 64".into()));
        }
        let room = shmem.len().checked_sub(self.offset).ok_or(SegmentError::NoSpace)?;
        // SAFETY: offset <= len, inside the mapping.
        Ok((unsafe { start.add(self.offset) }, room))
    }

    pub(crate) fn create(
        &self,
        spec: &Spec,
        shape: &ObjectLayout,
        init: impl FnOnce(NonNull<u8>),
    ) -> Result<Segment, SegmentError> {
        let (base, room) = self.base()?;
        let geometry = single_geometry(spec, shape)?.unrounded();
        if geometry.size > room || spec.item_align as usize > LINE {
            return Err(SegmentError::NoSpace);
        }
        let header = Header::new(&geometry, spec, shape.locks, true)?;
        // SAFETY: the first word of checked, aligned memory.
        let magic: &AtomicU64 = unsafe { base.cast().as_ref() };
        let before = magic.load(Acquire);
        if !is_free(before) || magic.compare_exchange(before, busy(), Acquire, Relaxed).is_err() {
            return Err(SegmentError::AlreadyExists);
        }
        // SAFETY: behind the magic, inside `room`, ours by the exchange.
        unsafe { base.add(8).write_bytes(0, geometry.size - 8) };
        write_header_behind_magic(base, &header);
        init_object(base, geometry.blocks_at, spec.kind, init);
        magic.store(header.magic_word(), Release);
        Ok(Segment::hosted(base, header, geometry, self.clone()))
    }

    pub(crate) fn attach(&self) -> Result<Segment, SegmentError> {
        let (base, room) = self.base()?;
        if room < CELLS_AT {
            return Err(SegmentError::NotFound);
        }
        // SAFETY: the first word of checked, aligned memory.
        let magic = unsafe { base.cast::<AtomicU64>().as_ref() }.load(Acquire);
        if magic == 0 || (magic >> 32) as u32 == BUSY {
            return Err(SegmentError::NotFound);
        }
        // SAFETY: at least CELLS_AT bytes.
        let header = unsafe { copy_header(base.as_ptr()) };
        let size = usize::try_from(header.size).map_err(|_| SegmentError::NotASegment)?;
        if size > room {
            return Err(SegmentError::NotASegment);
        }
        let geometry = header.check(size)?;
        Ok(Segment::hosted(base, header, geometry, self.clone()))
    }
}

/// In the high half of the first word: somebody is making an object here, the process in the low half.
const BUSY: u32 = 0x6275_7379;

fn busy() -> u64 {
    u64::from(BUSY) << 32 | u64::from(ProcessId::current().pid)
}

/// Whether an object may be made here: nothing is here, or a maker that was killed before its object was complete.
fn is_free(magic: u64) -> bool {
    magic == 0 || ((magic >> 32) as u32 == BUSY && !process_id::exists(magic as u32))
}

/// For a handle that came in a message.
pub(crate) fn attach_by_id(os_id: &str, offset: usize) -> Result<Segment, SegmentError> {
    let shmem = ShmemConf::new().os_id(os_id).open().map_err(|_| SegmentError::Gone)?;
    Within::new(shmem).host(offset).attach()
}
