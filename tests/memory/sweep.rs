//! The next call of any program removes the names that killed programs left in `/dev/shm`, and removes nothing else.
//!
//! Any program on the machine sweeps everything that is left, so no test relies on a left name to stay.

use crate::util::{self, Child, Mark, alone, fork, name_exists, program, role, shm_path, unique};
use crossproc::{Array, SegmentError, Value};
use std::os::fd::AsRawFd;
use std::path::PathBuf;

/// A fresh program makes its first call.
fn sweep_by(call: &str) {
    program(role_calls, call, None).join();
}

#[test]
fn role_calls() {
    let Some(call) = role() else { return };
    let name = &unique("sweeper");
    match call.as_str() {
        "create" => drop(Value::named(name).create(1).unwrap()),
        "array" => drop(Array::<u8>::named(name).create_zeroed(100_000).unwrap()),
        "open_or_create" => drop(Value::named(name).open_or_create(1).unwrap()),
        _ => assert_eq!(Value::<i32>::named(name).open().unwrap_err(), SegmentError::NotFound),
    }
}

#[test]
fn what_all_processes_left_when_they_were_killed_goes_with_the_next_call() {
    alone(60, || {
        for call in ["create", "open", "open_or_create", "array"] {
            let names: Vec<String> = (0..4).map(|i| unique(&format!("left{i}"))).collect();
            let persistent = &unique("persistent");
            let there = Mark::new();
            // Four processes share four objects, one of them locked, and die at once.
            let mut family: Vec<Child> = (0..4)
                .map(|me| {
                    fork(|| {
                        let own = Array::named(&names[me]).create(&[me; 500]).unwrap();
                        let _kept = (me == 0).then(|| Value::named(persistent).persist().create(5).unwrap());
                        there.meet(4);
                        let _others: Vec<_> = names.iter().map(|name| Array::<usize>::named(name).open()).collect();
                        let _guard = (me == 1).then(|| own.lock().unwrap());
                        there.meet(8);
                        util::until_killed();
                    })
                })
                .collect();
            let held = Value::named(&unique("held")).create(7).unwrap();
            there.reaches(8);
            assert!(names.iter().all(|name| name_exists(name)));
            family.iter_mut().for_each(Child::shoot);
            assert!(family.iter_mut().all(|child| child.wait() == -libc::SIGKILL));
            sweep_by(call);
            assert!(!names.iter().any(|name| name_exists(name)), "left after {call}");
            assert_eq!((name_exists(persistent), held.get()), (true, 7));
            assert_eq!(Value::<i32>::named(persistent).open().unwrap().get(), 5);
            Value::<i32>::named(persistent).remove().unwrap();
        }
    });
}

#[test]
fn as_long_as_one_lives_nothing_is_swept() {
    alone(60, || {
        let name = &unique("survivor");
        let there = Mark::new();
        let users = || {
            let value = Value::named(name).open_or_create([3; 20]).unwrap();
            there.hit();
            there.reaches(10);
            assert!(name_exists(name));
            drop(value);
        };
        let mut victims: Vec<Child> = (0..3).map(|_| fork(users)).collect();
        there.reaches(3);
        let survivor = fork(users);
        there.reaches(4);
        for (killed, victim) in victims.iter_mut().enumerate() {
            victim.kill();
            sweep_by(["create", "open", "array"][killed]);
            assert!(name_exists(name), "{killed}");
            assert_eq!(Value::<[i32; 20]>::named(name).open().unwrap().get(), [3; 20]);
        }
        there.set(10);
        survivor.join();
        assert!(!name_exists(name));
    });
}

#[test]
fn what_a_killed_process_left_is_not_found_and_its_name_is_free() {
    alone(60, || {
        let leave = |name: &str| {
            let there = Mark::new();
            let mut victim = fork(|| {
                let _value = Value::named(name).create(1).unwrap();
                there.set(1);
                util::until_killed();
            });
            there.reaches(1);
            victim.kill();
        };
        let name = &unique("left");
        for _ in 0..20 {
            leave(name);
            assert_eq!(Value::<i32>::named(name).open().unwrap_err(), SegmentError::NotFound);
            leave(name);
            drop(Value::named(name).create("another type".len()).unwrap());
            leave(name);
            assert_eq!(Value::named(name).open_or_create(2).unwrap().get(), 2);
            leave(name);
            // Somebody else's sweep may have been faster.
            assert!(matches!(Value::<i32>::named(name).remove(), Ok(()) | Err(SegmentError::NotFound)));
            assert!(!name_exists(name));
        }
        for _ in 0..20 {
            leave(name);
            let (start, made, done) = (Mark::new(), Mark::new(), Mark::new());
            let race = || {
                start.meet(8);
                let result = Value::named(name).create(2);
                match &result {
                    Ok(_) => drop(made.hit()),
                    Err(error) => assert_eq!(*error, SegmentError::AlreadyExists),
                }
                done.meet(8);
                assert_eq!((made.get(), Value::<i32>::named(name).open().unwrap().get()), (1, 2));
                done.meet(16);
                drop(result);
            };
            let children: Vec<Child> = (0..8).map(|_| fork(race)).collect();
            children.into_iter().for_each(Child::join);
            assert!(!name_exists(name));
        }
    });
}

