//! Memory that the program owns, and an offset in it.
#![allow(unsafe_code)] // pointers into the program's memory

use super::kind::LINE;
use crate::SegmentError;
use shared_memory::{Shmem, ShmemConf};
use std::ptr::NonNull;
use std::sync::Arc;

/// Memory that the program mapped.
pub(crate) struct HostMemory(Shmem);
// SAFETY: only the address, length and names of the `Shmem` are used. They do not change, and the last owner drops it.
unsafe impl Send for HostMemory {}
// SAFETY: only the address, length and names of the `Shmem` are read, and they do not change.
unsafe impl Sync for HostMemory {}

/// An offset in memory that the program owns.
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

    /// Opens the memory that a handle in a message refers to.
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

    /// Returns the address, and the number of bytes from there to the end of the memory.
    pub(super) fn base(&self) -> Result<(NonNull<u8>, usize), SegmentError> {
        let shmem = self.memory.shmem();
        let start = NonNull::new(shmem.as_ptr()).ok_or(SegmentError::NotASegment)?;
        if !self.offset.is_multiple_of(LINE) || !(start.as_ptr() as usize).is_multiple_of(LINE) {
            return Err(SegmentError::Invalid("the offset is not a multiple of 64".into()));
        }
        let available = shmem.len().checked_sub(self.offset).ok_or(SegmentError::NoSpace)?;
        // SAFETY: `offset` is at most the length of the mapping.
        Ok((unsafe { start.add(self.offset) }, available))
    }
}
