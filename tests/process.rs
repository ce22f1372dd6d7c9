//! A child and the way to its result: arguments, results, panics, exit codes, signals, timeouts, who is who.

mod util;

use crossproc::{
    Array, Atomic, CodecError, JoinError, Lock, Process, RawArray, ScopeError, SpawnError, StartMethod, Stdio, Value,
    active_children, current, parent, scope,
};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};
use util::{NOT_RUN, is_running, program, role, servers_of, until, within, zombies_of};

const METHODS: [StartMethod; 2] = [StartMethod::ForkServer, StartMethod::Spawn];

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

/// What does not survive its journey.
#[derive(Debug, Serialize)]
struct Broken;

impl<'de> Deserialize<'de> for Broken {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("not to be read"))
    }
}

/// What does not begin its journey.
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
fn joining_ends_at_its_time() {
    within(30, || {
        let mut child = Process::spawn(|| -> u8 { util::until_killed() }, ()).unwrap();
        let start = Instant::now();
        assert_eq!(child.join_timeout(Duration::from_millis(80)), Ok(None));
        assert_eq!(child.wait_timeout(Duration::from_millis(20)), None);
        assert!(start.elapsed() >= Duration::from_millis(100));
        assert_eq!((child.is_alive(), child.exit_code()), (true, None));
        child.terminate().unwrap();
        assert_eq!(child.join_timeout(util::LIMIT), Err(JoinError::Signaled(15)));
        assert_eq!(child.join_timeout(util::LIMIT), Err(JoinError::Taken));
        assert_eq!((child.exit_code(), child.wait(), child.is_alive()), (Some(-15), -15, false));
        assert!(child.terminate().is_ok() && child.kill().is_ok(), "of one that has ended");
    });
}

/// A child is born with what the fork server ignores: none of it may be lost.
#[test]
fn a_signal_right_behind_a_spawn_is_not_lost() {
    within(60, || program("a_signal_right_behind_a_spawn_role", "", None).join());
}

#[test]
fn a_signal_right_behind_a_spawn_role() {
    let Some(_) = role() else { return };
    for round in 0..200 {
        let child = Process::builder().daemon(true).spawn(|| util::until_killed(), ()).unwrap();
        child.terminate().unwrap();
        assert_eq!(child.wait_timeout(util::LIMIT), Some(-15), "round {round}");
        if round % 50 == 0 {
            crossproc::testing::close_nursery(); // the next one is a server's first
        }
    }
    // However fast the parent is: what the server ignores, and a child does not, is blocked as long as that differs.
    let status = std::fs::read_to_string(format!("/proc/{}/status", servers_of(std::process::id())[0])).unwrap();
    let signals = |of: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(of)).unwrap();
        u64::from_str_radix(line.trim(), 16).unwrap()
    };
    const PLAIN: u64 = 0x7fff_ffff; // the C library keeps some of the others to itself
    assert_eq!(signals("SigIgn:") & !signals("SigBlk:") & PLAIN, 0, "{status}");
}

#[test]
fn several_threads_wait_for_one_child() {
    within(30, || {
        let child = Process::spawn(|| std::thread::sleep(Duration::from_millis(50)), ()).unwrap();
        std::thread::scope(|threads| {
            for _ in 0..4 {
                threads.spawn(|| assert_eq!(child.wait(), 0));
            }
        });
        assert_eq!(child.join(), Ok(()));
    });
}

