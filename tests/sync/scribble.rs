//! Memory that is overwritten while it is in use: invalid bit patterns, random lock words, sequence numbers and owners.
//! Calls return values or typed errors; none crashes, and none with a timeout hangs.

use crate::util::{self, Mark, Random, alone, fork, quiet_panics, unique};
use crossproc::{Array, CheckedBitPattern, Element, Lock, LockError, LockTimeoutError, NoUninit, TryLockError, Value};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// The offset of a value's slots from its address.
const SLOTS: u64 = 48;

/// The address of an object, as its `Debug` prints it: `Value { at: 0x7f.., .. }`.
fn address(object: &impl std::fmt::Debug) -> u64 {
    let text = format!("{object:?}");
    let digits = text.split("0x").nth(1).unwrap_or_else(|| panic!("no address in {text}"));
    u64::from_str_radix(digits.split(|c: char| !c.is_ascii_hexdigit()).next().unwrap(), 16).unwrap()
}

/// Writes over this process's own memory as a stranger would: past the language.
fn overwrite(at: u64, bytes: &[u8]) {
    File::options().write(true).open("/proc/self/mem").unwrap().write_all_at(bytes, at).unwrap();
}

fn peek(at: u64, bytes: &mut [u8]) {
    File::open("/proc/self/mem").unwrap().read_exact_at(bytes, at).unwrap();
}

/// A value whose memory holds none of its type, until it is made good.
fn no_value_of_its_type<T: Element + PartialEq + std::fmt::Debug>(good: T, wrong: &[u8]) {
    let value = Value::new(good).unwrap();
    let slots = address(&value) + SLOTS;
    let mut before = [0; 16];
    peek(slots, &mut before);
    let mut slot = [0; 8];
    slot[..wrong.len()].copy_from_slice(wrong);
    overwrite(slots, &slot);
    overwrite(slots + 8, &slot);
    for _ in 0..3 {
        assert_eq!(value.lock().unwrap_err(), LockError::Corrupt);
        assert_eq!(value.try_lock().unwrap_err(), TryLockError::Lock(LockError::Corrupt));
        let answer = value.lock_timeout(Duration::from_secs(60)).unwrap_err();
        assert_eq!(answer, LockTimeoutError::Lock(LockError::Corrupt));
        assert_eq!(value.update(|_| ()), Err(LockError::Corrupt));
        assert_eq!(value.holder(), None, "the lock is free");
    }
    let panic = catch_unwind(AssertUnwindSafe(|| value.get())).unwrap_err();
    let cause =
        panic.downcast_ref::<&str>().map_or_else(|| panic.downcast_ref::<String>().unwrap().clone(), |s| s.to_string());
    assert!(cause.contains("overwritten") && cause.contains("Value"), "{cause}");
    // The lock is free for others: they learn the same, at once.
    fork(|| assert_eq!(value.try_lock().unwrap_err(), TryLockError::Lock(LockError::Corrupt))).join();
    std::thread::scope(|scope| {
        let other = scope.spawn(|| value.try_lock().map(drop).unwrap_err());
        assert_eq!(other.join().unwrap(), TryLockError::Lock(LockError::Corrupt));
    });
    // `set` needs no old value, and what it writes counts.
    value.set(good).unwrap();
    assert_eq!((value.get(), *value.lock().unwrap()), (good, good));
    overwrite(slots, &slot);
    overwrite(slots + 8, &slot);
    overwrite(slots, &before);
    assert_eq!(value.get(), good);
}

#[derive(Clone, Copy, Debug, PartialEq, NoUninit, CheckedBitPattern)]
#[bytemuck(crate = "crossproc::bytemuck")]
#[repr(u16)]
enum State {
    Idle = 3,
    Busy = 500,
}

#[derive(Clone, Copy, Debug, PartialEq, NoUninit, CheckedBitPattern)]
#[bytemuck(crate = "crossproc::bytemuck")]
#[repr(C)]
struct Switch {
    on: bool,
    level: u8,
}

#[test]
fn bytes_that_are_no_value_are_corrupt_and_leave_the_lock_free() {
    alone(60, || {
        quiet_panics();
        no_value_of_its_type(true, &[2]);
        no_value_of_its_type(false, &[255]);
        no_value_of_its_type('x', &0x11_0000_u32.to_ne_bytes());
        no_value_of_its_type('\0', &0xd800_u32.to_ne_bytes());
        no_value_of_its_type(State::Idle, &4_u16.to_ne_bytes());
        no_value_of_its_type(State::Busy, &[0, 0]);
        no_value_of_its_type(Switch { on: true, level: 9 }, &[2, 9]);
    });
}

impl Random {
    /// A word such as locks have: free, held, dead or nonsense, often with the waiters' bit.
    fn word(&mut self, own: u32) -> u32 {
        let words = [0, 1, own, own, 1 << 30, 1 << 31, (1 << 30) | own, u32::MAX, 0x3fff_ffff, self.next() as u32];
        words[(self.next() % 10) as usize] | (self.next() as u32 & 1) << 31
    }
}

/// Random bytes over the first `length` bytes of an object: the lock and what follows it.
fn scribble(random: &mut Random, at: u64, length: u64) {
    let own = util::tid();
    match random.next() % 4 {
        0 => overwrite(at, &random.word(own).to_ne_bytes()),
        1 => overwrite(at + 4 * (random.next() % (length / 4)), &random.word(own).to_ne_bytes()),
        2 => overwrite(at + 8 * (random.next() % (length / 8)), &random.next().to_ne_bytes()),
        _ => (0..length / 8).for_each(|i| overwrite(at + 8 * i, &random.next().to_ne_bytes())),
    }
}

