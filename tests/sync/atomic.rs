//! `Atomic`, `RawValue`, `RawArray`: shared memory without a lock.

use crate::util::{Child, Mark, fork, until, until_killed, within};
use crossproc::{Atomic, Int, RawArray, RawValue};
use std::fmt::Debug;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};

#[test]
fn four_processes_add_without_a_loss() {
    within(60, || {
        let total = Atomic::new(0_i64).unwrap();
        let children: Vec<_> =
            (0..4).map(|_| fork(|| (0..25_000).for_each(|_| assert!(total.fetch_add(1, Relaxed) < 100_000)))).collect();
        children.into_iter().for_each(Child::join);
        assert_eq!(total.load(Relaxed), 100_000);
    });
}

#[test]
fn compare_exchange_between_processes_gives_each_number_once() {
    within(60, || {
        let next = Atomic::new(0_u32).unwrap();
        let taken = RawArray::<u8>::zeroed(4_000).unwrap();
        let children: Vec<_> = (0..4)
            .map(|_| {
                fork(|| {
                    for _ in 0..1_000 {
                        let mut seen = next.load(Relaxed);
                        while let Err(now) = next.compare_exchange(seen, seen + 1, AcqRel, Acquire) {
                            seen = now;
                        }
                        let seen = seen as usize;
                        taken.set(seen, taken.get(seen).unwrap() + 1).unwrap();
                    }
                })
            })
            .collect();
        children.into_iter().for_each(Child::join);
        assert!((0..4_000).all(|i| taken.get(i) == Some(1)));
    });
}

/// A child does each operation, the parent sees what it did.
fn operations<T: Int + Debug + PartialEq + From<u8>>(max: T, overflown: T) {
    let n = T::from;
    let integer = Atomic::new(n(5)).unwrap();
    let in_child = |result: T, operation: &dyn Fn() -> T| {
        fork(|| assert_ne!(operation(), result)).join();
        assert_eq!(integer.load(SeqCst), result);
    };
    in_child(n(7), &|| integer.fetch_add(n(2), SeqCst));
    in_child(n(4), &|| integer.fetch_sub(n(3), SeqCst));
    in_child(n(6), &|| integer.fetch_or(n(2), SeqCst));
    in_child(n(2), &|| integer.fetch_and(n(3), SeqCst));
    in_child(n(3), &|| integer.fetch_xor(n(1), SeqCst));
    in_child(n(9), &|| integer.fetch_max(n(9), SeqCst));
    in_child(n(8), &|| integer.fetch_min(n(8), SeqCst));
    in_child(max, &|| integer.swap(max, SeqCst));
    in_child(overflown, &|| integer.fetch_add(n(1), SeqCst));
    assert_eq!(integer.compare_exchange(n(77), n(1), SeqCst, Relaxed), Err(overflown));
    assert_eq!(integer.compare_exchange(overflown, n(1), SeqCst, Relaxed), Ok(overflown));
    integer.store(n(3), Release);
    assert_eq!(Atomic::clone(&integer).load(Acquire), n(3));
}

#[test]
fn every_width_has_every_operation() {
    within(60, || {
        operations(u8::MAX, 0);
        operations(u16::MAX, 0);
        operations(u32::MAX, 0);
        operations(u64::MAX, 0);
        operations(usize::MAX, 0);
        operations(i16::MAX, i16::MIN);
        operations(i32::MAX, i32::MIN);
        operations(i64::MAX, i64::MIN);
        operations(isize::MAX, isize::MIN);
        let small = Atomic::new(i8::MIN).unwrap();
        fork(|| assert_eq!(small.fetch_sub(1, SeqCst), i8::MIN)).join();
        assert_eq!(small.load(Relaxed), i8::MAX);
    });
}

#[test]
fn std_knows_the_integer() {
    within(30, || {
        let integer = Atomic::new(0b110_u64).unwrap();
        fork(|| assert_eq!(integer.as_std().fetch_nand(0b010, SeqCst), 0b110)).join();
        assert_eq!(integer.load(SeqCst), !0b010);
        let std: &std::sync::atomic::AtomicU64 = integer.as_std();
        std.store(4, SeqCst);
        assert_eq!(integer.load(SeqCst), 4);
    });
}

#[test]
fn a_killed_writer_leaves_an_integer_that_goes_on() {
    within(30, || {
        let total = Atomic::new(0_u64).unwrap();
        let mut child = fork(|| {
            loop {
                total.fetch_add(1, Relaxed);
            }
        });
        until("it counts", || total.load(Relaxed) > 1_000);
        child.kill();
        let counted = total.load(Relaxed);
        assert_eq!(total.fetch_add(1, Relaxed), counted);
    });
}

#[test]
fn a_raw_value_is_seen_by_all_and_waits_for_nobody() {
    within(30, || {
        let value = RawValue::new([1.5_f64; 3]).unwrap();
        let mark = Mark::new();
        let mut child = fork(|| {
            value.set([2.5; 3]);
            mark.hit();
            until_killed()
        });
        mark.reaches(1);
        child.stop();
        assert_eq!(value.get(), [2.5; 3]);
        value.clone().set([3.5; 3]);
        child.kill();
        assert_eq!(value.get(), [3.5; 3]);
    });
}

/// Up to 8 bytes are never half of one write and half of another.
#[test]
fn a_word_is_read_as_a_whole() {
    within(30, || {
        let (value, array) = (RawValue::new(0_u64).unwrap(), RawArray::<u32>::zeroed(3).unwrap());
        let mark = Mark::new();
        let mut writer = fork(|| {
            for n in 0_u32.. {
                value.set(u64::from(n) << 32 | u64::from(n));
                array.set(1, (n & 0xffff) << 16 | n & 0xffff).unwrap();
                mark.set(u64::from(n));
            }
        });
        mark.reaches(10);
        for _ in 0..100_000 {
            let (wide, item) = (value.get(), array.get(1).unwrap());
            assert_eq!(wide >> 32, wide & 0xffff_ffff);
            assert_eq!(item >> 16, item & 0xffff);
        }
        writer.kill();
        assert_eq!((array.get(0), array.get(2)), (Some(0), Some(0)), "its neighbours are its neighbours'");
    });
}

#[test]
fn a_raw_array_has_items_and_bounds() {
    within(30, || {
        let array = RawArray::from_slice(&[1_u16, 2, 3, 4, 5]).unwrap();
        fork(|| (0..5).for_each(|i| array.set(i, array.get(i).unwrap() * 10).unwrap())).join();
        assert_eq!((array.len(), array.is_empty()), (5, false));
        assert!((0..5).all(|i| array.get(i) == Some(10 * (i as u16 + 1))));
        assert_eq!((array.get(5), array.set(5, 1), array.get(usize::MAX)), (None, None, None));
        assert!(RawArray::<u64>::zeroed(0).unwrap().is_empty());
        assert_eq!(RawArray::from_slice(&[[1_u8; 3], [2; 3]]).unwrap().get(1), Some([2; 3]));
        let large = RawArray::<u64>::zeroed(200_000).unwrap();
        fork(|| large.set(199_999, 7).unwrap()).join();
        assert_eq!((large.get(199_998), large.get(199_999)), (Some(0), Some(7)));
    });
}