#[test]
fn a_descriptor_is_readable_at_the_end() {
    within(30, || {
        let gate = Value::new(false).unwrap();
        fn wait_for(gate: Value<bool>) {
            util::until("the gate opens", || gate.get());
        }
        let child = Process::spawn(wait_for, (gate.clone(),)).unwrap();
        let readable = |ms| {
            let fd = std::os::fd::AsRawFd::as_raw_fd(&child.as_fd());
            let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
            // SAFETY: one pollfd.
            unsafe { libc::poll(&mut poll, 1, ms) == 1 }
        };
        assert!(!readable(20));
        gate.set(true).unwrap();
        assert!(readable(20_000));
        assert_eq!(child.join(), Ok(()));
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

#[test]
fn a_child_knows_who_it_is_and_who_its_parent_is() {
    type Told = (u32, String, bool, Option<(u32, String, bool)>, u32);
    fn tell() -> Told {
        let parent = parent().map(|parent| (parent.id(), parent.name().to_string(), parent.is_alive()));
        (current().id(), current().name().into(), current().is_daemon(), parent, std::os::unix::process::parent_id())
    }
    within(30, || {
        let me = std::process::id();
        for (method, daemon) in METHODS.into_iter().zip([false, true]) {
            let builder = Process::builder().name("liangxue").daemon(daemon).start_method(method);
            let child = builder.spawn(tell, ()).unwrap();
            assert_eq!((child.name(), child.is_daemon()), ("liangxue", daemon));
            let id = child.id();
            let parent = Some((me, "MainProcess".to_string(), true));
            assert_eq!(child.join().unwrap(), (id, "liangxue".into(), daemon, parent, me));
        }
        assert!(parent().is_none());
    });
}

#[test]
fn children_of_children() {
    fn nest(depth: u32) -> Vec<String> {
        let mut names = vec![current().name().to_string()];
        if depth > 0 {
            let first = Process::spawn(nest, (0,)).unwrap().join().unwrap();
            names.extend(first);
            names.extend(Process::spawn(nest, (depth - 1,)).unwrap().join().unwrap());
        }
        names
    }
    within(60, || {
        let child = Process::spawn(nest, (2,)).unwrap();
        let name = child.name().to_string();
        let suffixed = |suffix: &str| format!("{name}{suffix}");
        assert_eq!(
            child.join().unwrap(),
            [name.clone(), suffixed(":1"), suffixed(":2"), suffixed(":2:1"), suffixed(":2:2")]
        );
    });
}

#[test]
fn daemons_have_no_children() {
    within(30, || {
        let spawn = || Process::spawn(|| (), ()).map(drop).unwrap_err();
        // SAFETY: a process with one thread.
        let fork = || unsafe { crossproc::fork(|| ()) }.map(drop).unwrap_err();
        let child = Process::builder().daemon(true).spawn(spawn, ()).unwrap();
        assert_eq!(child.join(), Ok(SpawnError::DaemonChild));
        let child = Process::builder().daemon(true).spawn(fork, ()).unwrap();
        assert_eq!(child.join(), Ok(SpawnError::DaemonChild));
    });
}

#[test]
fn who_is_active() {
    within(60, || {
        let child = program("who_is_active_role", "", None);
        child.join();
    });
}

#[test]
fn who_is_active_role() {
    let Some(_) = role() else { return };
    assert!(active_children().is_empty());
    let kept = Process::spawn(|| util::until_killed(), ()).unwrap();
    let id = Process::builder().name("dropped").daemon(true).spawn(|| util::until_killed(), ()).unwrap().id();
    let mut active = active_children();
    active.sort_by(|a, b| a.name.cmp(&b.name));
    let seen: Vec<_> = active.iter().map(|child| (child.id, child.name.as_str(), child.daemon)).collect();
    assert_eq!(seen, [(kept.id(), "Process-1", false), (id, "dropped", true)]);
    kept.kill().unwrap();
    util::kill(id);
    until("both have ended", || active_children().is_empty());
    until("and are reaped", || zombies_of(std::process::id()).is_empty());
}

/// A child that was given up is reaped although this process does nothing for it.
#[test]
fn a_detached_child_is_reaped() {
    within(60, || program("a_detached_child_is_reaped_role", "", None).join());
}

#[test]
fn a_detached_child_is_reaped_role() {
    let Some(_) = role() else { return };
    let gate = Value::new(false).unwrap();
    let pids: Vec<u32> = (0..3)
        .map(|_| {
            let wait_for = |gate: Value<bool>| util::until("the gate opens", || gate.get());
            let child = Process::spawn(wait_for, (gate.clone(),)).unwrap();
            let pid = child.id();
            child.detach();
            pid
        })
        .collect();
    gate.set(true).unwrap();
    until("they are gone", || pids.iter().all(|pid| util::state(*pid).is_none()));
    // A detached one is not waited for at the end of this process.
    Process::spawn(|| util::until_killed(), ()).unwrap().detach();
    let left = active_children()[0].id;
    // A shell in the background kills it a while after this process has ended.
    let sh = format!("(sleep 1; kill -9 {left}) &");
    assert!(std::process::Command::new("/bin/sh").args(["-c", &sh]).status().unwrap().success());
}

#[test]
fn a_scope_joins_all_and_tells_of_the_first_failure() {
    within(30, || {
        let total = Value::new(0_u64).unwrap();
        let add = |total: Value<u64>, n: u64| total.update(|t| *t += n).unwrap();
        let done = scope(|s| {
            for n in 0..8 {
                s.spawn(add, (total.clone(), n));
            }
            "done"
        });
        assert_eq!((done, total.get()), (Ok("done"), 28));
        let sum = scope(|s| {
            let (a, b) = (s.spawn(|| 1, ()), s.spawn(|| 2, ()));
            Ok::<_, JoinError>(a.join()? + b.join()?)
        });
        assert_eq!(sum, Ok(Ok(3)));
        let failed = scope(|s| {
            s.spawn(add, (total.clone(), 100));
            let one = s.spawn(|| std::process::exit(7), ());
            assert_eq!(one.join(), Err::<(), _>(JoinError::Exited(7)), "its failure is not the scope's any more");
            s.spawn(|| std::process::exit(8), ());
            s.spawn(|| std::process::exit(9), ());
            s.spawn(add, (total.clone(), 100));
        });
        assert!(matches!(failed, Err(ScopeError::Child { error: JoinError::Exited(8), .. })), "{failed:?}");
        assert_eq!(total.get(), 228, "all were joined");
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            scope(|s| {
                s.spawn(add, (total.clone(), 1));
                std::panic::resume_unwind(Box::new("in the scope"));
            })
        }));
        assert_eq!(*panicked.unwrap_err().downcast::<&str>().unwrap(), "in the scope");
        assert_eq!(total.get(), 229);
        let foreign = scope(|s| s.spawn(|_: Stubborn| (), (Stubborn,)).id());
        assert!(matches!(foreign, Err(ScopeError::Spawn(SpawnError::Encode(_)))), "{foreign:?}");
    });
}

