//! Stub of `shm_file`.

use super::{Fd, MmapRaw, Never, SegmentError};

pub(crate) type Stays = dyn Fn(&[u8]) -> bool;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name(Never);

#[derive(Debug)]
pub(crate) struct NamedFile(Never);

impl Name {
    pub(crate) fn new(_: &str) -> Result<Self, SegmentError> {
        Err(SegmentError::Unsupported)
    }

    pub(crate) fn as_str(&self) -> &str {
        match self.0 {}
    }
}

impl NamedFile {
    pub(crate) fn size(&self) -> Result<u64, SegmentError> {
        match self.0 {}
    }

    pub(crate) fn is_writable_by_others(&self) -> bool {
        match self.0 {}
    }

    pub(crate) fn name(&self) -> &Name {
        match self.0 {}
    }

    pub(crate) fn reopen(&self) -> Result<Self, SegmentError> {
        match self.0 {}
    }

    pub(crate) fn leave(&self) {
        match self.0 {}
    }

    pub(crate) fn map(&self, _: usize) -> Result<MmapRaw, SegmentError> {
        match self.0 {}
    }

    pub(crate) fn descriptor(&self) -> Result<Fd, SegmentError> {
        match self.0 {}
    }
}

pub(crate) fn unnamed(_: u64, _: u32) -> Result<Fd, SegmentError> {
    Err(SegmentError::Unsupported)
}

pub(crate) fn publish(fd: Fd, _: &Name) -> Result<NamedFile, (Fd, SegmentError)> {
    match fd {}
}

pub(crate) fn open(name: &Name, _: &Stays) -> Result<NamedFile, SegmentError> {
    match name.0 {}
}

pub(crate) fn reopen(fd: &Fd, _: &Name) -> Result<NamedFile, SegmentError> {
    match *fd {}
}

pub(crate) fn remove(name: &Name) -> Result<(), SegmentError> {
    match name.0 {}
}

pub(crate) fn remove_unused(name: &Name, _: &Stays) -> bool {
    match name.0 {}
}

pub(crate) fn sweep(_: &Stays) {}
pub(crate) fn sweep_now_and_then(_: &Stays) {}
