//! A forked child that is killed before its first instruction: what it would have inherited is not lost.

use crate::util::{Counts, alone, fork, until_killed};
use crossproc::{Array, Value};

#[test]
fn a_child_that_is_killed_at_once_leaves_no_parts_behind() {
    alone(30, || {
        for n in 2..20 {
            let array = Array::<u32>::zeroed(20).unwrap();
            let parts = array.parts(n).unwrap();
            let mut child = fork(|| until_killed());
            child.kill(); // it may not have run an instruction of its own
            drop(parts);
            assert_eq!(array.parts(n + 1).map(|parts| parts.len()), Ok(n + 1));
        }
    });
}

#[test]
fn a_child_that_is_killed_at_once_leaves_no_blocks_behind() {
    alone(60, || {
        let before = Counts::memfd_bytes();
        let mut kept = Vec::new();
        for _ in 0..100 {
            let mut values: Vec<_> = (0..200).map(|_| Value::new([1_u64; 50]).unwrap()).collect();
            fork(|| until_killed()).kill();
            kept.extend(values.pop()); // its arena stays
        }
        let grown = Counts::memfd_bytes() - before;
        assert!(grown < 4 << 20, "{} KiB for {} values", grown >> 10, kept.len());
    });
}
