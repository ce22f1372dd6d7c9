//! Data to and from a child: functions, arguments, results, exit codes, panics.

use crate::METHODS;
use crate::util::{self, in_a_program, role, within};
use crossproc::{Array, Atomic, CodecError, JoinError, Lock, Process, RawArray, SpawnError, Stdio, Value};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

fn echo<T>(x: T) -> T {
    x
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Nested {
    name: String,
    items: Vec<Option<Inner>>,
    map: BTreeMap<String, (u8, char)>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Inner {
    Unit,
    Tuple(i8, f32),
    Struct { x: u128 },
}

#[test]
fn arguments_and_results_come_through_bit_for_bit() {
    within(60, || {
        for method in METHODS {
            macro_rules! check {
                ($value:expr) => {{
                    let value = $value;
                    let child = Process::builder().start_method(method).spawn(echo, (value.clone(),)).unwrap();
                    assert_eq!(child.join().unwrap(), value);
                }};
            }
            check!(i64::MIN);
            check!(u128::MAX);
            check!([0.1_f64, -0.0, f64::MAX, f64::MIN_POSITIVE, f64::INFINITY].map(f64::to_bits));
            check!("中文 \u{0} \u{1f600}".to_string());
            check!(String::new());
            check!((0..1 << 20).map(|i| i as u8).collect::<Vec<u8>>());
            check!((0..3 << 20).map(|i| (i * 7) as u8).collect::<Vec<u8>>());
            let items = vec![None, Some(Inner::Unit), Some(Inner::Tuple(-1, 0.5)), Some(Inner::Struct { x: 1 << 100 })];
            check!(Nested { name: "x".into(), items, map: [("k".into(), (1, 'ü'))].into() });
        }
        let nan = Process::spawn(|x: f64| x.to_bits(), (f64::NAN,)).unwrap();
        assert_eq!(nan.join().unwrap(), f64::NAN.to_bits());
    });
}

#[test]
#[allow(clippy::too_many_arguments)]
fn eight_arguments_and_none() {
    fn eight(a: u8, b: i64, c: String, d: f32, e: (u8, u8), f: Option<char>, g: Vec<u16>, h: Value<u64>) -> String {
        h.set(99).unwrap();
        format!("{a} {b} {c} {d} {e:?} {f:?} {g:?}")
    }
    within(30, || {
        let value = Value::new(0).unwrap();
        let args = (1, i64::MIN, "c".to_string(), 1.5, (2, 3), Some('f'), vec![4, 5], value.clone());
        assert_eq!(
            Process::spawn(eight, args).unwrap().join().unwrap(),
            "1 -9223372036854775808 c 1.5 (2, 3) Some('f') [4, 5]"
        );
        assert_eq!(value.get(), 99);
        assert_eq!(Process::spawn(|| 7, ()).unwrap().join(), Ok(7));
    });
}

#[test]
fn functions_in_every_form() {
    fn add(a: u32, b: u32) -> u32 {
        a + b
    }
    fn generic<T: crossproc::Message + Default>(_: T) -> T {
        T::default()
    }
    within(30, || {
        let pointer: fn(u32, u32) -> u32 = add;
        assert_eq!(Process::spawn(pointer, (1, 2)).unwrap().join(), Ok(3), "an fn pointer");
        assert_eq!(Process::spawn(|a: u32, b: u32| a * b, (3, 4)).unwrap().join(), Ok(12), "a closure");
        assert_eq!(Process::spawn(u64::pow, (2, 10)).unwrap().join(), Ok(1024), "a method");
        assert_eq!(Process::spawn(generic::<String>, ("x".to_string(),)).unwrap().join(), Ok(String::new()));
        let never = Process::spawn(|| -> ! { std::process::exit(4) }, ()).unwrap();
        assert_eq!(never.join(), Err(JoinError::Exited(4)), "one that never returns");
        for (f, result) in [(add as fn(u32, u32) -> u32, 5), (u32::pow, 8)] {
            assert_eq!(Process::spawn(f, (2, 3)).unwrap().join(), Ok(result), "out of a table");
        }
    });
}

#[test]
fn what_is_no_entry_is_refused_before_anything_starts() {
    static NUMBER: i32 = 5;
    within(30, || {
        let number: &'static i32 = &NUMBER;
        assert_eq!(
            Process::spawn(move || *number, ()).unwrap_err(),
            SpawnError::NotAnEntry,
            "a capture like a pointer"
        );
        unsafe extern "C" {
            safe fn abs(x: i32) -> i32;
        }
        let foreign: extern "C" fn(i32) -> i32 = abs;
        // SAFETY: on this system a function of C with these types is called as one of Rust's.
        let foreign: fn(i32) -> i32 = unsafe { std::mem::transmute(foreign) };
        assert_eq!(Process::spawn(foreign, (-1,)).unwrap_err(), SpawnError::NotAnEntry, "another image's function");
    });
}

#[test]
fn handles_travel_both_ways_and_the_memory_stays() {
    type Handles = (Value<i64>, Array<u32>, Lock, Atomic<u64>, RawArray<u8>);
    fn use_them((value, array, lock, atomic, raw): Handles) -> crossproc::Result<(Value<u8>, Array<u16>)> {
        let _held = lock.lock()?;
        *value.lock()? += 41;
        array.lock()?.iter_mut().for_each(|x| *x *= 2);
        atomic.fetch_add(5, SeqCst);
        raw.set(1, 9);
        Ok((Value::new(77)?, Array::from_iter(0..40_000)?))
    }
    within(30, || {
        for method in METHODS {
            let handles: Handles = (
                Value::new(1).unwrap(),
                Array::from_iter(0..30_000).unwrap(), // in a segment of its own
                Lock::new().unwrap(),
                Atomic::new(1).unwrap(),
                RawArray::zeroed(4).unwrap(),
            );
            let child = Process::builder().start_method(method).spawn(use_them, (handles.clone(),)).unwrap();
            let (made, list) = child.join().unwrap().unwrap();
            let (value, array, lock, atomic, raw) = handles;
            assert_eq!((value.get(), atomic.load(SeqCst), raw.get(1)), (42, 6, Some(9)));
            assert_eq!(array.get(29_999), Ok(59_998));
            assert!(lock.try_lock().is_ok());
            assert_eq!(
                (made.get(), list.get(39_999), list.len()),
                (77, Ok(39_999), 40_000),
                "made by one who has ended"
            );
            *made.lock().unwrap() += 1;
            assert_eq!(made.get(), 78);
        }
    });
}

#[test]
fn a_thousand_segments_in_one_message() {
    within(60, || {
        let arrays: Vec<Array<u64>> = (0..1000).map(|_| Array::zeroed(10_000).unwrap()).collect();
        fn count(arrays: Vec<Array<u64>>) -> Vec<Array<u64>> {
            arrays.iter().enumerate().for_each(|(i, array)| array.set(0, i as u64).unwrap());
            arrays
        }
        let back = Process::spawn(count, (arrays.clone(),)).unwrap().join().unwrap();
        assert_eq!(back.len(), 1000);
        assert!(arrays.iter().chain(&back).enumerate().all(|(i, array)| array.get(0) == Ok(i as u64 % 1000)));
    });
}

#[test]
fn exit_codes_are_pythons() {
    within(60, || {
        for method in METHODS {
            let run = |f: fn(i32), x: i32| {
                let child = Process::builder().start_method(method).stderr(Stdio::null()).spawn(f, (x,)).unwrap();
                let code = child.wait();
                assert_eq!(child.exit_code(), Some(code));
                (code, child.join())
            };
            fn exit(code: i32) {
                std::process::exit(code)
            }
            fn raise(signal: i32) {
                // SAFETY: no pointers.
                unsafe { libc::raise(signal) };
                util::until_killed()
            }
            for (code, seen) in [(0, 0), (3, 3), (255, 255), (256, 0), (-1, 255)] {
                assert_eq!(run(exit, code), (seen, Err(JoinError::Exited(seen))));
            }
            for signal in [libc::SIGTERM, libc::SIGKILL, libc::SIGINT, libc::SIGHUP, libc::SIGUSR1] {
                assert_eq!(run(raise, signal), (-signal, Err(JoinError::Signaled(signal))));
            }
            assert_eq!(run(|_| std::process::abort(), 0).0, -libc::SIGABRT);
            fn segfault(_: i32) {
                // SAFETY: there is none: this is a crash on purpose.
                unsafe { std::ptr::null_mut::<u8>().write_volatile(1) };
            }
            // A debug build of Rust notices the null and aborts.
            assert!([-libc::SIGSEGV, -libc::SIGABRT].contains(&run(segfault, 0).0));
            fn real_segfault(_: i32) {
                // SAFETY: as above, at an address where nothing is.
                unsafe { std::arch::asm!("mov [{0}], {1:e}", in(reg) 16_usize, in(reg) 0) };
            }
            #[cfg(target_arch = "x86_64")]
            assert_eq!(run(real_segfault, 0).0, -libc::SIGSEGV);
            assert_eq!(run(|_| (), 0), (0, Ok(())));
            assert_eq!(run(|_| panic!(), 0).0, 101);
        }
    });
}

#[test]
fn a_panic_comes_back_whole() {
    const MESSAGE: &str = "bell \u{7}, escape \u{1b}[31m, NUL \0, 中文, and a\nnew line";
    fn fail(message: String) -> u8 {
        panic!("{message}")
    }
    within(30, || {
        for method in METHODS {
            let builder = Process::builder().start_method(method).stderr(Stdio::null());
            let child = builder.env("RUST_BACKTRACE", "1").spawn(fail, (MESSAGE.to_string(),)).unwrap();
            let Err(JoinError::Panicked { message, location, backtrace }) = child.join() else { panic!("no panic") };
            assert_eq!(message, MESSAGE);
            assert!(location.unwrap().starts_with(file!()), "a file and a line");
            assert!(backtrace.unwrap().contains("fail"), "the names of functions");
        }
        let quiet = || Process::builder().stderr(Stdio::null()).env("RUST_BACKTRACE", "0");
        let child = quiet().spawn(|| std::panic::panic_any(5_u8), ()).unwrap();
        assert!(matches!(child.join(), Err(JoinError::Panicked { backtrace: None, .. })), "not a text");
        let long = "x".repeat(1 << 20);
        let child = quiet().spawn(fail, (long.clone(),)).unwrap();
        assert!(matches!(child.join(), Err(JoinError::Panicked { message, .. }) if message == long), "a long one");
        // A panic that the function catches is none, and one of another thread is that thread's.
        fn survive() -> u8 {
            let _ = std::panic::catch_unwind(|| panic!("caught"));
            let _ = std::thread::spawn(|| panic!("elsewhere")).join();
            6
        }
        assert_eq!(quiet().spawn(survive, ()).unwrap().join(), Ok(6));
        fn second() {
            let _ = std::panic::catch_unwind(|| panic!("first"));
            std::panic::resume_unwind(Box::new("second"));
        }
        let child = quiet().spawn(second, ()).unwrap();
        assert!(matches!(child.join(), Err(JoinError::Panicked { message, .. }) if message == "second"));
    });
}

/// A value that cannot be decoded.
#[derive(Debug, Serialize)]
struct Broken;

impl<'de> Deserialize<'de> for Broken {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("not to be read"))
    }
}

