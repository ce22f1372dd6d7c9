//! The cost of handles: few descriptors and mappings, and memory that is returned.

use crate::util::{Counts, Mark, alone, fork, unique, until, until_killed};
use crossproc::transfer::{recv, send};
use crossproc::{Array, Atomic, Lock, SegmentError, Value};
use std::os::unix::net::UnixStream;

const MIB: u64 = 1 << 20;

#[test]
fn ten_thousand_values_need_few_descriptors_and_mappings() {
    alone(60, || {
        let before = Counts::now();
        let values: Vec<_> = (0..10_000_u64).map(|n| Value::new(n).unwrap()).collect();
        let now = Counts::now();
        assert!(now.fds <= before.fds + 32, "{before:?} {now:?}");
        assert!(now.maps <= before.maps + 64, "{before:?} {now:?}");
        assert!(values.iter().zip(0..).all(|(value, n)| value.get() == n));
        // Also in a child that got them all by messages.
        let (here, there) = UnixStream::pair().unwrap();
        let child = fork(|| {
            let before = Counts::now();
            let mut values: Vec<Value<u64>> = recv(&there).unwrap();
            let now = Counts::now();
            assert!(now.fds <= before.fds + 32 && now.maps <= before.maps + 64, "{before:?} {now:?}");
            *values.pop().unwrap().lock().unwrap() = 1;
        });
        send(&here, &values).unwrap();
        child.join();
        assert_eq!(values[9_999].get(), 1);
    });
}

#[test]
fn a_million_made_and_dropped_leave_nothing() {
    alone(100, || {
        let round = |times: u64| {
            for n in 0..times / 10 {
                // Some live at the same time, of several sizes.
                let small: Vec<_> = (0..7).map(|i| Value::new(n + i).unwrap()).collect();
                let large = (Value::new([n; 100]).unwrap(), Lock::new().unwrap(), Atomic::new(n).unwrap());
                assert_eq!((small[6].get(), large.0.get()[99]), (n + 6, n));
            }
        };
        round(10_000);
        let before = Counts::now();
        let bytes = Counts::memfd_bytes();
        round(1_000_000);
        let now = Counts::now();
        assert_eq!((now.fds, now.maps), (before.fds, before.maps));
        assert!(now.rss_kib <= before.rss_kib + 1024, "{before:?} {now:?}");
        assert_eq!(Counts::memfd_bytes(), bytes);
    });
}

#[test]
fn large_objects_leave_nothing() {
    alone(60, || {
        let round = || {
            let array = Array::<u64>::zeroed(100_000).unwrap();
            array.fill(1).unwrap();
            drop(array.parts(4).unwrap());
            drop(Value::new([1_u64; 5_000]).unwrap());
        };
        round();
        let before = Counts::now();
        (0..200).for_each(|_| round());
        let now = Counts::now();
        assert_eq!((now.fds, now.maps), (before.fds, before.maps));
        assert!(now.rss_kib <= before.rss_kib + 1024, "{before:?} {now:?}");
    });
}

#[test]
fn many_at_once_are_given_back_when_they_go() {
    alone(60, || {
        drop(Value::new(1).unwrap());
        let before = Counts::now();
        let values: Vec<_> = (0..200_000_u64).map(|n| Value::new([n; 8]).unwrap()).collect();
        assert!(Counts::memfd_bytes() > 200_000 * 100, "they are there");
        drop(values);
        let now = Counts::now();
        assert!(Counts::memfd_bytes() <= 2 * MIB, "{} KiB", Counts::memfd_bytes() >> 10);
        assert!(now.shared_kib <= before.shared_kib + 2048, "{before:?} {now:?}");
        assert!(now.fds <= before.fds + 2 && now.maps <= before.maps + 4, "{before:?} {now:?}");
    });
}

#[test]
fn an_object_lives_until_its_last_handle_goes() {
    alone(30, || {
        let value = Value::new(1).unwrap();
        let at = format!("{value:?}");
        let copies: Vec<_> = (0..100).map(|_| value.clone()).collect();
        drop(value);
        copies[50].set(2).unwrap();
        assert!(copies.iter().all(|copy| copy.get() == 2 && format!("{copy:?}") == at));
        let last = copies.into_iter().next_back().unwrap();
        let others: Vec<_> = (0..500).map(|n| Value::new(n).unwrap()).collect();
        assert!(others.iter().all(|other| format!("{other:?}") != at));
        assert_eq!(last.get(), 2);
        drop((last, others));
        let again: Vec<_> = (0..501).map(|n| Value::new(n).unwrap()).collect();
        assert!(again.iter().any(|other| format!("{other:?}") == at), "its block is used again");
        assert!(again.iter().enumerate().all(|(n, value)| value.get() == n));
    });
}

