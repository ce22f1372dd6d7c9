//! Handles in messages, to a child that is older than the object and to another program.

use crate::util::{Counts, Mark, alone, fork, program, role, role_stream, unique, until_killed, within};
use crossproc::transfer::{recv, send};
use crossproc::{Array, Atomic, Lock, Part, RawArray, RawValue, TransferError, TryLockError, Value};
use serde::{Deserialize, Serialize};
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering::SeqCst;

/// An object of each kind, small ones in blocks and large ones in segments of their own.
#[derive(Serialize, Deserialize)]
struct Bundle {
    title: String,
    value: Value<u32>,
    page: Value<[u64; 512]>,
    huge: Value<[u64; 9_000]>,
    array: Array<u16>,
    long: Array<u64>,
    part: Part<u16>,
    lock: Lock,
    total: Atomic<i64>,
    raw: RawValue<f32>,
    raws: RawArray<u8>,
    named: Value<u32>,
    named_array: Array<u32>,
    again: Vec<Option<Value<u32>>>,
}

impl Bundle {
    fn new() -> Self {
        let array = Array::from_slice(&[1, 2, 3, 4]).unwrap();
        let value = Value::new(1).unwrap();
        Bundle {
            title: "one of each".into(),
            page: Value::new([1; 512]).unwrap(),
            huge: Value::new([1; 9_000]).unwrap(),
            long: Array::zeroed(100_000).unwrap(),
            part: array.parts(2).unwrap().pop().unwrap(),
            array,
            lock: Lock::new().unwrap(),
            total: Atomic::new(1).unwrap(),
            raw: RawValue::new(1.0).unwrap(),
            raws: RawArray::zeroed(2).unwrap(),
            named: Value::named(&unique("travel")).create(1).unwrap(),
            named_array: Array::named(&unique("travels")).create(&[1, 1]).unwrap(),
            again: vec![Some(value.clone()), None, Some(value.clone())],
            value,
        }
    }

    /// The use that the receiver makes of each object.
    fn change(&self) {
        assert_eq!(self.title, "one of each");
        *self.value.lock().unwrap() += 1;
        self.page.update(|page| page[511] = 2).unwrap();
        self.huge.lock().unwrap()[8_999] = 2;
        assert_eq!(self.part.range(), 2..4);
        self.part.lock().unwrap().reverse();
        self.array.set(0, 9).unwrap();
        self.long.lock().unwrap()[99_999] = 2;
        drop(self.lock.try_lock().expect("free"));
        self.total.fetch_add(1, SeqCst);
        self.raw.set(2.0);
        self.raws.set(1, 2).unwrap();
        self.named.set(2).unwrap();
        self.named_array.fill(2).unwrap();
        *self.again[2].as_ref().unwrap().lock().unwrap() += 1;
    }

    fn was_changed(&self) {
        assert_eq!(self.value.get(), 3);
        assert_eq!(self.again[0].as_ref().unwrap().get(), 3);
        assert_eq!((self.page.get()[510], self.page.get()[511]), (1, 2));
        assert_eq!(self.huge.get()[8_999], 2);
        assert_eq!(self.array.to_vec().unwrap(), [9, 2, 4, 3]);
        assert_eq!(self.long.get(99_999), Ok(2));
        assert_eq!((self.total.load(SeqCst), self.raw.get(), self.raws.get(1)), (2, 2.0, Some(2)));
        assert_eq!((self.named.get(), self.named_array.to_vec().unwrap()), (2, vec![2, 2]));
    }
}

#[test]
fn one_of_each_to_a_child_that_was_there_before() {
    alone(30, || {
        let (here, there) = UnixStream::pair().unwrap();
        let child = fork(|| recv::<Bundle>(&there).unwrap().change());
        let bundle = Bundle::new();
        send(&here, &bundle).unwrap();
        child.join();
        bundle.was_changed();
    });
}

#[test]
fn role_changes_the_bundle_and_sends_it_back() {
    let Some(_) = role() else { return };
    let stream = role_stream();
    let bundle: Bundle = recv(&stream).unwrap();
    bundle.change();
    send(&stream, &bundle).unwrap();
}

#[test]
fn one_of_each_to_another_program_and_back() {
    within(30, || {
        let (here, there) = UnixStream::pair().unwrap();
        let mut other = program(role_changes_the_bundle_and_sends_it_back, "", Some(&there));
        let bundle = Bundle::new();
        send(&here, &bundle).unwrap();
        let back: Bundle = recv(&here).unwrap();
        back.was_changed();
        bundle.was_changed();
        assert_eq!(format!("{:?} {:?}", back.value, back.long), format!("{:?} {:?}", bundle.value, bundle.long));
        *back.value.lock().unwrap() = 50;
        assert_eq!(bundle.value.get(), 50, "the same object came home");
        assert_eq!(other.wait(), 0);
    });
}

