//! A process without free file descriptors gets an error of the system, and works again as soon as it has some. This
//! holds as well if they run out before its first call, and other processes see no difference.

use crate::util::{self, Mark, Program, alone, fork, name_exists, program, role, role_stream, unique};
use crossproc::{Array, Os, SegmentError, TransferError, Value, transfer};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

const FULL: SegmentError = SegmentError::Os(Os(libc::EMFILE));

/// All descriptors of this process are taken but a few, as long as this lives.
struct Shortage {
    taken: Vec<OwnedFd>,
}

impl Shortage {
    fn but(free: usize) -> Self {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: one valid rlimit, in and out.
        unsafe {
            assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit), 0);
            limit.rlim_cur = limit.rlim_max.min(200);
            assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &limit), 0);
        }
        let null = std::fs::File::open("/dev/null").unwrap();
        let mut taken: Vec<OwnedFd> = std::iter::from_fn(|| null.try_clone().ok().map(OwnedFd::from)).collect();
        taken.push(null.into());
        assert!(taken.len() > free);
        taken.truncate(taken.len() - free);
        Shortage { taken }
    }

    fn end(self) {
        drop(self.taken);
    }
}

/// Returns the object, or `None` if the error is that of the shortage.
fn made<T>(result: Result<T, SegmentError>) -> Option<T> {
    match result {
        Ok(object) => Some(object),
        Err(error) => {
            assert_eq!(error, FULL);
            None
        }
    }
}

#[test]
fn without_descriptors_each_call_is_an_error_and_all_is_well_afterwards() {
    alone(60, || {
        let (old, locked) = (Value::new(1).unwrap(), Array::from_slice(&[1; 50]).unwrap());
        let names = ["there", "new"].map(unique);
        let there = Value::named(&names[0]).create(5).unwrap();
        let before = util::Counts::now();
        for round in 0..3 {
            let shortage = Shortage::but(0);
            assert_eq!(Array::<u8>::zeroed(1 << 20).unwrap_err(), FULL);
            assert_eq!(Value::named(&names[1]).create(1).unwrap_err(), FULL);
            assert_eq!(Value::named(&names[1]).open_or_create(1).unwrap_err(), FULL);
            assert_eq!(Value::<i32>::named(&names[0]).open().unwrap_err(), FULL);
            assert_eq!(Value::<i32>::named(&names[0]).remove().unwrap_err(), FULL);
            assert_eq!(Value::named(&names[0]).create(1).unwrap_err(), FULL);
            // Existing objects work without any.
            *old.lock().unwrap() += 1;
            assert_eq!((old.get(), there.get(), locked.get(49)), (2 + round, 5, Ok(1)));
            let many: Vec<_> = (0..100_000).map_while(|i| made(Value::new([i; 40]))).collect();
            assert!(many.iter().enumerate().all(|(i, value)| value.get() == [i; 40]));
            drop((old.clone(), there.clone(), locked.parts(5).unwrap()));
            shortage.end();
            drop(many);
            let array = Array::<u8>::zeroed(1 << 20).unwrap();
            let named = Value::named(&names[1]).create(1).unwrap();
            assert_eq!(Value::<i32>::named(&names[0]).open().unwrap().get(), 5);
            drop((array, named));
            assert!(!name_exists(&names[1]));
        }
        assert_eq!(util::Counts::now().fds, before.fds);
        drop(there);
        assert!(!name_exists(&names[0]));
    });
}

#[test]
fn the_last_handle_takes_the_name_with_it_also_without_descriptors() {
    alone(60, || {
        let name = &unique("last");
        let value = Value::named(name).create(1).unwrap();
        let shortage = Shortage::but(0);
        drop(value);
        assert!(!name_exists(name));
        shortage.end();
    });
}

