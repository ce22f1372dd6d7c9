//! A named object exists exactly as long as a process has a handle to it.
//!
//! Each test runs in a process of its own, because a child that another test forks inherits its handles.

use crate::util::{self, Child, Mark, alone, fork, name_exists, program, role, role_stream, unique, until};
use crossproc::{Array, SegmentError, Value, transfer};
use std::os::unix::net::UnixStream;

/// How many descriptors this process has on the object.
fn descriptors(name: &str) -> usize {
    let links = std::fs::read_dir("/proc/self/fd").unwrap().flatten().map(|entry| std::fs::read_link(entry.path()));
    links.flatten().filter(|target| target.to_string_lossy().contains(name)).count()
}

#[test]
fn two_opens_and_clones_in_one_process() {
    alone(60, || {
        let name = &unique("twice");
        let made = Value::named(name).create(1).unwrap();
        let opened = [(); 3].map(|()| Value::<i32>::named(name).open().unwrap());
        let clone = opened[1].clone();
        *made.lock().unwrap() += 1;
        assert_eq!(opened.each_ref().map(Value::get), [2; 3]);
        drop(made);
        assert!(name_exists(name));
        drop(opened);
        assert!(name_exists(name));
        assert_eq!(clone.get(), 2);
        drop(clone);
        assert!(!name_exists(name));
        assert_eq!(descriptors(name), 0);
    });
}

#[test]
fn the_last_of_three_processes_takes_the_name_with_it_in_any_order() {
    alone(60, || {
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let name = &unique("order");
            let (there, gone) = (Mark::new(), Mark::new());
            let turns = [(); 3].map(|()| Mark::new());
            let children = [0, 1, 2].map(|me| {
                fork(|| {
                    there.reaches(me);
                    let handle = match me {
                        0 => Array::named(name).create(&[me]).unwrap(),
                        _ => Array::named(name).open().unwrap(),
                    };
                    there.hit();
                    turns[me as usize].reaches(1);
                    drop(handle);
                    gone.hit();
                    turns[me as usize].reaches(2);
                })
            });
            there.reaches(3);
            for (dropped, &next) in order.iter().enumerate() {
                assert!(name_exists(name), "{order:?}: {dropped} of 3 are gone");
                turns[next as usize].set(1);
                gone.reaches(dropped as u64 + 1);
            }
            assert!(!name_exists(name), "{order:?}");
            turns.iter().for_each(|turn| turn.set(2));
            children.into_iter().for_each(Child::join);
        }
    });
}

#[test]
fn dropped_by_two_at_once_the_name_goes() {
    alone(60, || {
        const ROUNDS: u64 = 150;
        let names: Vec<String> = (0..ROUNDS).map(|_| unique("at-once")).collect();
        let [made, opened, gone] = [(); 3].map(|()| Mark::new());
        let first = fork(|| {
            for (round, name) in (1..).zip(&names) {
                let value = Value::named(name).create(round).unwrap();
                made.set(round);
                opened.reaches(round);
                drop(value);
                gone.hit();
                gone.reaches(2 * round);
                assert!(!name_exists(name), "round {round}");
            }
        });
        let second = fork(|| {
            for (round, name) in (1..).zip(&names) {
                made.reaches(round);
                let value = Value::<u64>::named(name).open().unwrap();
                opened.set(round);
                assert_eq!(value.get(), round);
                drop(value);
                gone.hit();
                gone.reaches(2 * round);
            }
        });
        first.join();
        second.join();
    });
}

#[test]
fn an_inherited_handle_keeps_the_name_after_the_parent_dropped_its_own() {
    alone(60, || {
        let name = &unique("inherited");
        let (go, done) = (Mark::new(), Mark::new());
        let value = Value::named(name).create(1).unwrap();
        let mut child = fork({
            let value = &value;
            move || {
                // SAFETY: the parent's borrow is a copy here, and is not used again.
                let own = unsafe { std::ptr::read(value) };
                go.reaches(1);
                *own.lock().unwrap() += 1;
                assert_eq!(Value::<i32>::named(name).open().unwrap().get(), 2);
                drop(own);
                done.set(1);
                go.reaches(2);
            }
        });
        drop(value);
        assert!(name_exists(name), "the child holds it");
        go.set(1);
        done.reaches(1);
        assert!(!name_exists(name), "nobody does");
        go.set(2);
        assert_eq!(child.wait(), 0);
    });
}

#[test]
fn the_parent_keeps_the_name_after_the_child_dropped_or_ended_or_was_killed() {
    alone(60, || {
        let name = &unique("parent");
        let value = Value::named(name).create(1).unwrap();
        fork(|| {
            // SAFETY: as above; the child's copy of the parent's variable is not dropped.
            drop(unsafe { std::ptr::read(&value) });
            assert!(name_exists(name));
        })
        .join();
        assert!(name_exists(name));
        fork(|| *value.lock().unwrap() += 1).join();
        let there = Mark::new();
        let mut killed = fork(|| {
            there.set(1);
            util::until_killed();
        });
        there.reaches(1);
        killed.kill();
        assert!(name_exists(name));
        // A grandchild whose parent is gone.
        let (go, over) = (Mark::new(), Mark::new());
        let mut between = fork(|| {
            // SAFETY: a process with one thread.
            if unsafe { libc::fork() } == 0 {
                go.reaches(1);
                // SAFETY: as above.
                let own = unsafe { std::ptr::read(&value) };
                assert_eq!((own.get(), name_exists(name)), (2, true));
                drop(own);
                assert!(!name_exists(name));
                over.set(1);
            }
        });
        assert_eq!(between.wait(), 0);
        drop(value);
        assert!(name_exists(name), "the grandchild holds it");
        go.set(1);
        over.reaches(1);
        until("the name is gone", || !name_exists(name));
    });
}

