//! Segments in memory that the program owns.
//!
//! # Protocol
//! The first word of a segment is its magic number. A creator exchanges 0 for a busy word with its process id, writes
//! the rest of the segment, and stores the magic number last (Release). A process that attaches loads it first
//! (Acquire).
//!
//! # If a process dies here
//! The busy word stays. The next creator finds that the process does not exist and takes the place over.
#![allow(unsafe_code)] // pointers into the program's memory

use super::header::{CLAIMS_AT, Geometry, Header, copy_header, write_header_after_magic};
use super::host::Host;
use super::kind::{LINE, ObjectLayout, Spec};
use super::segment::{Segment, init_object};
use crate::SegmentError;
use crate::sys::process_id::{self, ProcessId};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

impl Segment {
    /// Creates a segment at this offset. `init` fills the object's data.
    pub(crate) fn create_in_host(
        host: &Host,
        spec: &Spec,
        layout: &ObjectLayout,
        init: impl FnOnce(NonNull<u8>),
    ) -> Result<Segment, SegmentError> {
        let (base, available) = host.base()?;
        let geometry = Geometry::single(spec, layout)?.unrounded();
        if geometry.size > available || spec.item_align as usize > LINE {
            return Err(SegmentError::NoSpace);
        }
        let header = Header::new(&geometry, spec, layout.locks, true)?;
        // SAFETY: `base` is aligned to 64 and at least `geometry.size` bytes follow it; all bytes are a valid atomic.
        let magic: &AtomicU64 = unsafe { base.cast().as_ref() };
        let before = magic.load(Acquire);
        if !is_free(before) || magic.compare_exchange(before, busy(), Acquire, Relaxed).is_err() {
            return Err(SegmentError::AlreadyExists);
        }
        // SAFETY: the range lies inside `available` bytes, after the magic number. The exchange gave it to this
        // process.
        unsafe { base.add(8).write_bytes(0, geometry.size - 8) };
        write_header_after_magic(base, &header);
        init_object(base, geometry.blocks_at, spec.kind, init);
        magic.store(header.magic_word(), Release);
        Ok(Segment::hosted(base, header, geometry, host.clone()))
    }

    /// Attaches the segment at this offset, and checks its header.
    pub(crate) fn attach_in_host(host: &Host) -> Result<Segment, SegmentError> {
        let (base, available) = host.base()?;
        if available < CLAIMS_AT {
            return Err(SegmentError::NotFound);
        }
        // SAFETY: `base` is aligned to 64 and at least `CLAIMS_AT` bytes follow it; all bytes are a valid atomic.
        let magic = unsafe { base.cast::<AtomicU64>().as_ref() }.load(Acquire);
        if magic == 0 || (magic >> 32) as u32 == BUSY {
            return Err(SegmentError::NotFound);
        }
        // SAFETY: `base` is aligned to 64 and at least `CLAIMS_AT` bytes follow it, which is more than `HEADER_BYTES`.
        let header = unsafe { copy_header(base.as_ptr()) };
        let size = usize::try_from(header.size).map_err(|_| SegmentError::NotASegment)?;
        if size > available {
            return Err(SegmentError::NotASegment);
        }
        let geometry = header.check(size)?;
        Ok(Segment::hosted(base, header, geometry, host.clone()))
    }
}

/// High half of the first word while a process creates an object. The low half is its process id.
const BUSY: u32 = 0x6275_7379;

fn busy() -> u64 {
    u64::from(BUSY) << 32 | u64::from(ProcessId::current().pid)
}

/// Returns whether an object may be created here: there is none, or its creator died before it was complete.
fn is_free(magic: u64) -> bool {
    magic == 0 || ((magic >> 32) as u32 == BUSY && !process_id::exists(magic as u32))
}
