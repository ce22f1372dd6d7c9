//! Objects inside memory of the `shared_memory` crate, which the program makes, sizes and names itself.
#![cfg(feature = "shared_memory")]

use crate::util::{self, Child, Mark, alone, fork, program, role, role_stream};
use crossproc::{Array, Atomic, Lock, LockError, RawArray, SegmentError, TransferError, Value, Within, transfer};
use shared_memory::{Shmem, ShmemConf};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::Ordering::SeqCst;

fn memory(size: usize) -> Shmem {
    ShmemConf::new().size(size).create().unwrap()
}

fn attach(os_id: &str) -> Within {
    Within::new(ShmemConf::new().os_id(os_id).open().unwrap())
}

/// The file that the other crate made.
fn file(os_id: &str) -> PathBuf {
    PathBuf::from(format!("/dev/shm/{}", os_id.trim_start_matches('/')))
}

#[test]
fn several_objects_at_offsets_are_shared_with_another_program_both_ways() {
    alone(60, || {
        let within = Within::new(memory(1 << 20));
        let os_id = within.shmem().get_os_id().to_owned();
        let value = Value::within(&within, 0).create([1_u64, 2]).unwrap();
        let array = Array::within(&within, 4096).create(&[1.5_f32; 100]).unwrap();
        let atomic = Atomic::within(&within, 64 << 10).create(5_u32).unwrap();
        program(role_neighbour, &os_id, None).join();
        assert_eq!((value.get(), array.get(99), atomic.load(SeqCst)), ([1, 20], Ok(2.5), 6));
        // The objects of the other program stay after its end.
        let theirs = RawArray::<u16>::within(&within, 128 << 10).open().unwrap();
        assert_eq!((theirs.len(), theirs.get(999), theirs.get(0)), (1000, Some(9), Some(8)));
        let lock = Lock::within(&within, 256 << 10).open().unwrap();
        assert!(lock.try_lock().is_ok());
        assert_eq!(Value::within(&within, 512 << 10).open_or_create(-1).unwrap().get(), -2);
    });
}

#[test]
fn role_neighbour() {
    let Some(os_id) = role() else { return };
    let within = attach(&os_id);
    let value = Value::<[u64; 2]>::within(&within, 0).open().unwrap();
    let array = Array::<f32>::within(&within, 4096).open().unwrap();
    assert_eq!((value.get(), array.len(), array.get(0)), ([1, 2], 100, Ok(1.5)));
    value.lock().unwrap()[1] = 20;
    array.set(99, 2.5).unwrap();
    Atomic::<u32>::within(&within, 64 << 10).open().unwrap().fetch_add(1, SeqCst);
    let own = RawArray::within(&within, 128 << 10).create(&[8_u16; 1000]).unwrap();
    own.set(999, 9);
    drop(Lock::within(&within, 256 << 10).create().unwrap());
    drop(Value::within(&within, 512 << 10).open_or_create(-2).unwrap());
}