const PATIENCE: Duration = Duration::from_millis(1);

fn try_value(value: &Value<[u64; 4]>) {
    let _ = (value.get(), value.holder());
    match value.try_lock() {
        Ok(mut guard) => guard[3] = guard[0].wrapping_add(1),
        Err(TryLockError::WouldBlock | TryLockError::Lock(LockError::Corrupt | LockError::Deadlock)) => {}
        Err(error) => panic!("{error:?}"),
    }
    match value.lock_timeout(PATIENCE) {
        Ok(guard) => guard.rollback(),
        Err(LockTimeoutError::Timeout | LockTimeoutError::Lock(LockError::Corrupt | LockError::Deadlock)) => {}
        Err(error) => panic!("{error:?}"),
    }
}

fn try_array(array: &Array<u16>) {
    let _ = (array.len(), array.holder());
    match array.try_lock() {
        Ok(mut guard) => guard.fill(7),
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Lock(LockError::Corrupt | LockError::Deadlock | LockError::OwnerDied { .. })) => {}
        Err(error) => panic!("{error:?}"),
    }
    match array.lock_timeout(PATIENCE) {
        Ok(guard) => assert_eq!(guard.len(), 100),
        Err(LockTimeoutError::Timeout) => {}
        Err(LockTimeoutError::Lock(LockError::Corrupt | LockError::Deadlock | LockError::OwnerDied { .. })) => {}
        Err(error) => panic!("{error:?}"),
    }
}

fn try_lock(lock: &Lock) {
    match lock.lock_timeout(PATIENCE) {
        Ok(_) | Err(LockTimeoutError::Timeout) => {}
        Err(LockTimeoutError::Lock(LockError::Corrupt | LockError::Deadlock | LockError::OwnerDied { .. })) => {}
        Err(error) => panic!("{error:?}"),
    }
}

#[test]
fn random_bytes_in_an_object_give_values_or_typed_errors() {
    alone(60, || {
        let mut random = Random(0x1234_5678_9abc_def1);
        let names = ["value", "array"].map(unique);
        let values = [Value::new([1; 4]).unwrap(), Value::named(&names[0]).create([1; 4]).unwrap()];
        let arrays = [Array::from_slice(&[1; 100]).unwrap(), Array::named(&names[1]).create(&[1; 100]).unwrap()];
        let lock = Lock::new().unwrap();
        for _ in 0..400 {
            for value in &values {
                scribble(&mut random, address(value), SLOTS + 64);
                try_value(value);
            }
            for array in &arrays {
                // The lock of the whole, the number of parts, and the locks of the first two.
                scribble(&mut random, address(array), 192);
                try_array(array);
            }
            scribble(&mut random, address(&lock), 40);
            try_lock(&lock);
        }
        // Zeros are a free lock, whatever there was.
        for value in &values {
            overwrite(address(value), &[0; 40]);
            value.set([5; 4]).unwrap();
            assert_eq!((value.get(), value.lock().unwrap()[0]), ([5; 4], 5));
        }
        for array in &arrays {
            overwrite(address(array), &[0; 192]);
            array.fill(6).unwrap();
            assert_eq!(array.to_vec().unwrap(), [6; 100]);
        }
        overwrite(address(&lock), &[0; 40]);
        assert!(lock.lock().is_ok());
    });
}

#[test]
fn one_who_scribbles_all_the_time_stops_nobody() {
    alone(60, || {
        let value = Value::new([1; 4]).unwrap();
        let array = Array::from_slice(&[1; 100]).unwrap();
        let lock = Lock::new().unwrap();
        let there = Mark::new();
        let mut scribbler = fork(|| {
            let mut random = Random(0xfeed_beef_1357_2468);
            let length = [(address(&value), SLOTS + 64), (address(&array), 192), (address(&lock), 40)];
            loop {
                there.hit();
                length.iter().for_each(|(at, length)| scribble(&mut random, *at, *length));
            }
        });
        there.reaches(1);
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(2) {
            try_value(&value);
            try_array(&array);
            try_lock(&lock);
        }
        assert!(there.get() > 10);
        scribbler.kill();
        for (at, length) in [(address(&value), 48), (address(&array), 192), (address(&lock), 40)] {
            overwrite(at, &vec![0; length]);
        }
        value.set([2; 4]).unwrap();
        array.fill(2).unwrap();
        assert_eq!((value.get(), array.to_vec().unwrap(), lock.lock().is_ok()), ([2; 4], vec![2; 100], true));
    });
}

/// A number of no thread in the word: nobody will ever free it, so that whoever waits must find out.
#[test]
fn a_lock_held_by_nobody_is_taken_over() {
    alone(60, || {
        let value = Value::new([3_u64; 4]).unwrap();
        overwrite(address(&value), &0x3fff_fff0_u32.to_ne_bytes());
        assert_eq!(value.try_lock().map(drop).unwrap_err(), TryLockError::WouldBlock);
        assert_eq!(*value.lock_timeout(Duration::from_secs(15)).unwrap(), [3; 4]);
        overwrite(address(&value), &0xffff_ffff_u32.to_ne_bytes());
        assert_eq!(value.lock().unwrap_err(), LockError::Corrupt);
        assert_eq!(value.get(), [3; 4], "readers need no lock");
    });
}
