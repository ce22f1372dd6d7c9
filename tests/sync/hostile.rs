//! Foreign contents: files of any kind and content under names of this crate, and damaged headers. Each gives a typed
//! error or a usable object, and never a crash, a hang or a `SIGBUS`.

use crate::util::{Random, alone, shm_path, unique};
use crossproc::{Array, Atomic, Lock, LockError, LockTimeoutError, RawArray, SegmentError, TryLockError, Value};
use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::time::Duration;

/// A file with this content and none else; nobody has mapped it.
fn put(name: &str, content: &[u8]) {
    let _ = std::fs::remove_file(shm_path(name));
    let made = File::options().write(true).create_new(true).mode(0o600).open(shm_path(name)).unwrap();
    made.write_all_at(content, 0).unwrap();
}

/// The bytes of objects that stay without a user.
fn samples() -> Vec<Vec<u8>> {
    let name = &unique("sample");
    let bytes = || {
        let bytes = std::fs::read(shm_path(name)).unwrap();
        Value::<u8>::named(name).remove().unwrap();
        bytes
    };
    drop(Value::named(name).persist().create([7_u32; 5]).unwrap());
    let value = bytes();
    drop(Array::named(name).persist().create(&[9_u16; 3000]).unwrap());
    let array = bytes();
    drop(Array::<u16>::named(name).persist().create(&[]).unwrap());
    let empty = bytes();
    drop(RawArray::<u64>::named(name).persist().create(&[1; 100]).unwrap());
    vec![value, array, empty, bytes()]
}

/// Opens as each of the types, and uses what opens. The first answer counts.
fn open_all(name: &str) -> Result<(), SegmentError> {
    let value = Value::<[u32; 5]>::named(name).open().map(|value| use_value(&value));
    let _ = Lock::named(name).open().map(|lock| lock.try_lock().map(drop));
    let _ = Atomic::<u64>::named(name).open().map(|atomic| atomic.load(std::sync::atomic::Ordering::SeqCst));
    let array = Array::<u16>::named(name).open().map(|array| {
        use_array(&array);
        assert!(array.parts(3).map(|parts| parts.len()).is_ok_and(|parts| parts == 3));
    });
    let raw = RawArray::<u64>::named(name).open().map(|raw| {
        (0..raw.len()).for_each(|i| assert!(raw.set(i, raw.get(i).unwrap()).is_some()));
    });
    value.or(array).or(raw)
}

const PATIENCE: Duration = Duration::from_millis(1);

fn use_value<const N: usize>(value: &Value<[u32; N]>) {
    let _ = (value.get(), value.holder());
    match value.try_lock() {
        Ok(mut guard) => guard[0] = guard[0].wrapping_add(1),
        Err(TryLockError::WouldBlock | TryLockError::Lock(LockError::Corrupt | LockError::Deadlock)) => {}
        Err(error) => panic!("{error:?}"),
    }
    match value.lock_timeout(PATIENCE) {
        Ok(guard) => drop((guard.recovered_from(), guard.rollback())),
        Err(LockTimeoutError::Timeout | LockTimeoutError::Lock(LockError::Corrupt | LockError::Deadlock)) => {}
        Err(error) => panic!("{error:?}"),
    }
}

fn use_array(array: &Array<u16>) {
    let _ = (array.len(), array.holder());
    match array.try_lock() {
        Ok(mut guard) => guard.iter_mut().for_each(|item| *item = item.wrapping_mul(3)),
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Lock(LockError::Corrupt | LockError::Deadlock | LockError::OwnerDied { .. })) => {}
        Err(error) => panic!("{error:?}"),
    }
    match array.lock_timeout(PATIENCE) {
        Ok(guard) => assert_eq!(guard.len(), array.len()),
        Err(LockTimeoutError::Timeout) => {}
        Err(LockTimeoutError::Lock(LockError::Corrupt | LockError::Deadlock | LockError::OwnerDied { .. })) => {}
        Err(error) => panic!("{error:?}"),
    }
}