#[test]
fn what_does_not_fit_or_is_something_else_is_a_typed_error() {
    use SegmentError::{AlreadyExists, Invalid, NoSpace, NotASegment, NotFound, TooLarge, WrongSize, WrongType};
    alone(60, || {
        let shmem = memory(8192);
        let size = shmem.len();
        let within = Within::new(shmem);
        let value = Value::within(&within, 64).create(7_u32).unwrap();
        assert_eq!(Value::within(&within, 64).create(8_u32).unwrap_err(), AlreadyExists);
        assert_eq!(Value::<f32>::within(&within, 64).open().unwrap_err(), WrongType);
        assert_eq!(Value::<u64>::within(&within, 64).open().unwrap_err(), WrongSize);
        assert_eq!(Array::<u32>::within(&within, 64).open().unwrap_err(), WrongType);
        assert_eq!(Value::within(&within, 64).open_or_create(1.0_f32).unwrap_err(), WrongType);
        assert_eq!(Value::<u32>::within(&within, 64).tag("other").open().unwrap_err(), WrongType);
        assert_eq!(Value::<u32>::within(&within, 4096).open().unwrap_err(), NotFound, "nothing there");
        for offset in [1, 8, 32, 63, 65, 8191] {
            assert!(matches!(Value::within(&within, offset).create(1).unwrap_err(), Invalid(_)), "{offset}");
            assert!(matches!(Value::<i32>::within(&within, offset).open().unwrap_err(), Invalid(_)), "{offset}");
        }
        for offset in [size - 64, size, size + 64, usize::MAX - 63] {
            assert_eq!(Value::within(&within, offset).create(1).unwrap_err(), NoSpace, "{offset}");
            let refused = Value::<i32>::within(&within, offset).open().unwrap_err();
            assert!(matches!(refused, NoSpace | NotFound), "{offset}: {refused:?}");
        }
        assert_eq!(Array::<u8>::within(&within, 4096).create_zeroed(size).unwrap_err(), NoSpace);
        assert_eq!(RawArray::<u8>::within(&within, 4096).create_zeroed(size - 4096).unwrap_err(), NoSpace);
        assert_eq!(Array::<u64>::within(&within, 4096).create_zeroed(usize::MAX).unwrap_err(), TooLarge);
        assert!(matches!(Value::<u32>::within(&within, 64).remove().unwrap_err(), Invalid(_)));
        assert_eq!(Value::<u32>::within(&within, 4096).open().unwrap_err(), NotFound, "a refusal leaves nothing");

        // SAFETY: inside the mapping, where nothing is.
        unsafe { within.shmem().as_ptr().add(4096).write_bytes(0xa5, 512) };
        assert_eq!(Value::<u32>::within(&within, 4096).open().unwrap_err(), NotASegment);
        assert_eq!(Value::within(&within, 4096).create(1).unwrap_err(), AlreadyExists);
        // A copy of a good object that reaches beyond the end.
        // SAFETY: both inside the mapping.
        unsafe {
            let start = within.shmem().as_ptr();
            start.add(size - 320).copy_from(start.add(64), 320);
        }
        assert_eq!(Value::<u32>::within(&within, size - 320).open().unwrap_err(), NotASegment);
        assert_eq!(value.get(), 7);
    });
}

/// Each header byte of an object in memory that any program of the user may write.
#[test]
fn damage_is_an_error_or_does_no_harm() {
    alone(60, || {
        let within = Within::new(memory(1 << 16));
        drop(Array::within(&within, 0).create(&[3_u16; 50]).unwrap());
        let start = within.shmem().as_ptr();
        for at in 0..136 {
            for wrong in [0, 1, 0x80, 0xff] {
                // SAFETY: inside the mapping; nobody else has it.
                let right = unsafe { start.add(at).read() };
                // SAFETY: as above.
                unsafe { start.add(at).write(wrong) };
                if let Ok(array) = Array::<u16>::within(&within, 0).open() {
                    assert!(array.try_lock().is_ok_and(|guard| guard.iter().all(|item| matches!(item, 0 | 3))));
                }
                // SAFETY: as above.
                unsafe { start.add(at).write(right) };
            }
        }
        assert_eq!(Array::<u16>::within(&within, 0).open().unwrap().to_vec().unwrap(), [3; 50]);
    });
}

#[test]
fn the_memory_goes_only_after_the_last_handle() {
    alone(60, || {
        let within = Within::new(memory(16384));
        let os_id = within.shmem().get_os_id().to_owned();
        let value = Value::within(&within, 0).create(1).unwrap();
        let clone = value.clone();
        let array = Array::within(&within, 4096).create(&[7_u8; 10]).unwrap();
        let other = within.clone();
        drop((within, other));
        assert!(file(&os_id).exists());
        let guard = value.lock().unwrap();
        drop(array);
        drop(clone);
        drop(guard);
        *value.lock().unwrap() += 1;
        assert_eq!((value.get(), file(&os_id).exists()), (2, true));
        let from_thread = std::thread::spawn(move || value.get()).join().unwrap();
        assert_eq!((from_thread, file(&os_id).exists()), (2, false), "the thread dropped the last handle");
    });
}