#[test]
fn a_handle_that_travelled_keeps_the_name_when_its_sender_is_gone() {
    alone(60, || {
        for (round, kill) in [(0_u32, false), (1, true)] {
            let name = &unique("travelled");
            let (here, there) = UnixStream::pair().unwrap();
            let mut receiver = program(role_receives, name, Some(&there));
            let sent = Mark::new();
            let mut sender = fork(|| {
                let value = Value::named(name).create(round).unwrap();
                transfer::send(&here, &("take it", value)).unwrap(); // dropped here, while it is on its way
                assert!(name_exists(name));
                sent.set(1);
                if kill {
                    util::until_killed();
                }
            });
            sent.reaches(1);
            let code = if kill { sender.kill() } else { sender.wait() };
            assert_eq!(code, if kill { -libc::SIGKILL } else { 0 });
            assert!(name_exists(name), "the message holds it");
            transfer::send(&here, &"go on").unwrap();
            let got: u32 = transfer::recv(&here).unwrap();
            assert_eq!((got, name_exists(name)), (round, true));
            assert_eq!(Value::<u32>::named(name).open().unwrap().get(), round + 1);
            transfer::send(&here, &"end").unwrap();
            assert_eq!(receiver.wait(), 0);
            assert!(!name_exists(name), "the receiver was the last");
        }
    });
}

#[test]
fn role_receives() {
    let Some(name) = role() else { return };
    let stream = role_stream();
    let (_, value): (String, Value<u32>) = transfer::recv(&stream).unwrap();
    let _: String = transfer::recv(&stream).unwrap();
    assert!(name_exists(&name));
    let was = value.get();
    *value.lock().unwrap() += 1;
    transfer::send(&stream, &was).unwrap();
    let _: String = transfer::recv(&stream).unwrap();
    drop(value);
    assert!(!name_exists(&name));
}

#[test]
fn a_message_that_nobody_reads_lets_the_name_go() {
    alone(60, || {
        let name = &unique("unread");
        let (here, there) = UnixStream::pair().unwrap();
        let array = Array::named(name).create(&[1, 2]).unwrap();
        transfer::send(&here, &array).unwrap();
        // To a process that has it already, and to itself.
        let same: Array<i32> = transfer::recv(&there).unwrap();
        fork(|| assert_eq!(array.to_vec().unwrap(), [1, 2])).join();
        same.set(0, 9).unwrap();
        assert_eq!(array.get(0), Ok(9));
        transfer::send(&here, &same).unwrap();
        drop((array, same));
        assert!(name_exists(name), "the message holds it");
        drop((here, there));
        program(role_sweeps, "", None).join();
        assert!(!name_exists(name));
    });
}

#[test]
fn role_sweeps() {
    if role().is_some() {
        assert_eq!(Value::<i32>::named(&unique("sweeper")).open().unwrap_err(), SegmentError::NotFound);
    }
}

#[test]
fn who_leaves_while_another_holds_the_lock_holds_nothing() {
    alone(60, || {
        let name = &unique("locked");
        let value = Value::named(name).create(1_u32).unwrap();
        let guard = value.lock().unwrap();
        let left = Mark::new();
        let mut visitor = fork(|| {
            let own = Value::<u32>::named(name).open().unwrap();
            assert_eq!((own.holder(), own.try_lock().is_err()), (Some(std::os::unix::process::parent_id()), true));
            drop(own);
            assert_eq!(Value::<f32>::named(name).open().unwrap_err(), SegmentError::WrongType);
            // SAFETY: the child's own copy of the parent's variable, which it does not use again.
            drop(unsafe { std::ptr::read(&value) });
            assert_eq!(descriptors(name), 0);
            left.set(1);
            left.reaches(2);
        });
        left.reaches(1);
        drop(guard);
        drop(value);
        assert!(!name_exists(name), "the visitor is alive, but holds nothing");
        left.set(2);
        assert_eq!(visitor.wait(), 0);
    });
}

#[test]
fn churn_of_8_on_one_name_gives_typed_errors_and_leaves_nothing() {
    alone(60, || {
        let name = &unique("churn");
        let start = Mark::new();
        let children: Vec<_> = (0..8_u64)
            .map(|me| {
                fork(|| {
                    let mut random = me * 2_654_435_761 + 1;
                    start.meet(8);
                    let mut held = None;
                    for _ in 0..200 {
                        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                        let result = match random >> 61 {
                            0 | 1 => Value::named(name).create([me; 9]),
                            2 | 3 => Value::named(name).open_or_create([me; 9]),
                            4 => Value::<[u64; 9]>::named(name).remove().and(Err(SegmentError::NotFound)),
                            _ => Value::named(name).open(),
                        };
                        match result {
                            Ok(value) => {
                                let got = value.get();
                                assert!(got[0] < 8 && got == [got[0]; 9], "half-made: {got:?}");
                                value.set([me; 9]).unwrap();
                                held = (random >> 60 & 1 == 1).then_some(value);
                            }
                            Err(SegmentError::AlreadyExists | SegmentError::NotFound) => held = None,
                            Err(error) => panic!("{error:?}"),
                        }
                    }
                    drop(held);
                })
            })
            .collect();
        children.into_iter().for_each(Child::join);
        assert!(!name_exists(name));
    });
}