/// A value that cannot be encoded.
#[derive(Debug, Deserialize)]
struct Stubborn;

impl Serialize for Stubborn {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("not to be written"))
    }
}

#[test]
fn what_cannot_be_decoded_or_encoded_is_an_error() {
    within(30, || {
        let decode = |result: Result<(), JoinError>| matches!(result, Err(JoinError::Decode(CodecError { .. })));
        let quiet = || Process::builder().stderr(Stdio::null());
        assert!(decode(quiet().spawn(|_: Broken| (), (Broken,)).unwrap().join()), "an argument");
        assert!(decode(quiet().spawn(|| Broken, ()).unwrap().join().map(drop)), "a result, here");
        assert!(decode(quiet().spawn(|| Stubborn, ()).unwrap().join().map(drop)), "a result, there");
        let refused = Process::spawn(|_: Stubborn| (), (Stubborn,)).unwrap_err();
        assert!(matches!(refused, SpawnError::Encode(_)), "{refused}");
        // The value before the one that cannot be read is given up.
        let value = Value::new(1_u8).unwrap();
        assert!(decode(quiet().spawn(|_: Value<u8>, _: Broken| (), (value.clone(), Broken)).unwrap().join()));
        *value.lock().unwrap() += 1;
    });
}

#[test]
fn a_child_that_closes_its_streams_has_its_result() {
    fn close_all() -> u8 {
        for fd in 0..3 {
            // SAFETY: nobody here uses them.
            unsafe { libc::close(fd) };
        }
        7
    }
    within(30, || {
        METHODS.iter().for_each(|method| {
            assert_eq!(Process::builder().start_method(*method).spawn(close_all, ()).unwrap().join(), Ok(7));
        })
    });
}