#[test]
fn role_dies_with_the_locks() {
    let Some(_) = role() else { return };
    let stream = role_stream();
    let (value, array): (Value<u32>, Array<u32>) = recv(&stream).unwrap();
    let mut guard = value.lock().unwrap();
    let mut items = array.lock().unwrap();
    (*guard, items[0]) = (99, 99);
    send(&stream, &()).unwrap();
    until_killed()
}

#[test]
fn another_program_that_is_killed_is_told_of() {
    within(30, || {
        let (here, there) = UnixStream::pair().unwrap();
        let mut other = program(role_dies_with_the_locks, "", Some(&there));
        let (value, array) = (Value::new(1_u32).unwrap(), Array::from_slice(&[1_u32]).unwrap());
        send(&here, &(&value, &array)).unwrap();
        recv::<()>(&here).unwrap();
        assert_eq!(value.holder(), Some(other.pid()));
        assert_eq!(value.try_lock().unwrap_err(), TryLockError::WouldBlock);
        other.kill();
        let guard = value.lock().unwrap();
        assert_eq!((*guard, guard.recovered_from()), (1, Some(other.pid())));
        drop(array.lock_or_repair(|items| assert_eq!(items, [99])).unwrap());
    });
}

#[test]
fn an_object_lives_in_its_message() {
    alone(30, || {
        let (here, there) = UnixStream::pair().unwrap();
        let go = Mark::new();
        let child = fork(|| {
            go.reaches(1);
            let (value, array): (Value<u64>, Array<u64>) = recv(&there).unwrap();
            assert_eq!((value.get(), array.to_vec().unwrap()), (7, vec![7; 50_000]));
        });
        let value = Value::new(7_u64).unwrap();
        let at = format!("{value:?}");
        let array = Array::from_slice(&[7_u64; 50_000]).unwrap();
        send(&here, &(&value, &array)).unwrap();
        drop((value, array));
        // Other objects come and go meanwhile; none gets its block.
        let others: Vec<_> = (0..1_000_u64).map(|n| Value::new(n).unwrap()).collect();
        assert!(others.iter().all(|other| format!("{other:?}") != at));
        go.hit();
        child.join();
    });
}

#[test]
fn a_handle_goes_on_when_its_maker_and_its_bearer_are_gone() {
    alone(30, || {
        let (a, b) = UnixStream::pair().unwrap();
        let (c, d) = UnixStream::pair().unwrap();
        let done = Mark::new();
        let mut maker = fork(|| {
            let (value, array) = (Value::new([3_u8; 100]).unwrap(), Array::from_slice(&[3_u8; 100_000]).unwrap());
            send(&a, &(value, array)).unwrap();
            done.hit();
            until_killed()
        });
        let mut bearer = fork(|| {
            let both: (Value<[u8; 100]>, Array<u8>) = recv(&b).unwrap();
            send(&c, &both).unwrap();
            done.hit();
            until_killed()
        });
        done.reaches(2);
        maker.kill();
        bearer.kill();
        let (value, array): (Value<[u8; 100]>, Array<u8>) = recv(&d).unwrap();
        assert_eq!((value.get(), array.get(99_999)), ([3; 100], Ok(3)));
        *value.lock().unwrap() = [4; 100];
        let others: Vec<_> = (0..300).map(|_| Value::new([9_u8; 100]).unwrap()).collect();
        assert_eq!((value.get(), others.len()), ([4; 100], 300));
    });
}

#[test]
fn more_segments_than_one_message_of_the_system_carries() {
    alone(60, || {
        let (here, there) = UnixStream::pair().unwrap();
        let child = fork(|| {
            let arrays: Vec<Array<u8>> = recv(&there).unwrap();
            assert!(arrays.iter().zip(0..).all(|(array, n)| array.get(69_999) == Ok(n as u8)));
            arrays[299].set(0, 77).unwrap();
        });
        let arrays: Vec<_> = (0..300).map(|n| Array::from_slice(&vec![n as u8; 70_000]).unwrap()).collect();
        send(&here, &arrays).unwrap();
        child.join();
        assert_eq!(arrays[299].get(0), Ok(77));
    });
}

