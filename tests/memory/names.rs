//! Named objects: which names are valid, what is found under them, and who is refused.
//!
//! Each test runs in a process of its own, because a child that another test forks inherits its handles and keeps its
//! names.

use crate::util::{
    self, NOT_RUN, alone, become_nobody, could_not_run, fork, is_root, name_exists, program, role, shm_path, unique,
};
use crossproc::{Array, Atomic, Lock, RawArray, RawValue, SegmentError, Value};
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::Ordering::SeqCst;

fn mode_of(name: &str) -> u32 {
    shm_path(name).metadata().unwrap().permissions().mode() & 0o7777
}

#[test]
fn another_program_sees_the_same_bytes_both_ways() {
    alone(60, || {
        let name = unique("both-ways");
        let value = Value::named(&format!("{name}.v")).create([1_u64, u64::MAX, 3]).unwrap();
        let array = Array::named(&format!("{name}.a")).create(&[0.5_f32, -0.0, f32::MAX]).unwrap();
        let atomic = Atomic::named(&format!("{name}.n")).create(41_i64).unwrap();
        let raw = RawArray::<u16>::named(&format!("{name}.r")).create(&[7; 5000]).unwrap();
        program(role_other_side, &name, None).join();
        assert_eq!(value.get(), [4, u64::MAX, 3]);
        assert_eq!(array.to_vec().unwrap(), [0.5, 9.0, f32::MAX]);
        assert_eq!((atomic.load(SeqCst), raw.get(4999), raw.get(0)), (42, Some(8), Some(7)));
        assert_eq!(mode_of(&format!("{name}.v")), 0o600);
    });
}

#[test]
fn role_other_side() {
    let Some(name) = role() else { return };
    let value = Value::<[u64; 3]>::named(&format!("{name}.v")).open().unwrap();
    let array = Array::<f32>::named(&format!("{name}.a")).open().unwrap();
    let atomic = Atomic::<i64>::named(&format!("{name}.n")).open().unwrap();
    let raw = RawArray::<u16>::named(&format!("{name}.r")).open().unwrap();
    assert_eq!((value.get(), array.len(), raw.len()), ([1, u64::MAX, 3], 3, 5000));
    assert_eq!(array.to_vec().unwrap().iter().map(|x| x.to_bits()).collect::<Vec<_>>()[1], (-0.0_f32).to_bits());
    value.lock().unwrap()[0] = 4;
    array.set(1, 9.0).unwrap();
    atomic.fetch_add(1, SeqCst);
    raw.set(4999, 8);
}

#[test]
fn what_is_asked_for_must_be_what_is_there() {
    alone(60, || {
        let name = &unique("types");
        let value = Value::named(name).create(7_u32).unwrap();
        let refused = |result: Result<(), SegmentError>| result.unwrap_err();
        assert_eq!(refused(Value::<f32>::named(name).open().map(drop)), SegmentError::WrongType);
        assert_eq!(refused(Value::<i32>::named(name).open().map(drop)), SegmentError::WrongType);
        assert_eq!(refused(Value::<[u32; 1]>::named(name).open().map(drop)), SegmentError::WrongType);
        assert_eq!(refused(Value::<u64>::named(name).open().map(drop)), SegmentError::WrongSize);
        assert_eq!(refused(Value::<[u8; 4]>::named(name).open().map(drop)), SegmentError::WrongSize, "alignment");
        assert_eq!(refused(Value::<[u32; 2]>::named(name).open().map(drop)), SegmentError::WrongSize);
        assert_eq!(refused(Array::<u32>::named(name).open().map(drop)), SegmentError::WrongType);
        assert_eq!(refused(RawValue::<u32>::named(name).open().map(drop)), SegmentError::WrongType);
        assert_eq!(refused(Atomic::<u32>::named(name).open().map(drop)), SegmentError::WrongType);
        assert_eq!(refused(Lock::named(name).open().map(drop)), SegmentError::WrongType);
        assert_eq!(refused(Value::<f32>::named(name).open_or_create(0.0).map(drop)), SegmentError::WrongType);
        assert_eq!(refused(Array::<u32>::named(name).open_or_create(&[1]).map(drop)), SegmentError::WrongType);
        assert_eq!(refused(Value::named(name).create(8_u32).map(drop)), SegmentError::AlreadyExists);
        assert_eq!(refused(Array::<u8>::named(name).create_zeroed(1).map(drop)), SegmentError::AlreadyExists);
        assert_eq!(Value::<u32>::named(name).open().unwrap().get(), 7);
        drop(value);
        assert!(!name_exists(name), "who was refused holds nothing");
        assert_eq!(refused(Value::<u32>::named(name).open().map(drop)), SegmentError::NotFound);
        assert_eq!(refused(Value::<u32>::named(name).remove()), SegmentError::NotFound);

        let array = Array::named(name).create(&[1_u32, 2]).unwrap();
        assert_eq!(refused(Value::<u32>::named(name).open().map(drop)), SegmentError::WrongType);
        assert_eq!(refused(Array::<f32>::named(name).open().map(drop)), SegmentError::WrongType);
        assert_eq!(refused(RawArray::<u32>::named(name).open().map(drop)), SegmentError::WrongType);
        assert_eq!(array.to_vec().unwrap(), [1, 2]);
    });
}