/// The descriptor by which the result goes back is gone, and its number is another's: nobody else may get the result.
#[test]
fn a_result_goes_back_or_nowhere() {
    fn close_and_reuse() -> (String, bool) {
        // SAFETY: what is closed here is used by nobody but the library.
        unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) };
        let pairs: Vec<_> = (0..8).map(|_| std::os::unix::net::UnixStream::pair().unwrap()).collect();
        std::thread::spawn(move || {
            for (a, b) in &pairs {
                let empty = |end: &std::os::unix::net::UnixStream| {
                    end.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
                    std::io::Read::read(&mut &*end, &mut [0; 64]).is_err()
                };
                assert!(empty(a) && empty(b), "somebody else's result");
            }
            std::process::exit(77)
        });
        ("secret".into(), true)
    }
    within(60, || {
        let child = Process::builder().stderr(Stdio::null()).spawn(close_and_reuse, ()).unwrap();
        assert!(matches!(child.join(), Err(JoinError::Exited(1 | 77))));
    });
}

#[test]
fn a_panic_that_is_resumed_is_not_the_one_that_was_caught() {
    fn fail() {
        let caught = std::panic::catch_unwind(|| panic!("caught"));
        assert!(caught.is_err());
        std::panic::resume_unwind(Box::new("resumed".to_string()))
    }
    within(60, || match Process::spawn(fail, ()).unwrap().join() {
        Err(JoinError::Panicked { message, location, .. }) => {
            assert_eq!((message.as_str(), location), ("resumed", None))
        }
        other => panic!("{other:?}"),
    });
}

