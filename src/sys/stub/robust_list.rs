//! Stub of `robust_list`.

use super::AtomicU32;
use super::process_id::ProcessId;

pub(crate) const NODE_ROOM: std::ops::Range<usize> = 28..40;
pub(crate) const HANDED_OVER: u32 = 1 << 29;

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooMany;

/// A thread that waits or holds: there is no lock to wait for.
#[derive(Clone, Copy)]
pub(crate) struct PendingSlot {
    pub(crate) tid: u32,
}

pub(crate) fn tid() -> u32 {
    0
}

pub(crate) fn process() -> ProcessId {
    ProcessId::current()
}

pub(crate) fn node_offset() -> i64 {
    0
}

impl PendingSlot {
    pub(crate) fn set(_: &AtomicU32) -> Result<Self, TooMany> {
        Err(TooMany)
    }

    pub(crate) fn set_in_section(_: &AtomicU32) -> Self {
        PendingSlot { tid: 0 }
    }

    pub(crate) fn set_if_free(_: &AtomicU32) -> Option<Self> {
        None
    }

    pub(crate) fn clear(self) {}

    pub(crate) fn keep(self, _: &AtomicU32, _: bool) {}

    pub(crate) fn link(self, _: &AtomicU32) -> Result<(), TooMany> {
        Err(TooMany)
    }

    pub(crate) fn unlink(self, _: &AtomicU32) {}

    pub(crate) fn take_back(_: &AtomicU32) -> Self {
        PendingSlot { tid: 0 }
    }
}