#[test]
fn files_of_any_kind_give_typed_errors() {
    alone(60, || {
        let name = &unique("kinds");
        let check = |what: &str| {
            let wrong = SegmentError::NotASegment;
            assert_eq!(Value::<[u32; 5]>::named(name).open().unwrap_err(), wrong, "{what}");
            assert_eq!(Array::<u16>::named(name).open().unwrap_err(), wrong, "{what}");
            assert_eq!(Value::named(name).open_or_create([1_u32; 5]).unwrap_err(), wrong, "{what}");
            assert_eq!(Value::named(name).create(1).unwrap_err(), SegmentError::AlreadyExists, "{what}");
            assert!(shm_path(name).symlink_metadata().is_ok(), "{what} is still there");
        };
        let good = &samples()[0];
        let target = PathBuf::from(format!("/dev/shm/{}", unique("target")));
        std::fs::write(&target, good).unwrap();
        for to in [target.to_str().unwrap(), "/nowhere", "/dev/zero", shm_path(name).to_str().unwrap(), "/dev/shm"] {
            std::os::unix::fs::symlink(to, shm_path(name)).unwrap();
            check(&format!("a link to {to}"));
            assert_eq!(Value::<u8>::named(name).remove().unwrap_err(), SegmentError::NotASegment);
            std::fs::remove_file(shm_path(name)).unwrap();
        }
        std::fs::remove_file(target).unwrap();

        std::fs::create_dir(shm_path(name)).unwrap();
        check("a directory");
        assert_eq!(Value::<u8>::named(name).remove().unwrap_err(), SegmentError::NotASegment);
        std::fs::remove_dir(shm_path(name)).unwrap();

        let path = std::ffi::CString::new(shm_path(name).to_str().unwrap()).unwrap();
        // SAFETY: a path that ends with a NUL.
        assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
        check("a fifo");
        std::fs::remove_file(shm_path(name)).unwrap();

        let _socket = std::os::unix::net::UnixListener::bind(shm_path(name)).unwrap();
        check("a socket");
        std::fs::remove_file(shm_path(name)).unwrap();

        let mut random = vec![0; 20_000];
        // SAFETY: fills the buffer.
        unsafe { libc::getrandom(random.as_mut_ptr().cast(), random.len(), 0) };
        random[0] = 0; // no magic
        for content in [&b""[..], b"x", &[0; 4096], &random, &good[8..]] {
            put(name, content);
            check(&format!("a file of {} bytes", content.len()));
        }
        for size in [1, 4096, 1 << 40] {
            put(name, b"");
            File::options().write(true).open(shm_path(name)).unwrap().set_len(size).unwrap();
            check("holes");
        }
        // A whole header in front of holes: the first touch of a hole may be SIGBUS.
        let array = &samples()[1];
        put(name, &array[..4096]);
        File::options().write(true).open(shm_path(name)).unwrap().set_len(array.len() as u64).unwrap();
        check("a header and holes");
        std::fs::remove_file(shm_path(name)).unwrap();
    });
}

#[test]
fn a_truncated_or_longer_file_is_no_segment() {
    alone(60, || {
        let name = &unique("truncated");
        for sample in samples() {
            put(name, &sample);
            assert_eq!(open_all(name), Ok(()));
            let lengths = [0, 1, 7, 8, 100, 135, 136, 137, 255, 256, 319, 320, 321, 4095];
            for length in lengths.into_iter().chain((4096..sample.len()).step_by(4096)) {
                put(name, &sample[..length]);
                assert_eq!(open_all(name), Err(SegmentError::NotASegment), "{length} of {}", sample.len());
            }
            let mut longer = sample.clone();
            longer.extend([0; 4096]);
            put(name, &longer);
            assert_eq!(open_all(name), Err(SegmentError::NotASegment));
        }
        std::fs::remove_file(shm_path(name)).unwrap();
    });
}