#[test]
fn a_name_has_1_to_200_bytes_and_is_no_path() {
    alone(60, || {
        let own = unique("");
        let long = |bytes: usize| format!("{own}{}", "x".repeat(bytes - own.len()));
        let wide = format!("{own}{}", "\u{20ac}".repeat((200 - own.len()) / 3));
        let good = [long(200), wide, format!("{own}a b\n\t\"*?"), format!("{own}größe-✓.🦀"), format!("{own}...")];
        for name in &good {
            let value = Value::named(name).create(5_u16).unwrap_or_else(|error| panic!("{name:?}: {error}"));
            assert!(name_exists(name), "{name:?}");
            program(role_reads_5, name, None).join();
            Value::<u16>::named(name).remove().unwrap();
            assert!(!name_exists(name));
            drop(value);
        }
        let wide = format!("{own}{}", "\u{20ac}".repeat((200 - own.len()) / 3 + 1));
        let bad = ["", ".", "..", "a/b", "/", "/a", "a\0b", "\0", "../a", &long(201), &long(4000), &wide];
        for name in bad {
            let wrong = Some(SegmentError::InvalidName);
            assert_eq!(Value::named(name).create(1).err(), wrong, "{name:?}");
            assert_eq!(Value::<i32>::named(name).open().err(), wrong, "{name:?}");
            assert_eq!(Value::named(name).open_or_create(1).err(), wrong, "{name:?}");
            assert_eq!(Value::<i32>::named(name).remove().err(), wrong, "{name:?}");
            assert_eq!(Array::<i32>::named(name).create(&[1]).err(), wrong, "{name:?}");
        }
        // One byte is a name too. It is not unique, so another program may be using it.
        match Value::<u8>::named("~").create(1) {
            Ok(_) | Err(SegmentError::AlreadyExists) => {}
            Err(error) => panic!("{error}"),
        }
    });
}

#[test]
fn role_reads_5() {
    let Some(name) = role() else { return };
    assert_eq!(Value::<u16>::named(&name).open().unwrap().get(), 5);
}

#[test]
fn the_mode_is_0600_or_what_was_asked_for() {
    alone(60, || {
        for umask in [0, 0o077, 0o777] {
            // SAFETY: no pointers; this process is alone.
            unsafe { libc::umask(umask) };
            let [plain, shared, array] = ["plain", "shared", "array"].map(unique);
            let _plain = Value::named(&plain).create(1).unwrap();
            let _shared = Value::named(&shared).mode(0o644).create(1).unwrap();
            let _array = Array::named(&array).mode(0o640).create(&[1]).unwrap();
            assert_eq!((mode_of(&plain), mode_of(&shared), mode_of(&array)), (0o600, 0o644, 0o640));
        }
        let name = &unique("open-to-others");
        for mode in [0o620, 0o602, 0o666] {
            let refused = Array::named(name).mode(mode).create(&[1]).unwrap_err();
            assert_eq!(refused, SegmentError::WrongOwner, "{mode:o}");
            assert!(!name_exists(name));
            let value = Value::named(name).mode(mode).create(3).unwrap();
            assert_eq!((mode_of(name), Value::<i32>::named(name).open().unwrap().get()), (mode, 3));
            drop(value);
        }
        let array = Array::named(name).create(&[1_u8]).unwrap();
        std::fs::set_permissions(shm_path(name), PermissionsExt::from_mode(0o666)).unwrap();
        assert_eq!(Array::<u8>::named(name).open().unwrap_err(), SegmentError::WrongOwner);
        std::fs::set_permissions(shm_path(name), PermissionsExt::from_mode(0o644)).unwrap();
        assert_eq!(Array::<u8>::named(name).open().unwrap().to_vec().unwrap(), [1]);
        drop(array);
        assert!(!name_exists(name));
    });
}