#[test]
fn a_handle_that_finds_no_descriptor_is_an_error_and_the_next_arrives() {
    alone(60, || {
        for free in 0..8 {
            let name = &unique("arrives");
            let (here, there) = UnixStream::pair().unwrap();
            let sender = fork(|| {
                for message in 0..2 {
                    let value = Array::from_slice(&[message; 100_000]).unwrap();
                    let named = Value::named(&format!("{name}{message}")).create(message).unwrap();
                    transfer::send(&here, &(value, named)).unwrap();
                    let _: u8 = transfer::recv(&here).unwrap();
                }
            });
            let shortage = Shortage::but(free);
            match transfer::recv::<(Array<i32>, Value<i32>)>(&there) {
                Ok((array, value)) => assert_eq!((array.get(99_999), value.get()), (Ok(0), 0)),
                Err(TransferError::Os(Os(libc::EMFILE)) | TransferError::Decode(_)) => assert!(free < 7, "{free} free"),
                Err(error) => panic!("{free} free: {error:?}"),
            }
            shortage.end();
            drop(here);
            // After an error the stream may hold half a message: it is closed. Another one is as good as new.
            let (again, other) = UnixStream::pair().unwrap();
            let value = Value::new(3).unwrap();
            transfer::send(&again, &value).unwrap();
            assert_eq!(transfer::recv::<Value<i32>>(&other).unwrap().get(), 3);
            drop(there);
            let mut sender = sender;
            sender.kill();
        }
        program(role_sweeps, "", None).join();
    });
}

#[test]
fn role_sweeps() {
    if role().is_some() {
        assert_eq!(Value::<i32>::named(&unique("sweeper")).open().unwrap_err(), SegmentError::NotFound);
    }
}

/// The facts that a process collects at its first call must not depend on the number of free descriptors.
#[test]
fn a_shortage_at_the_first_call_leaves_no_trace() {
    alone(60, || {
        for free in 0..7 {
            let name = &unique("first");
            let (here, there) = UnixStream::pair().unwrap();
            let mut other: Program = program(role_begins_short, &format!("{free} {name}"), Some(&there));
            drop(there);
            let (anonymous, kept): (Value<u64>, Value<u64>) =
                transfer::recv(&here).unwrap_or_else(|e| panic!("{free} free: {e:?}"));
            let named = Value::<u64>::named(name).open().unwrap();
            assert_eq!((anonymous.get(), kept.get(), named.get()), (1, 2, 3));
            // The other one is alive: nothing of it is up for grabs, however much is made in the memory that we share.
            let mine: Vec<_> = (0..3000).map(|_| Value::new(u64::MAX).unwrap()).collect();
            mine.iter().for_each(|value| value.set(77).unwrap());
            transfer::send(&here, &named.get()).unwrap();
            let untouched: bool = transfer::recv(&here).unwrap();
            assert!(untouched, "{free} free: its values were given to somebody else");
            assert_eq!((anonymous.holder(), named.holder()), (Some(other.pid()), Some(other.pid())));
            assert!(anonymous.lock_timeout(std::time::Duration::from_millis(700)).is_err_and(|e| e.is_timeout()));
            transfer::send(&here, &0_u64).unwrap();
            assert_eq!(other.wait(), 0);
            drop((named, anonymous, kept, mine));
            assert!(!name_exists(name));
        }
    });
}

#[test]
fn role_begins_short() {
    let Some(argument) = role() else { return };
    let (free, name) = argument.split_once(' ').unwrap();
    let stream = role_stream();
    let shortage = Shortage::but(free.parse().unwrap());
    let early = made(Value::named(name).create(3_u64));
    let first = made(Value::new(1_u64));
    if early.is_some() {
        let _ = made(Value::<u64>::named(name).open());
    }
    let _ = first.as_ref().map(|value| value.lock().map(drop));
    shortage.end();

    let named = early.unwrap_or_else(|| Value::named(name).create(3_u64).unwrap());
    let first = first.unwrap_or_else(|| Value::new(1_u64).unwrap());
    let second = Value::new(2_u64).unwrap();
    let others: Vec<_> = (0..50_u64).map(|i| Value::new(i).unwrap()).collect();
    transfer::send(&stream, &(&first, &second)).unwrap();
    let _: u64 = transfer::recv(&stream).unwrap();
    let untouched = others.iter().zip(0..).all(|(value, i)| value.get() == i);
    let guards = (first.lock().unwrap(), named.lock().unwrap());
    transfer::send(&stream, &untouched).unwrap();
    let _: u64 = transfer::recv(&stream).unwrap();
    drop(guards);
    let there = Mark::new();
    fork(|| there.set(u64::from(first.lock().is_ok()))).join();
    assert_eq!(there.get(), 1);
}
