//! A child as its parent sees it: waits, signals, identity, children of its own, and ends of all kinds.

use crate::METHODS;
use crate::util::{
    self, NOT_RUN, by_itself, in_a_program, is_running, program, role, servers_of, until, within, zombies_of,
};
use crossproc::{Array, JoinError, Process, ScopeError, SpawnError, Value, active_children, current, parent, scope};
use serde::{Deserialize, Serialize};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// A value that cannot be encoded.
#[derive(Deserialize)]
struct Stubborn;

impl Serialize for Stubborn {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("not today"))
    }
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
fn a_signal_right_after_a_spawn_is_not_lost() {
    in_a_program(60, a_signal_right_after_a_spawn_role);
}

#[test]
fn a_signal_right_after_a_spawn_role() {
    let Some(_) = role() else { return };
    for round in 0..200 {
        let child = Process::builder().daemon(true).spawn(|| util::until_killed(), ()).unwrap();
        child.terminate().unwrap();
        assert_eq!(child.wait_timeout(util::LIMIT), Some(-15), "round {round}");
        if round % 50 == 0 {
            crossproc::testing::close_fork_server(); // the next one is a server's first
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
        let child = program(who_is_active_role, "", None);
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
    in_a_program(60, a_detached_child_is_reaped_role);
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
fn a_scope_joins_all_and_returns_the_first_failure() {
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
    in_a_program(60, a_fork_takes_its_captures_along_role);
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

/// Code that waits for any child may take the status of ours; the kernel keeps it, or it is lost, but nobody hangs.
#[test]
fn a_status_that_somebody_else_took() {
    in_a_program(60, a_status_that_somebody_else_took_role);
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
fn a_result_that_nobody_takes() {
    by_itself(60, || {
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
        program(the_end_of_a_parent_waits_for_its_children_role, &path, None).join();
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
    in_a_program(60, the_end_of_a_fork_child_waits_for_nobody_role);
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
