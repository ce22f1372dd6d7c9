//! Types in a `Value`: types with invalid bit patterns, of any size and alignment.

use crate::util::{fork, within};
use crossproc::bytemuck::{CheckedBitPattern, NoUninit};
use crossproc::{Element, SegmentError, Value};
use std::fmt::Debug;

#[derive(Clone, Copy, Debug, PartialEq, NoUninit, CheckedBitPattern)]
#[repr(u8)]
enum Light {
    Red = 1,
    Green = 7,
}

#[derive(Clone, Copy, Debug, PartialEq, NoUninit, CheckedBitPattern)]
#[repr(C)]
struct Crossing {
    id: u32,
    sign: char,
    light: Light,
    open: bool,
    rest: u16,
}

/// A child changes it, the parent sees it, through each way.
fn travels<T: Element + Debug + PartialEq>(first: T, second: T) {
    let value = Value::new(first).unwrap();
    assert_eq!(value.get(), first);
    fork(|| {
        let mut guard = value.lock().unwrap();
        assert_eq!(*guard, first);
        *guard = second;
    })
    .join();
    assert_eq!(value.get(), second);
    fork(|| value.set(first).unwrap()).join();
    assert_eq!(*value.lock().unwrap(), first);
}

#[test]
fn types_with_invalid_bit_patterns() {
    within(30, || {
        travels(false, true);
        travels('a', '\u{10ffff}');
        travels(Light::Red, Light::Green);
        let crossing = Crossing { id: 1, sign: 'x', light: Light::Red, open: false, rest: 9 };
        travels(crossing, Crossing { id: 2, sign: 'ß', light: Light::Green, open: true, ..crossing });
        travels(Some(std::num::NonZeroU32::MIN), None);
    });
}

#[test]
fn every_size() {
    within(30, || {
        travels((), ());
        travels([0_u8; 0], [0; 0]);
        travels([1_u8; 1], [2; 1]);
        travels([1_u8; 3], [2; 3]);
        travels([1_u8; 9], [2; 9]);
        travels([1_u8; 255], [2; 255]);
        travels([1_u64; 32], [2; 32]);
        travels([1_u8; 257], [2; 257]);
        travels([1_u16; 2048], [2; 2048]);
        travels(u128::MAX, 1 << 100);
        travels(f64::NEG_INFINITY, 0.1);
    });
}

#[test]
fn a_value_larger_than_any_block() {
    within(30, || {
        travels([1_u64; 4096], [2; 4096]); // two of them are a block of 64 KiB and some
        travels([1_u64; 9_000], [2; 9_000]);
    });
}

#[test]
fn every_alignment() {
    #[derive(Clone, Copy, Debug, PartialEq, crossproc::bytemuck::Zeroable, crossproc::bytemuck::Pod)]
    #[repr(C, align(128))]
    struct Wide([u64; 16]);
    #[derive(Clone, Copy, Debug, PartialEq, crossproc::bytemuck::Zeroable, crossproc::bytemuck::Pod)]
    #[repr(C, align(4096))]
    struct Page([u64; 512]);
    within(30, || {
        travels(Wide([1; 16]), Wide([2; 16]));
        travels(Page([1; 512]), Page([2; 512]));
        let guard_of = Value::new(Wide([3; 16])).unwrap();
        let guard = guard_of.lock().unwrap();
        assert!((&raw const *guard).is_aligned());
        let array = crossproc::Array::from_slice(&[Page([1; 512]), Page([2; 512])]).unwrap();
        assert!(array.lock().unwrap().as_ptr().is_aligned());
    });
}

#[test]
fn more_than_a_page_of_alignment_is_refused() {
    #[derive(Clone, Copy, crossproc::bytemuck::Zeroable, crossproc::bytemuck::Pod)]
    #[repr(C, align(8192))]
    struct TwoPages([u64; 1024]);
    let error = crossproc::Array::from_slice(&[TwoPages([0; 1024])]).unwrap_err();
    assert!(matches!(error, SegmentError::Invalid(_)), "{error:?}");
}
