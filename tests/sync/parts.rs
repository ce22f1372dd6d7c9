//! Parts of an `Array`: each has one writer, the whole array waits for all of them, and there is one partition at a
//! time.

use crate::util::{Child, Mark, alone, fork, until, until_killed, within};
use crossproc::transfer::{recv, send};
use crossproc::{Array, ArrayError, LockError, Part, TryLockError};
use std::os::unix::net::UnixStream;
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(20);

/// A child that holds the part, and has done half of its work.
fn holder(part: &Part<u32>) -> Child {
    let mark = Mark::new();
    let child = fork(|| {
        let mut guard = part.lock().unwrap();
        guard[0] = 999;
        mark.hit();
        until_killed()
    });
    mark.reaches(1);
    child
}

#[test]
fn four_children_fill_four_parts_at_once() {
    within(30, || {
        let array = Array::<u64>::zeroed(1003).unwrap();
        let parts = array.parts(4).unwrap();
        assert_eq!(parts.iter().map(Part::len).sum::<usize>(), 1003);
        let all_hold = Mark::new();
        let children: Vec<_> = parts
            .iter()
            .zip(1..)
            .map(|(part, number)| {
                let all_hold = &all_hold;
                fork(move || {
                    let mut items = part.lock().unwrap();
                    all_hold.meet(4); // none waits for another
                    items.fill(number);
                })
            })
            .collect();
        children.into_iter().for_each(Child::join);
        let items = array.to_vec().unwrap();
        for (part, number) in parts.iter().zip(1..) {
            assert!(items[part.range()].iter().all(|item| *item == number));
            assert_eq!(part.to_vec().unwrap(), vec![number; part.len()]);
        }
    });
}

#[test]
fn a_part_that_was_sent_twice_has_one_writer() {
    within(30, || {
        let (here, there) = UnixStream::pair().unwrap();
        let (holding, done) = (Mark::new(), Mark::new());
        let reader = |hold: bool| {
            let (there, holding, done) = (&there, &holding, &done);
            move || {
                let part: Part<u32> = recv(there).unwrap();
                if hold {
                    let _guard = part.lock().unwrap();
                    holding.hit();
                    done.reaches(1);
                } else {
                    holding.reaches(1);
                    assert_eq!(part.try_lock().unwrap_err(), TryLockError::WouldBlock);
                    assert!(part.lock_timeout(SHORT).unwrap_err().is_timeout());
                    assert!(part.holder().is_some());
                    done.hit();
                    part.lock().unwrap()[0] = 5;
                }
            }
        };
        // Before the array exists: neither child inherits it. They take turns at the socket.
        let first = fork(reader(true));
        let array = Array::<u32>::zeroed(10).unwrap();
        let part = &array.parts(5).unwrap()[2];
        send(&here, part).unwrap();
        holding.reaches(1);
        let second = fork(reader(false));
        send(&here, part).unwrap();
        first.join();
        second.join();
        assert_eq!(array.to_vec().unwrap(), [0, 0, 0, 0, 5, 0, 0, 0, 0, 0]);
    });
}

#[test]
fn the_whole_waits_for_all_parts_and_parts_for_the_whole() {
    within(30, || {
        let array = Array::<u32>::zeroed(9).unwrap();
        let parts = array.parts(3).unwrap();
        for part in &parts {
            let mut child = holder(part);
            assert_eq!(array.try_lock().unwrap_err(), TryLockError::WouldBlock);
            assert!(array.lock_timeout(SHORT).unwrap_err().is_timeout());
            assert_eq!(part.holder(), Some(child.pid));
            child.kill();
            drop(part.lock_or_repair(|items| items.fill(0)).unwrap());
        }
        let (holding, release) = (Mark::new(), Mark::new());
        let slow = fork(|| {
            let mut guard = parts[2].lock().unwrap();
            holding.hit();
            release.reaches(1);
            guard.fill(7);
        });
        holding.reaches(1);
        let whole = fork(|| assert_eq!(*array.lock().unwrap(), [0, 0, 0, 0, 0, 0, 7, 7, 7]));
        whole.until_asleep();
        release.hit();
        slow.join();
        whole.join();
        let guard = array.lock().unwrap();
        fork(|| {
            assert!(parts.iter().all(|part| part.try_lock().unwrap_err() == TryLockError::WouldBlock));
        })
        .join();
        assert_eq!(parts[0].lock().unwrap_err(), LockError::Deadlock, "this thread has the whole");
        drop(guard);
        let part = parts[1].lock().unwrap();
        assert_eq!(array.lock().unwrap_err(), LockError::Deadlock, "this thread has a part");
        drop(part);
        drop(array.try_lock().expect("free"));
    });
}