#[test]
fn a_fork_takes_its_captures_along() {
    within(60, || program("a_fork_takes_its_captures_along_role", "", None).join());
}

#[test]
fn a_fork_takes_its_captures_along_role() {
    let Some(_) = role() else { return };
    let captured = [1, 2, 3];
    let value = Value::new(0).unwrap();
    let guard = value.lock().unwrap();
    // SAFETY: the harness has one test thread, which waits, so nothing is locked.
    let child = unsafe {
        crossproc::fork(|| {
            assert!(value.try_lock().is_err(), "the guard is the parent's");
            let inner = Process::spawn(|| current().name().to_string(), ()).unwrap().join().unwrap();
            (captured.iter().sum::<i32>(), inner, parent().unwrap().id())
        })
    }
    .unwrap();
    let name = child.name().to_string();
    assert_eq!(child.join(), Ok((6, format!("{name}:1"), std::process::id())));
    drop(guard);
    // SAFETY: as above.
    let failed = unsafe { crossproc::fork(|| -> u8 { panic!("in a fork") }) }.unwrap();
    assert!(matches!(failed.join(), Err(JoinError::Panicked { message, .. }) if message == "in a fork"));
    // SAFETY: as above.
    let killed = unsafe { crossproc::fork::<()>(|| util::until_killed()) }.unwrap();
    killed.kill().unwrap();
    assert_eq!(killed.wait(), -9);
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
    within(60, || program("a_large_environment_role", "", None).join());
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
    within(60, || program("no_file_may_be_large_role", "", None).join());
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

/// Code that waits for any child may take the status of ours; the kernel keeps it, or it is lost, but nobody hangs.
#[test]
fn a_status_that_somebody_else_took() {
    within(60, || program("a_status_that_somebody_else_took_role", "", None).join());
}

#[test]
fn a_status_that_somebody_else_took_role() {
    let Some(_) = role() else { return };
    let child = Process::spawn(|| std::process::exit(5), ()).unwrap();
    // SAFETY: a status is not wanted.
    let taken = unsafe { libc::waitpid(child.id() as i32, std::ptr::null_mut(), 0) };
    assert_eq!(taken, child.id() as i32);
    assert!(matches!(child.join(), Err(JoinError::Exited(5) | JoinError::Lost)));
    // SAFETY: from here on, children vanish without a status.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    assert_eq!(Process::spawn(|| 5, ()).unwrap().join(), Ok(5), "the result was reported all the same");
    let killed = Process::spawn(|| util::until_killed(), ()).unwrap();
    killed.kill().unwrap();
    assert!(matches!(killed.join(), Err(JoinError::Signaled(9) | JoinError::Lost)));
}

/// Results that nobody takes give their handles back.
#[test]
fn a_result_that_nobody_wants() {
    within(60, || {
        let count = || -> usize { std::fs::read_dir("/proc/self/fd").unwrap().count() };
        let child = || Process::spawn(|| Array::<u64>::zeroed(20_000).unwrap(), ()).unwrap();
        child().join().unwrap();
        let before = count();
        for _ in 0..50 {
            let child = child();
            child.wait();
        }
        assert!(count() < before + 25, "{before} and then {}", count());
    });
}

/// The end of a process that has running children: it joins them, unless they are daemons.
#[test]
fn the_end_of_a_parent_waits_for_its_children() {
    within(60, || {
        let marker = std::env::temp_dir().join(format!("crossproc-end-{}", std::process::id()));
        let path = marker.to_str().unwrap().to_string();
        let start = Instant::now();
        program("the_end_of_a_parent_waits_for_its_children_role", &path, None).join();
        assert!(start.elapsed() < Duration::from_secs(20));
        let text = std::fs::read_to_string(&marker).unwrap_or_default();
        let _ = std::fs::remove_file(&marker);
        let daemon: u32 = text.trim().parse().expect("the child had the time to write");
        assert!(!is_running(daemon), "the daemon is gone");
    });
}

#[test]
fn the_end_of_a_parent_waits_for_its_children_role() {
    let Some(path) = role() else { return };
    let daemon = Process::builder().daemon(true).spawn(|| util::until_killed(), ()).unwrap().id();
    fn write_late(path: String, daemon: u32) {
        std::thread::sleep(Duration::from_millis(300));
        std::fs::write(path, daemon.to_string()).unwrap();
    }
    Process::spawn(write_late, (path, daemon)).unwrap();
    std::process::exit(0);
}

/// A fork child's end is not its parent's: it does not wait for its parent's children.
#[test]
fn the_end_of_a_fork_child_waits_for_nobody() {
    within(60, || program("the_end_of_a_fork_child_waits_for_nobody_role", "", None).join());
}

#[test]
fn the_end_of_a_fork_child_waits_for_nobody_role() {
    let Some(_) = role() else { return };
    let child = Process::spawn(|| util::until_killed(), ()).unwrap();
    // SAFETY: the harness has one test thread, which waits.
    match unsafe { libc::fork() } {
        0 => std::process::exit(NOT_RUN),
        pid => {
            let mut status = 0;
            // SAFETY: a valid place.
            let waited = unsafe { libc::waitpid(pid, &mut status, 0) };
            assert_eq!((waited, libc::WEXITSTATUS(status)), (pid, NOT_RUN));
        }
    }
    assert!(child.is_alive());
    child.kill().unwrap();
    child.wait();
}
