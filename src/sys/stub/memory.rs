//! Stub of `memory`.

use super::{Fd, MmapRaw, SegmentError, io};

pub(crate) fn anonymous(_: u64, _: u64) -> Result<Fd, SegmentError> {
    Err(SegmentError::Unsupported)
}

pub(crate) fn allocate_at(fd: &Fd, _: u64, _: u64) -> Result<(), SegmentError> {
    match *fd {}
}

pub(crate) fn write_at(fd: &Fd, _: u64, _: &[u8]) -> Result<(), SegmentError> {
    match *fd {}
}

pub(crate) fn read_at(fd: &Fd, _: u64, _: &mut [u8]) -> io::Result<usize> {
    match *fd {}
}

pub(crate) fn punch(fd: &Fd, _: u64, _: u64) {
    match *fd {}
}

pub(crate) fn taken(fd: &Fd) -> u64 {
    match *fd {}
}

pub(crate) fn map_at(fd: &Fd, _: u64, _: usize) -> Result<MmapRaw, SegmentError> {
    match *fd {}
}

pub(crate) fn accept(fd: &Fd) -> Result<u64, SegmentError> {
    match *fd {}
}

pub(crate) fn map(fd: &Fd, _: usize) -> Result<MmapRaw, SegmentError> {
    match *fd {}
}

/// Bytes in memory that no process can write any more: there are none.
pub(crate) struct SealedFile(super::Never);

pub(crate) fn write_sealed(_: &[&[u8]]) -> Result<Fd, SegmentError> {
    Err(SegmentError::Unsupported)
}

impl SealedFile {
    pub(crate) fn open(fd: &Fd) -> Result<Self, SegmentError> {
        match *fd {}
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        match self.0 {}
    }
}

pub(crate) fn duplicate(fd: &Fd) -> io::Result<Fd> {
    match *fd {}
}