#[test]
fn threads_clone_and_drop_at_once() {
    alone(60, || {
        let value = Value::new(0_u64).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for n in 0..5_000 {
                        let copies = [value.clone(), value.clone()];
                        *copies[n % 2].lock().unwrap() += 1;
                        drop((Value::new(n).unwrap(), copies));
                    }
                });
            }
        });
        assert_eq!(value.get(), 20_000);
    });
}

#[test]
fn a_child_holds_what_it_inherited_until_it_ends() {
    alone(60, || {
        let value = Value::new([7_u64; 30]).unwrap();
        let at = format!("{value:?}");
        let (here, go) = (Mark::new(), Mark::new());
        let mine = std::cell::Cell::new(Some(value));
        let child = fork(|| {
            here.hit();
            go.reaches(1);
            assert_eq!(mine.take().unwrap().get(), [7; 30], "nobody wrote over it");
        });
        here.reaches(1);
        drop(mine.take());
        let others: Vec<_> = (0..2_000).map(|n| Value::new([n; 30]).unwrap()).collect();
        assert!(others.iter().all(|other| format!("{other:?}") != at));
        go.hit();
        child.join();
        drop(others);
    });
}

/// The parent makes, children get and are killed: the memory does not grow.
#[test]
fn what_a_killed_receiver_held_comes_back() {
    alone(60, || {
        let kept = Value::new([0_u64; 50]).unwrap(); // its arena stays
        let mut most = 0;
        for round in 0..40_u64 {
            let (here, there) = UnixStream::pair().unwrap();
            let got = Mark::new();
            let mut child = fork(|| {
                let _values: Vec<Value<[u64; 50]>> = recv(&there).unwrap();
                got.hit();
                until_killed()
            });
            let values: Vec<_> = (0..300).map(|_| Value::new([round; 50]).unwrap()).collect();
            send(&here, &values).unwrap();
            drop(values);
            got.reaches(1);
            child.kill();
            if round == 5 {
                most = Counts::memfd_bytes();
            }
        }
        assert!(Counts::memfd_bytes() <= most, "{} KiB, {} before", Counts::memfd_bytes() >> 10, most >> 10);
        assert_eq!(kept.get(), [0; 50]);
    });
}

/// Its own blocks, of which the others know nothing until it is killed.
#[test]
fn what_a_killed_maker_sent_stays_with_the_receiver() {
    alone(30, || {
        let (here, there) = UnixStream::pair().unwrap();
        let sent = Mark::new();
        let mut maker = fork(|| {
            let values: Vec<_> = (0..10).map(|n| Value::new([n; 20]).unwrap()).collect();
            send(&there, &values[3]).unwrap();
            sent.hit();
            until_killed()
        });
        sent.reaches(1);
        let value: Value<[i32; 20]> = recv(&here).unwrap();
        maker.kill();
        let others: Vec<_> = (0..1_000).map(|_| Value::new([99; 20]).unwrap()).collect();
        assert_eq!(value.get(), [3; 20]);
        *value.lock().unwrap() = [4; 20];
        assert_eq!((value.get(), others[0].get()), ([4; 20], [99; 20]));
    });
}

#[test]
fn a_name_goes_with_its_last_handle_in_any_process() {
    alone(30, || {
        let name = unique("last");
        let value = Value::named(&name).create(1_u32).unwrap();
        let (here, go) = (Mark::new(), Mark::new());
        let mine = std::cell::Cell::new(Some(value));
        let child = fork(|| {
            here.hit();
            go.reaches(1);
            drop(mine.take());
        });
        here.reaches(1);
        drop(mine.take());
        assert_eq!(Value::<u32>::named(&name).open().unwrap().get(), 1, "the child has it");
        go.hit();
        child.join();
        assert_eq!(Value::<u32>::named(&name).open().unwrap_err(), SegmentError::NotFound);

        let kept = Value::named(&name).create(2_u32).unwrap();
        let mut child = fork(|| until_killed());
        drop(kept);
        child.kill();
        until("a killed one's name is swept", || {
            Value::<u32>::named(&name).open().is_err_and(|error| error == SegmentError::NotFound)
        });
    });
}