/// An environment that the system does not pass on to a program comes with the order.
#[test]
fn a_large_environment() {
    in_a_program(60, a_large_environment_role);
}

#[test]
fn a_large_environment_role() {
    let Some(_) = role() else { return };
    // SAFETY: the harness's one test thread is the only one that looks.
    unsafe { std::env::set_var("CROSSPROC_TEST_LARGE", "x".repeat(3 << 20)) };
    for method in METHODS {
        let length = || (std::env::var("CROSSPROC_TEST_LARGE").map(|large| large.len()).ok(), std::env::var_os("PATH"));
        let child = Process::builder().start_method(method).spawn(length, ()).unwrap();
        assert_eq!(child.join(), Ok(length()), "{method:?}");
    }
    let child = Process::builder().name("x".repeat(1 << 20)).spawn(|| (), ());
    assert_eq!(child.map(drop), Err(SpawnError::Os(crossproc::Os(libc::E2BIG))), "a name without measure");
}

/// A limit on the size of files is an error, not the signal that the system would send.
#[test]
fn no_file_may_be_large() {
    in_a_program(60, no_file_may_be_large_role);
}

#[test]
fn no_file_may_be_large_role() {
    let Some(_) = role() else { return };
    util::set_resource_limit(util::FILE_SIZE, 4096);
    assert_eq!(Process::spawn(|| 1, ()).unwrap().join(), Ok(1));
    let refused = Process::spawn(echo::<Vec<u8>>, (vec![0; 3 << 20],)).map(drop);
    assert_eq!(refused, Err(SpawnError::Segment(crossproc::SegmentError::TooLarge)));
    let refused = Process::builder().stderr(Stdio::null()).spawn(|| vec![0_u8; 3 << 20], ()).unwrap().join();
    assert!(matches!(refused, Err(JoinError::Decode(_))), "{refused:?}");
}