#[test]
fn a_tag_stands_for_the_type() {
    alone(60, || {
        let name = &unique("tag");
        let _kept = Value::named(name).tag("point.v1").create([1.0_f32, 2.0]).unwrap();
        let open = |tag: &str| Value::<[f32; 2]>::named(name).tag(tag).open().map(|value| value.get());
        assert_eq!(open("point.v1"), Ok([1.0, 2.0]));
        assert_eq!(open("point.v2"), Err(SegmentError::WrongType));
        assert_eq!(Value::<[f32; 2]>::named(name).open().unwrap_err(), SegmentError::WrongType);
        // The bytes are the same, and the program says that they mean the same.
        assert_eq!(Value::<[u32; 2]>::named(name).tag("point.v1").open().unwrap().get(), [1.0, 2.0].map(f32::to_bits));
        assert_eq!(Value::<[f32; 3]>::named(name).tag("point.v1").open().unwrap_err(), SegmentError::WrongSize);
        assert_eq!(Array::<f32>::named(name).tag("point.v1").open().unwrap_err(), SegmentError::WrongType);
    });
}

#[test]
fn persist_keeps_the_object_until_it_is_removed() {
    alone(60, || {
        let name = &unique("persist");
        drop(Value::named(name).persist().create(5_u16).unwrap());
        assert!(name_exists(name));
        program(role_reads_5, name, None).join();
        assert_eq!(Value::named(name).create(1_u16).unwrap_err(), SegmentError::AlreadyExists);
        assert_eq!(Value::named(name).open_or_create(1_u16).unwrap().get(), 5);
        let value = Value::<u16>::named(name).open().unwrap();
        Value::<u16>::named(name).remove().unwrap();
        assert!(!name_exists(name) && value.get() == 5);
        drop(value);
        assert_eq!(Value::<u16>::named(name).open().unwrap_err(), SegmentError::NotFound);
    });
}

#[test]
fn after_remove_the_name_is_free_and_its_users_go_on() {
    alone(60, || {
        let name = &unique("remove");
        let old = Value::named(name).create(1).unwrap();
        let same = Value::<i32>::named(name).open().unwrap();
        Value::<i32>::named(name).remove().unwrap();
        assert_eq!(Value::<i32>::named(name).open().unwrap_err(), SegmentError::NotFound);
        let new = Value::named(name).create(100).unwrap();
        *old.lock().unwrap() += 1;
        fork(|| *same.lock().unwrap() += 1).join();
        assert_eq!((same.get(), new.get()), (3, 100));
        drop((old, same));
        assert_eq!(
            Value::<i32>::named(name).open().unwrap().get(),
            100,
            "the last user of the old one left the new one"
        );
        // Any type will do to remove, as a file of any content is removed.
        Array::<f64>::named(name).remove().unwrap();
        assert!(!name_exists(name));
    });
}

#[test]
fn another_user_is_refused_and_refuses() {
    if !is_root() {
        return could_not_run("objects of another owner", "only root can become another user");
    }
    alone(60, || {
        let [closed, open, theirs] = ["closed", "open", "theirs"].map(unique);
        let kept = (Value::named(&closed).create(1).unwrap(), Value::named(&open).mode(0o666).create(2).unwrap());
        fork(|| {
            become_nobody();
            for name in [&closed, &open] {
                assert_eq!(Value::<i32>::named(name).open().unwrap_err(), SegmentError::WrongOwner);
                assert_eq!(Value::named(name).open_or_create(1).unwrap_err(), SegmentError::WrongOwner);
                assert_eq!(Value::named(name).create(1).unwrap_err(), SegmentError::AlreadyExists);
                assert_eq!(Value::<i32>::named(name).remove().unwrap_err(), SegmentError::WrongOwner);
            }
            let own = Value::named(&theirs).create(3).unwrap();
            assert_eq!(Value::<i32>::named(&theirs).open().unwrap().get(), 3);
            drop(own);
            assert!(!name_exists(&theirs));
        })
        .join();
        assert_eq!((kept.0.get(), kept.1.get()), (1, 2));
        drop(kept);
        assert!(!name_exists(&closed) && !name_exists(&open));

        let value = Value::named(&theirs).mode(0o666).create(3).unwrap();
        std::os::unix::fs::chown(shm_path(&theirs), Some(util::NOBODY), None).unwrap();
        assert_eq!(Value::<i32>::named(&theirs).open().unwrap_err(), SegmentError::WrongOwner);
        assert_eq!(Value::<i32>::named(&theirs).remove().unwrap_err(), SegmentError::WrongOwner);
        assert_eq!(Value::named(&theirs).create(3).unwrap_err(), SegmentError::AlreadyExists);
        drop(value);
        let _ = std::fs::remove_file(shm_path(&theirs));
    });
}

