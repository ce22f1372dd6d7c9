//! A place in memory that the program owns.
#![allow(unsafe_code)] // pointers into the program's memory

use super::kind::LINE;
use crate::SegmentError;
use shared_memory::{Shmem, ShmemConf};
use std::ptr::NonNull;
use std::sync::Arc;

/// Memory that the program mapped.
pub(crate) struct HostMemory(Shmem);
// SAFETY: of a Shmem only its address, length and names are used, which do not change; it is dropped by the last owner.
unsafe impl Send for HostMemory {}
// SAFETY: as above.
unsafe impl Sync for HostMemory {}

/// A place inside such memory.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    memory: Arc<HostMemory>,
    offset: usize,
}

impl std::fmt::Debug for HostMemory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HostMemory").field("os_id", &self.0.get_os_id()).field("len", &self.0.len()).finish()
    }
}

impl HostMemory {
    pub(crate) fn new(shmem: Shmem) -> Arc<Self> {
        Arc::new(HostMemory(shmem))
    }

    pub(crate) fn shmem(&self) -> &Shmem {
        &self.0
    }
}

impl Host {
    pub(crate) fn new(memory: Arc<HostMemory>, offset: usize) -> Self {
        Host { memory, offset }
    }

    /// For a handle that came in a message.
    pub(crate) fn by_id(os_id: &str, offset: usize) -> Result<Self, SegmentError> {
        let shmem = ShmemConf::new().os_id(os_id).open().map_err(|_| SegmentError::Gone)?;
        Ok(Host::new(HostMemory::new(shmem), offset))
    }

    pub(crate) fn os_id(&self) -> &str {
        self.memory.shmem().get_os_id()
    }

    pub(crate) fn offset(&self) -> usize {
        self.offset
    }

    /// The address, and how many bytes there are from it on.
    pub(super) fn base(&self) -> Result<(NonNull<u8>, usize), SegmentError> {
        let shmem = self.memory.shmem();
        let start = NonNull::new(shmem.as_ptr()).ok_or(SegmentError::NotASegment)?;
        if !self.offset.is_multiple_of(LINE) || !(start.as_ptr() as usize).is_multiple_of(LINE) {
            return Err(SegmentError::Invalid("the offset is not a multiple of 64".into()));
        }
        let available = shmem.len().checked_sub(self.offset).ok_or(SegmentError::NoSpace)?;
        // SAFETY: offset <= len, inside the mapping.
        Ok((unsafe { start.add(self.offset) }, available))
    }
}