#[test]
fn a_handle_travels_to_a_program_that_has_not_seen_the_memory() {
    alone(60, || {
        let within = Within::new(memory(1 << 16));
        let os_id = within.shmem().get_os_id().to_owned();
        let value = Value::within(&within, 1024).create(40_i64).unwrap();
        let array = Array::within(&within, 32768).create(&[1_u32, 2, 3]).unwrap();
        let (here, there) = UnixStream::pair().unwrap();
        let other = program(role_receives, "", Some(&there));
        transfer::send(&here, &(&value, &array)).unwrap();
        assert_eq!(transfer::recv::<u8>(&here).unwrap(), 1);
        assert_eq!((value.get(), array.to_vec().unwrap()), (41, vec![1, 2, 33]));
        // And back, and to itself: the same memory.
        let (back, list): (Value<i64>, Array<u32>) = transfer::recv(&here).unwrap();
        back.set(50).unwrap();
        list.set(0, 9).unwrap();
        assert_eq!((value.get(), array.get(0)), (50, Ok(9)));
        // The objects of the receiver still work after the memory has lost its owner, and with it its name.
        drop((within, value, array, back, list));
        assert!(!file(&os_id).exists());
        transfer::send(&here, &2_u8).unwrap();
        assert_eq!(transfer::recv::<i64>(&here).unwrap(), 51);
        other.join();

        // On its way it is only an address: when the memory is gone before it arrives, that is an error.
        let value = Value::within(&Within::new(memory(8192)), 0).create(1).unwrap();
        let (here, there) = UnixStream::pair().unwrap();
        transfer::send(&here, &value).unwrap();
        drop(value);
        assert!(matches!(transfer::recv::<Value<i32>>(&there), Err(TransferError::Decode(_))));
    });
}

#[test]
fn role_receives() {
    if role().is_none() {
        return;
    }
    let stream = role_stream();
    let (value, array): (Value<i64>, Array<u32>) = transfer::recv(&stream).unwrap();
    *value.lock().unwrap() += 1;
    array.lock().unwrap()[2] = 33;
    transfer::send(&stream, &1_u8).unwrap();
    transfer::send(&stream, &(&value, &array)).unwrap();
    assert_eq!(transfer::recv::<u8>(&stream).unwrap(), 2);
    *value.lock().unwrap() += 1;
    transfer::send(&stream, &value.get()).unwrap();
}

#[test]
fn a_holder_that_is_killed_frees_its_locks() {
    alone(60, || {
        let within = Within::new(memory(16384));
        let value = Value::within(&within, 0).create(1).unwrap();
        let array = Array::within(&within, 4096).create(&[5_u8; 10]).unwrap();
        let there = Mark::new();
        let mut victim = fork(|| {
            let own = attach(within.shmem().get_os_id());
            let (value, array) =
                (Value::<i32>::within(&own, 0).open().unwrap(), Array::<u8>::within(&own, 4096).open().unwrap());
            let (mut one, mut all) = (value.lock().unwrap(), array.lock().unwrap());
            (*one, all[0]) = (2, 6);
            there.set(1);
            util::until_killed();
        });
        there.reaches(1);
        assert_eq!((value.holder(), value.get()), (Some(victim.pid), 1));
        victim.kill();
        assert_eq!(value.lock().unwrap().recovered_from(), Some(victim.pid));
        assert_eq!(array.lock().unwrap_err(), LockError::OwnerDied { pid: victim.pid });
        drop(array.lock_or_repair(|items| items.fill(1)).unwrap());
        assert_eq!((value.get(), array.to_vec().unwrap()), (1, vec![1; 10]));
    });
}

#[test]
fn of_8_that_create_at_one_offset_one_succeeds() {
    alone(60, || {
        let within = Within::new(memory(1 << 20));
        for round in 0..50 {
            let offset = round * 1024;
            let [start, made, done] = [(); 3].map(|()| Mark::new());
            let race = || {
                start.meet(8);
                match Value::within(&within, offset).create(round) {
                    Ok(_) => drop(made.hit()),
                    Err(error) => assert_eq!(error, SegmentError::AlreadyExists),
                }
                done.meet(8);
                assert_eq!((made.get(), Value::<usize>::within(&within, offset).open().unwrap().get()), (1, round));
            };
            let children: Vec<Child> = (0..8).map(|_| fork(race)).collect();
            children.into_iter().for_each(Child::join);
        }
    });
}