#[test]
fn another_pid_namespace_is_refused_both_ways() {
    if !is_root() {
        return could_not_run("objects of another PID namespace", "only root can make one");
    }
    let mut refused = fork(|| {
        let [ours, theirs] = ["ours", "theirs"].map(unique);
        let kept = Value::named(&ours).create(1).unwrap();
        let made = util::Mark::new();
        if !util::unshare(libc::CLONE_NEWPID) {
            util::exit(NOT_RUN);
        }
        // SAFETY: this process has one thread.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let done = std::panic::catch_unwind(|| {
                let wrong = SegmentError::WrongNamespace;
                assert_eq!(std::process::id(), 1);
                assert_eq!(Value::<i32>::named(&ours).open().unwrap_err(), wrong);
                assert_eq!(Value::named(&ours).open_or_create(1).unwrap_err(), wrong);
                assert_eq!(Value::named(&ours).create(1).unwrap_err(), SegmentError::AlreadyExists);
                let own = Value::named(&theirs).create(2).unwrap();
                assert_eq!(Value::<i32>::named(&theirs).open().unwrap().get(), 2);
                made.set(1);
                made.reaches(2);
                drop(own);
            });
            util::exit(i32::from(done.is_err()));
        }
        let look = std::panic::catch_unwind(|| {
            made.reaches(1);
            assert_eq!(Value::<i32>::named(&theirs).open().unwrap_err(), SegmentError::WrongNamespace);
        });
        made.set(2);
        let mut status = 0;
        // SAFETY: a child of ours, which ends by itself.
        unsafe { libc::waitpid(child, &mut status, 0) };
        assert_eq!((status, look.is_ok(), kept.get()), (0, true, 1));
        drop(kept);
        assert!(!name_exists(&ours) && !name_exists(&theirs));
    });
    match refused.wait() {
        NOT_RUN => could_not_run("objects of another PID namespace", "unshare is refused"),
        code => assert_eq!(code, 0),
    }
}

#[test]
fn of_8_that_open_or_create_all_get_one_object() {
    alone(60, || {
        for round in 0..25 {
            let name = &unique("race");
            let (start, done) = (util::Mark::new(), util::Mark::new());
            let race = || {
                start.meet(8);
                let value = Value::named(name).open_or_create(round).unwrap();
                *value.lock().unwrap() += 1;
                done.meet(8);
                assert_eq!(value.get(), round + 8);
                done.meet(16);
            };
            let children: Vec<_> = (0..8).map(|_| fork(race)).collect();
            children.into_iter().for_each(util::Child::join);
            // A child that ends in this way drops nothing: what it left is as good as free.
            assert_eq!(Value::<i32>::named(name).open().unwrap_err(), SegmentError::NotFound);
        }
    });
}

#[test]
fn of_8_that_create_one_succeeds() {
    alone(60, || {
        for _ in 0..25 {
            let name = &unique("race");
            let [start, made, done] = [(); 3].map(|()| util::Mark::new());
            let race = || {
                start.meet(8);
                let result = Value::named(name).create(std::process::id());
                match &result {
                    Ok(_) => drop(made.hit()),
                    Err(error) => assert_eq!(*error, SegmentError::AlreadyExists),
                }
                done.meet(8);
                assert_eq!(made.get(), 1);
                done.meet(16);
                drop(result);
            };
            let children: Vec<_> = (0..8).map(|_| fork(race)).collect();
            children.into_iter().for_each(util::Child::join);
            assert!(!name_exists(name));
        }
    });
}