/// Where the fields of a header are, as its declaration has them.
#[test]
fn each_field_of_the_header_is_checked() {
    use SegmentError::{NotASegment, TooLarge, WrongNamespace, WrongSize, WrongType, WrongVersion};
    alone(60, || {
        let name = &unique("header");
        let array = &samples()[1];
        let refused = |sample: &[u8], at: usize, bytes: &[u8]| {
            let mut damaged = sample.to_vec();
            damaged[at..at + bytes.len()].copy_from_slice(bytes);
            put(name, &damaged);
            Array::<u16>::named(name).open().unwrap_err()
        };
        let all = u64::MAX.to_ne_bytes();
        let cases: [(&str, usize, &[u8], SegmentError); 24] = [
            ("magic", 0, b"Crosproc", NotASegment),
            ("order", 8, &0x0403_0201_u32.to_ne_bytes(), WrongVersion),
            ("order", 8, &[0; 4], WrongVersion),
            ("word bits", 12, &32_u16.to_ne_bytes(), WrongVersion),
            ("major", 14, &2_u16.to_ne_bytes(), WrongVersion),
            ("layout", 16, &[1; 8], WrongVersion),
            ("size", 24, &4096_u64.to_ne_bytes(), NotASegment),
            ("size", 24, &all, NotASegment),
            ("namespace", 48, &[1; 8], WrongNamespace),
            ("namespace", 56, &[1; 8], WrongNamespace),
            ("boot", 64, &[1; 16], NotASegment),
            ("cells", 84, &all[..4], NotASegment),
            ("cells", 84, &[0; 4], NotASegment),
            ("blocks", 88, &[0; 4], NotASegment),
            ("blocks", 88, &all[..4], NotASegment),
            ("locks", 92, &all[..4], WrongSize),
            ("block size", 96, &all, NotASegment),
            ("block size", 96, &[0; 8], NotASegment),
            ("kind", 104, &2_u32.to_ne_bytes(), WrongType),
            ("kind", 104, &all[..4], WrongType),
            ("item size", 108, &[0; 4], WrongSize),
            ("type", 120, &[1; 8], WrongType),
            ("count", 128, &all, TooLarge),
            ("count", 128, &3009_u64.to_ne_bytes(), WrongSize),
        ];
        for (field, at, bytes, error) in cases {
            assert_eq!(refused(array, at, bytes), error, "{field} at {at}: {bytes:?}");
        }
        for align in [0_u32, 1, 3, 64, 4096, 8192, u32::MAX] {
            let error = refused(array, 112, &align.to_ne_bytes());
            assert!(matches!(error, WrongSize | NotASegment), "align {align}: {error:?}");
        }
        // All of it in the other byte order, as a program on such a machine would have written it.
        let mut swapped = array.clone();
        swapped[8..12].reverse();
        swapped[12..14].reverse();
        swapped[14..16].reverse();
        swapped[16..80].chunks_exact_mut(8).for_each(<[u8]>::reverse);
        put(name, &swapped);
        assert_eq!(Array::<u16>::named(name).open().unwrap_err(), WrongVersion);
        put(name, array);
        assert_eq!(Array::<u16>::named(name).open().unwrap().to_vec().unwrap(), [9; 3000]);
        std::fs::remove_file(shm_path(name)).unwrap();
    });
}

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

#[test]
fn random_damage_to_the_header_is_an_error_or_does_no_harm() {
    alone(60, || {
        let name = &unique("flips");
        let samples = samples();
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let mut opened = 0;
        for round in 0..3000 {
            let mut bytes = samples[round % samples.len()].clone();
            for _ in 0..1 + random.below(3) {
                // Bits, bytes, whole fields; before the cells, and more often after what is compared as a whole.
                let at = [random.below(136), 80 + random.below(56), 24 + random.below(8)][random.below(3)];
                match random.below(4) {
                    0 | 1 => bytes[at] ^= 1 << random.below(8),
                    2 => bytes[at] = random.next() as u8,
                    _ => {
                        let numbers = [0, 1, 2, 64, 4096, u32::MAX, 1 << 31, random.next() as u32];
                        let number = numbers[random.below(numbers.len())].to_ne_bytes();
                        bytes[at / 4 * 4..][..4].copy_from_slice(&number);
                    }
                }
            }
            put(name, &bytes);
            opened += usize::from(open_all(name).is_ok());
        }
        assert!(opened > 100, "{opened} opened: the damage is no test of those that open");
        let _ = std::fs::remove_file(shm_path(name));
    });
}