#[test]
fn files_that_are_not_ours_are_never_deleted() {
    alone(60, || {
        let mut random = [0_u8; 5000];
        // SAFETY: fills the buffer.
        assert_eq!(unsafe { libc::getrandom(random.as_mut_ptr().cast(), random.len(), 0) }, random.len() as isize);
        random[0] = 0; // no magic
        let zeros = [0_u8; 4096];
        let contents: [&[u8]; 7] = [b"", b"x", b"crosproc", b"crosproc and no more", &zeros, &random, b"#!/bin/sh\n"];
        let foreign: Vec<String> = contents.iter().map(|_| unique("foreign")).collect();
        for (name, content) in foreign.iter().zip(contents) {
            std::fs::write(shm_path(name), content).unwrap();
        }
        let [link, dangling, folder, fifo, sparse] = ["link", "dangling", "folder", "fifo", "sparse"].map(unique);
        let target = PathBuf::from(format!("/dev/shm/{}", unique("target")));
        std::fs::write(&target, b"precious").unwrap();
        std::os::unix::fs::symlink(&target, shm_path(&link)).unwrap();
        std::os::unix::fs::symlink("/nowhere", shm_path(&dangling)).unwrap();
        std::fs::create_dir(shm_path(&folder)).unwrap();
        let path = std::ffi::CString::new(shm_path(&fifo).to_str().unwrap()).unwrap();
        // SAFETY: a path that ends with a NUL.
        assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
        std::fs::File::create(shm_path(&sparse)).unwrap().set_len(1 << 30).unwrap();

        for call in ["create", "open", "open_or_create", "array"] {
            sweep_by(call);
        }
        for (name, content) in foreign.iter().zip(contents) {
            assert_eq!(std::fs::read(shm_path(name)).unwrap(), content);
            assert_eq!(Value::<i32>::named(name).open().unwrap_err(), SegmentError::NotASegment);
            assert_eq!(Value::named(name).create(1).unwrap_err(), SegmentError::AlreadyExists);
            assert_eq!(std::fs::read(shm_path(name)).unwrap(), content);
        }
        assert_eq!(std::fs::read(&target).unwrap(), b"precious");
        assert!([&link, &dangling, &folder, &fifo, &sparse].into_iter().all(|name| name_exists(name)));

        foreign
            .iter()
            .chain([&link, &dangling, &fifo, &sparse])
            .for_each(|n| std::fs::remove_file(shm_path(n)).unwrap());
        std::fs::remove_dir(shm_path(&folder)).unwrap();
        std::fs::remove_file(target).unwrap();
    });
}

/// Somebody else's `flock` counts as use: a program of another version may hold its file in this way.
#[test]
fn a_file_that_somebody_holds_is_not_swept() {
    alone(60, || {
        let name = &unique("held-by-hand");
        let there = Mark::new();
        let mut victim = fork(|| {
            let _value = Value::named(name).create(9).unwrap();
            there.set(1);
            util::until_killed();
        });
        there.reaches(1);
        let by_hand = std::fs::File::open(shm_path(name)).unwrap();
        // SAFETY: a descriptor of ours.
        assert_eq!(unsafe { libc::flock(by_hand.as_raw_fd(), libc::LOCK_SH) }, 0);
        victim.kill();
        sweep_by("create");
        assert_eq!(Value::<i32>::named(name).open().unwrap().get(), 9);
        drop(by_hand);
        sweep_by("open");
        assert!(!name_exists(name));
    });
}

/// All that a creator, a user, or one who drops may be doing when it is killed.
#[test]
fn random_kills_leave_no_half_made_name_and_nothing_after_a_sweep() {
    alone(60, || {
        let mut whole = 0;
        let mut random = 88_172_645_463_325_252_u64;
        for round in 0..100 {
            let prefix = unique("killed");
            let progress = Mark::new();
            let mut victim = fork(|| {
                for i in 0_u64.. {
                    let name = format!("{prefix}.{}", i % 3);
                    progress.hit();
                    let array = Array::named(&name).create(&[0x5a5a_0000_u32 + i as u32; 3000]).unwrap();
                    progress.hit();
                    if let Some(same) = Array::<u32>::named(&name).open().ok().filter(|_| i % 2 == 0) {
                        same.fill(0x5a5a_ffff).unwrap();
                    }
                    progress.hit();
                    drop(array);
                }
            });
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            progress.reaches(1 + random % 9);
            for _ in 0..random >> 40 & 0x3ff {
                std::hint::spin_loop();
            }
            victim.kill();
            for name in (0..3).map(|i| format!("{prefix}.{i}")) {
                // Each file is whole, whether it counts or not: it has the size that its header states, and no hole.
                let Ok(bytes) = std::fs::read(shm_path(&name)) else { continue };
                whole += 1;
                assert_eq!(&bytes[..8], b"crosproc", "round {round}");
                assert_eq!(u64::from_ne_bytes(bytes[24..32].try_into().unwrap()), bytes.len() as u64);
                let words: Vec<u32> = words_of(&bytes);
                let items = words.iter().filter(|word| **word >> 16 == 0x5a5a).count();
                assert!((3000..3010).contains(&items), "round {round}: {items} items of 3000");
                assert_eq!(Array::<u32>::named(&name).open().unwrap_err(), SegmentError::NotFound);
            }
            if round % 10 == 9 {
                sweep_by("open");
                assert_eq!(util::names_left(), Vec::<String>::new());
            }
        }
        assert!(whole > 0, "no kill hit while a name was there");
    });
}

fn words_of(bytes: &[u8]) -> Vec<u32> {
    bytes.chunks_exact(4).map(|word| u32::from_ne_bytes(word.try_into().unwrap())).collect()
}
