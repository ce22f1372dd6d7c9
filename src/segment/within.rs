//! Objects inside a [`shared_memory::Shmem`] that the program owns.

use super::host::{Host, HostMemory};
use super::named::{Named, NamedPlace};
use shared_memory::Shmem;
use std::sync::Arc;

/// Memory of a [`shared_memory::Shmem`] in which this crate's objects can be created, each at an offset that the
/// program chooses.
///
/// `Value::within(&memory, offset)` and its counterparts for other types create objects in it, or open objects that
/// another program created there. The memory stays mapped while an object in it is in use. An object takes a few
/// hundred bytes in addition to its data. The offset must be a multiple of 64. If two processes create an object at the
/// same offset at the same time, one of them gets [`AlreadyExists`](crate::SegmentError::AlreadyExists).
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
    memory: Arc<HostMemory>,
}

impl std::fmt::Debug for Within {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Within").field("os_id", &self.shmem().get_os_id()).field("len", &self.shmem().len()).finish()
    }
}

impl Within {
    /// Wraps the memory. It need not contain any object of this crate yet; fresh memory must be zero.
    /// ```
    /// let memory = crossproc::Within::new(shared_memory::ShmemConf::new().size(65536).create().unwrap());
    /// assert_eq!(memory.shmem().len(), 65536);
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn new(shmem: Shmem) -> Self {
        Within { memory: HostMemory::new(shmem) }
    }

    /// Returns the underlying memory.
    /// ```
    /// let memory = crossproc::Within::new(shared_memory::ShmemConf::new().size(65536).create().unwrap());
    /// assert!(!memory.shmem().get_os_id().is_empty());
    /// # Ok::<(), crossproc::Error>(())
    /// ```
    pub fn shmem(&self) -> &Shmem {
        self.memory.shmem()
    }

    /// Returns a builder for an object at this offset.
    pub(crate) fn at<H>(&self, offset: usize) -> Named<H> {
        Named::on(NamedPlace::Host(Host::new(self.memory.clone(), offset)))
    }
}