#[test]
fn one_item_waits_for_its_own_part_alone() {
    within(30, || {
        let array = Array::<u32>::zeroed(4).unwrap();
        let parts = array.parts(2).unwrap();
        let _child = holder(&parts[0]);
        array.set(3, 8).unwrap();
        assert_eq!(array.get(3), Ok(8));
        let waiter = fork(|| assert!(array.get(0).is_ok()));
        waiter.until_asleep();
    });
}

#[test]
fn another_partition_waits_for_the_end_of_this_one() {
    alone(30, || {
        let array = Array::<u32>::zeroed(8).unwrap();
        let mut two = array.parts(2).unwrap();
        assert_eq!(array.parts(2).unwrap().len(), 2, "the same again");
        assert_eq!(array.parts(3).unwrap_err(), ArrayError::Partitioned);
        let last = two.pop().unwrap();
        drop(two);
        assert_eq!(array.parts(3).unwrap_err(), ArrayError::Partitioned);
        let copy = last.clone();
        drop(last);
        assert_eq!(array.parts(3).unwrap_err(), ArrayError::Partitioned);
        drop(copy);
        let three = array.parts(3).unwrap();
        assert_eq!(three.iter().map(Part::range).collect::<Vec<_>>(), [0..2, 2..5, 5..8]);
        assert_eq!(array.parts(65).unwrap_err(), ArrayError::Partitioned);
        drop(three);
        assert_eq!(array.parts(1).unwrap().len(), 1);
        assert_eq!(array.parts(0).unwrap().len(), 0);
        assert_eq!(array.parts(20).unwrap().iter().filter(|part| part.is_empty()).count(), 12, "more than items");
    });
}

#[test]
fn parts_in_another_process_count_until_it_ends() {
    alone(30, || {
        let (here, there) = UnixStream::pair().unwrap();
        let arrived = Mark::new();
        let mut heir = {
            let (there, arrived) = (&there, &arrived);
            fork(move || {
                let _parts: Vec<Part<u32>> = recv(there).unwrap();
                arrived.hit();
                until_killed()
            })
        };
        let array = Array::<u32>::zeroed(8).unwrap();
        let parts = array.parts(2).unwrap();
        send(&here, &parts).unwrap();
        drop(parts);
        arrived.reaches(1);
        assert_eq!(array.parts(3).unwrap_err(), ArrayError::Partitioned);
        assert_eq!(array.parts(2).unwrap().len(), 2, "the same, from any process");
        heir.kill();
        assert_eq!(array.parts(3).unwrap().len(), 3, "a killed process's parts do not count");
    });
}

#[test]
fn inherited_parts_count_until_the_child_drops_them_or_ends() {
    alone(30, || {
        let array = Array::<u32>::zeroed(8).unwrap();
        let parts = array.parts(2).unwrap();
        let (go, dropped) = (Mark::new(), Mark::new());
        let mine = std::cell::Cell::new(Some(parts));
        let mut child = fork(|| {
            go.reaches(1);
            drop(mine.take());
            dropped.hit();
            until_killed()
        });
        drop(mine.take());
        assert_eq!(array.parts(4).unwrap_err(), ArrayError::Partitioned);
        go.hit();
        dropped.reaches(1);
        let four = array.parts(4).unwrap();
        child.kill();
        let begun = Mark::new();
        let mut child = fork(|| {
            begun.hit();
            until_killed()
        });
        begun.reaches(1);
        drop(four);
        assert_eq!(array.parts(8).unwrap_err(), ArrayError::Partitioned);
        child.kill();
        assert_eq!(array.parts(8).unwrap().len(), 8);
    });
}

