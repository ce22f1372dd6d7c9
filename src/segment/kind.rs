//! What an object is: its kind, the type of its items, and the size of its memory.

use crate::SegmentError;
use serde::{Deserialize, Serialize};

/// Kinds of objects. The numbers are part of the layout in shared memory and are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Kind {
    Arena = 1,
    Value = 2,
    RawValue = 3,
    Array = 4,
    RawArray = 5,
    Atomic = 6,
    Lock = 7,
    SimpleQueue = 8,
    Queue = 9,
    JoinableQueue = 10,
    Pipe = 11,
    Semaphore = 12,
    BoundedSemaphore = 13,
    RLock = 14,
    Event = 15,
    Condition = 16,
    Barrier = 17,
}

/// Description of an object. Two programs must agree on it before one uses the other's object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    pub(crate) kind: u32,
    pub(crate) item_size: u32,
    pub(crate) item_align: u32,
    pub(crate) type_hash: u64,
    /// Number of items; 1 for all objects but arrays.
    pub(crate) count: u64,
}

impl Spec {
    pub(crate) fn of<T>(kind: Kind, count: usize) -> Result<Self, SegmentError> {
        Ok(Spec {
            kind: kind as u32,
            item_size: u32::try_from(size_of::<T>()).map_err(|_| SegmentError::TooLarge)?,
            item_align: align_of::<T>() as u32,
            type_hash: type_hash(&canonical_name(std::any::type_name::<T>())),
            count: count as u64,
        })
    }

    /// Describes an object that stores messages. The type is that of its handles.
    pub(crate) fn of_messages<H>(kind: Kind, count: usize) -> Self {
        let type_hash = type_hash(&canonical_name(std::any::type_name::<H>()));
        Spec { kind: kind as u32, item_size: LINE as u32, item_align: LINE as u32, type_hash, count: count as u64 }
    }

    /// Returns whether the object stores messages that may contain handles.
    pub(crate) fn carries_handles(&self) -> bool {
        [Kind::Queue, Kind::JoinableQueue, Kind::Pipe].map(|kind| kind as u32).contains(&self.kind)
    }

    /// Returns whether the object's memory grows.
    pub(crate) fn grows(&self) -> bool {
        self.carries_handles() || self.kind == Kind::SimpleQueue as u32 && self.count == 0
    }

    /// Returns whether the object counts its holders.
    pub(crate) fn has_holders(&self) -> bool {
        self.carries_handles() || self.kind == Kind::SimpleQueue as u32
    }

    /// Checks that an object that was found is the wanted one. The number of items may differ.
    pub(crate) fn check(&self, found: &Spec) -> Result<(), SegmentError> {
        if found.kind != self.kind {
            return Err(SegmentError::WrongType);
        }
        if (found.item_size, found.item_align) != (self.item_size, self.item_align) {
            return Err(SegmentError::WrongSize);
        }
        if found.type_hash != self.type_hash {
            return Err(SegmentError::WrongType);
        }
        Ok(())
    }
}

/// Memory of an object: a line with its lock, `locks` more lines with a lock each, and its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectLayout {
    pub(crate) locks: usize,
    pub(crate) bytes: usize,
}

/// Distance between two locks in bytes: a cache line.
pub(crate) const LINE: usize = 64;

/// Computes a 64-bit FNV-1a hash. It is the same in all programs, which `std`'s is not.
pub(crate) fn type_hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Returns the name of a type without paths, with `isize` and `usize` by their width: `[app::Point; 3]` becomes
/// `[Point; 3]` in every program.
fn canonical_name(name: &str) -> String {
    let mut canonical = String::new();
    let mut segment = String::new();
    let flush = |segment: &mut String, canonical: &mut String| {
        canonical.push_str(match segment.as_str() {
            "usize" => "u64",
            "isize" => "i64",
            other => other,
        });
        segment.clear();
    };
    let mut rest = name.chars().peekable();
    while let Some(c) = rest.next() {
        if c == ':' && rest.peek() == Some(&':') {
            rest.next();
            segment.clear();
        } else if c.is_alphanumeric() || c == '_' {
            segment.push(c);
        } else {
            flush(&mut segment, &mut canonical);
            canonical.push(c);
        }
    }
    flush(&mut segment, &mut canonical);
    canonical
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_types_lose_their_paths_and_keep_their_width() {
        for (name, canonical) in [
            ("u32", "u32"),
            ("usize", "u64"),
            ("[app::model::Point; 3]", "[Point; 3]"),
            ("app::Pair<lib::A, isize>", "Pair<A, i64>"),
        ] {
            assert_eq!(canonical_name(name), canonical);
        }
        let spec = |s: Result<Spec, _>| s.unwrap();
        assert_eq!(
            spec(Spec::of::<u32>(Kind::Value, 1)).check(&spec(Spec::of::<f32>(Kind::Value, 1))),
            Err(SegmentError::WrongType)
        );
        assert_eq!(
            spec(Spec::of::<u32>(Kind::Value, 1)).check(&spec(Spec::of::<u64>(Kind::Value, 1))),
            Err(SegmentError::WrongSize)
        );
        assert_eq!(spec(Spec::of::<u32>(Kind::Array, 1)).check(&spec(Spec::of::<u32>(Kind::Array, 9))), Ok(()));
    }
}