/// Many messages, each of which fails to be decoded after or before some handles of it were.
#[test]
fn another_type_is_an_error_and_leaks_nothing() {
    alone(60, || {
        let (here, there) = UnixStream::pair().unwrap();
        let kept = Value::new([0_u64; 60]).unwrap();
        let round = || {
            let value = || Value::new([1_u64; 60]).unwrap();
            let large = Array::<u64>::zeroed(20_000).unwrap();
            send(&here, &(value(), value(), &large, value())).unwrap();
            let wrong = recv::<(Value<[u64; 60]>, Value<[u32; 120]>, Array<u64>, Value<[u64; 60]>)>(&there);
            assert!(matches!(wrong, Err(TransferError::Decode(_))), "{wrong:?}");
            send(&here, &(value(), &large)).unwrap();
            assert!(recv::<(Array<u64>, Array<u64>)>(&there).is_err(), "a value is no array");
            send(&here, &large).unwrap();
            let other = recv::<Array<f64>>(&there).unwrap_err(); // bits of another meaning
            assert_eq!(
                other.to_string(),
                "cannot decode the message: the object holds another type of data than the handle that opens it"
            );
            send(&here, &large.parts(3).unwrap()).unwrap();
            assert!(recv::<Vec<Part<u32>>>(&there).is_err());
            assert_eq!(large.parts(4).unwrap().len(), 4, "its parts are gone");
            send(&here, &(value(), 1_u8)).unwrap();
            assert!(recv::<Value<[u64; 60]>>(&there).is_err(), "there is more in the message");
        };
        (0..10).for_each(|_| round());
        let (before, bytes) = (Counts::now(), Counts::memfd_bytes());
        (0..300).for_each(|_| round());
        let now = Counts::now();
        assert_eq!((now.fds, now.maps), (before.fds, before.maps));
        assert_eq!(Counts::memfd_bytes(), bytes);
        send(&here, &kept).unwrap();
        assert_eq!(recv::<Value<[u64; 60]>>(&there).unwrap().get(), [0; 60], "the stream is in step");
    });
}

#[test]
fn a_message_that_is_not_sent_or_not_encoded_gives_its_handles_back() {
    struct Fails;
    impl Serialize for Fails {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("planned"))
        }
    }
    alone(60, || {
        let kept = Value::new([0_u64; 60]).unwrap();
        let round = || {
            let (here, there) = UnixStream::pair().unwrap();
            let value = Value::new([1_u64; 60]).unwrap();
            assert!(matches!(send(&here, &(&value, Fails)), Err(TransferError::Encode(_))));
            let array = Array::<u8>::zeroed(9).unwrap();
            assert!(send(&here, &(array.parts(3).unwrap(), Fails)).is_err());
            assert_eq!(array.parts(2).unwrap().len(), 2);
            drop(there);
            assert!(matches!(send(&here, &value), Err(TransferError::Os(_))));
        };
        round();
        let (before, bytes) = (Counts::now(), Counts::memfd_bytes());
        (0..2_000).for_each(|_| round());
        let now = Counts::now();
        assert_eq!((now.fds, now.maps, Counts::memfd_bytes()), (before.fds, before.maps, bytes));
        assert_eq!(kept.get(), [0; 60]);
    });
}

#[test]
fn elsewhere_a_handle_cannot_be_serialized_and_the_error_says_so() {
    let (value, array, lock) = (Value::new(1).unwrap(), Array::from_slice(&[1]).unwrap(), Lock::new().unwrap());
    let says_so = |error: &dyn std::fmt::Display| assert!(error.to_string().contains("message"), "{error}");
    says_so(&serde_json::to_string(&value).unwrap_err());
    says_so(&serde_json::to_string(&("a", &array)).unwrap_err());
    says_so(&serde_json::to_value(array.parts(1).unwrap()).unwrap_err());
    says_so(&serde_json::to_string(&lock).unwrap_err());
    assert!(postcard::to_stdvec(&value).is_err(), "whose errors have no text");
    assert!(serde_json::from_str::<Value<i32>>("{\"ticket\":{\"segment\":1,\"block\":0}}").is_err());
    assert!(postcard::from_bytes::<Value<i32>>(&[0; 64]).is_err());
    assert_eq!(array.parts(2).unwrap().len(), 2, "the part that failed to travel is gone");
}

#[test]
fn the_end_of_a_sender_is_the_end_of_file() {
    alone(30, || {
        let (here, there) = UnixStream::pair().unwrap();
        let mut sender = fork(|| send(&there, &Value::new(5).unwrap()).unwrap());
        assert_eq!(sender.wait(), 0);
        drop(there);
        assert_eq!(recv::<Value<i32>>(&here).unwrap().get(), 5);
        assert_eq!(recv::<Value<i32>>(&here).unwrap_err(), TransferError::Eof);
    });
}

#[test]
fn noise_on_the_stream_is_an_error() {
    use std::io::Write;
    let (mut here, there) = UnixStream::pair().unwrap();
    here.write_all(&[0x55; 200]).unwrap();
    assert!(matches!(recv::<Value<i32>>(&there), Err(TransferError::Decode(_))));
}