#[test]
fn a_part_in_flight_counts() {
    alone(30, || {
        let (here, there) = UnixStream::pair().unwrap();
        let array = Array::<u32>::zeroed(8).unwrap();
        send(&here, &array.parts(2).unwrap()[0]).unwrap();
        assert_eq!(array.parts(3).unwrap_err(), ArrayError::Partitioned, "in the socket");
        let arrived: Part<u32> = recv(&there).unwrap();
        assert_eq!(array.parts(3).unwrap_err(), ArrayError::Partitioned, "in the hand");
        assert_eq!(arrived.range(), 0..4);
        drop(arrived);
        assert_eq!(array.parts(3).unwrap().len(), 3);
    });
}

#[test]
fn a_killed_holder_is_reported_by_its_part_and_by_the_whole() {
    within(30, || {
        let array = Array::<u32>::zeroed(6).unwrap();
        let parts = array.parts(3).unwrap();
        for repair_by_whole in [false, true] {
            let mut child = holder(&parts[1]);
            child.kill();
            let died = LockError::OwnerDied { pid: child.pid };
            assert_eq!(parts[1].lock().unwrap_err(), died);
            assert_eq!(parts[1].try_lock().unwrap_err(), TryLockError::Lock(died));
            assert_eq!(array.lock().unwrap_err(), died);
            assert_eq!(array.get(2), Err(ArrayError::Lock(died)));
            assert_eq!(array.get(0), Ok(0), "another part is as it was");
            drop(parts[0].lock().unwrap());
            if repair_by_whole {
                drop(array.lock_or_repair(|items| assert_eq!(std::mem::take(&mut items[2]), 999)).unwrap());
            } else {
                drop(parts[1].lock_or_repair(|items| assert_eq!(std::mem::take(&mut items[0]), 999)).unwrap());
            }
            assert_eq!(array.to_vec().unwrap(), [0; 6]);
            drop(parts[1].lock_or_repair(|_| panic!("clean")).unwrap());
        }
    });
}

#[test]
fn a_mark_survives_its_partition() {
    alone(30, || {
        let array = Array::<u32>::zeroed(6).unwrap();
        let parts = array.parts(3).unwrap();
        let mut child = holder(&parts[1]);
        child.kill();
        drop(parts);
        let died = LockError::OwnerDied { pid: child.pid };
        assert_eq!(array.parts(2).unwrap_err(), ArrayError::Lock(died), "what it left is not divided anew");
        assert_eq!(array.lock().unwrap_err(), died);
        drop(array.lock_or_repair(|items| items.fill(0)).unwrap());
        assert_eq!(array.parts(2).unwrap().len(), 2);
    });
}

#[test]
fn a_holder_of_the_whole_that_is_killed_marks_the_parts() {
    within(30, || {
        let array = Array::<u32>::zeroed(6).unwrap();
        let parts = array.parts(3).unwrap();
        let mark = Mark::new();
        let mut child = fork(|| {
            let _guard = array.lock().unwrap();
            mark.hit();
            until_killed()
        });
        mark.reaches(1);
        child.kill();
        let died = LockError::OwnerDied { pid: child.pid };
        assert_eq!(array.lock().unwrap_err(), died);
        assert!(parts.iter().all(|part| part.lock().unwrap_err() == died), "half-done anywhere");
        drop(parts[0].lock_or_repair(|_| ()).unwrap());
        assert_eq!(array.lock().unwrap_err(), died, "the others are not repaired");
        drop(array.lock_or_repair(|_| ()).unwrap());
        assert!(parts.iter().all(|part| part.try_lock().is_ok()));
        drop(array.try_lock().unwrap());
    });
}

#[test]
fn a_waiter_for_the_whole_that_is_killed_leaves_no_mark() {
    within(30, || {
        let array = Array::<u32>::zeroed(6).unwrap();
        let parts = array.parts(3).unwrap();
        let guard = parts[2].lock().unwrap();
        let mut waiter = fork(|| drop(array.lock()));
        waiter.until_asleep(); // it has the locks of the whole, and of parts 0 and 1
        assert_eq!(parts[0].try_lock().unwrap_err(), TryLockError::WouldBlock);
        waiter.kill();
        until("they are free", || parts[0].try_lock().is_ok() && parts[1].try_lock().is_ok());
        drop(guard);
        drop(array.lock().expect("nobody changed anything"));
    });
}
