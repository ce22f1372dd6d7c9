//! The environment of a child: exactly what its caller has at the time of the spawn, whatever the fork server has.

use crate::METHODS;
use crate::util::{
    CORE, DESCRIPTORS, NOBODY, NOT_RUN, STACK, become_nobody, in_a_program, is_root, resource_limit, role, servers_of,
    set_resource_limit, unshare, within,
};
use crossproc::{Process, ProcessBuilder, SpawnError, Stdio};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;

/// Each role changes the process that it runs in, so it has one of its own.
fn each(test: impl Fn(&dyn Fn() -> ProcessBuilder)) {
    METHODS.iter().for_each(|method| test(&|| Process::builder().start_method(*method)));
}

fn affinity() -> Vec<u8> {
    let mut mask = vec![0_u8; 128];
    // SAFETY: a mask of that size.
    unsafe { libc::sched_getaffinity(0, mask.len(), mask.as_mut_ptr().cast()) };
    mask
}

fn umask() -> u32 {
    // SAFETY: no pointers.
    unsafe {
        let umask = libc::umask(0);
        libc::umask(umask)
    }
}

fn set_umask(umask: u32) {
    // SAFETY: no pointers.
    unsafe { libc::umask(umask) };
}

#[test]
fn everything_is_as_it_is_at_the_spawn() {
    in_a_program(60, everything_is_as_it_is_at_the_spawn_role);
}

#[test]
fn everything_is_as_it_is_at_the_spawn_role() {
    let Some(_) = role() else { return };
    type Seen = (String, u32, Vec<(u64, u64)>, Vec<u8>, i32, i32, BTreeMap<String, String>);
    fn look() -> Seen {
        let folder = std::env::current_dir().unwrap().to_str().unwrap().to_owned();
        let limits = (0..16).map(resource_limit).collect();
        // SAFETY: no pointers.
        let (group, nice) = unsafe { (libc::getpgrp(), libc::getpriority(libc::PRIO_PROCESS, 0)) };
        (folder, umask(), limits, affinity(), group, nice, std::env::vars().collect())
    }
    each(|builder| assert_eq!(builder().spawn(look, ()).unwrap().join().unwrap(), look(), "at first"));
    // The fork server has its own by now.
    std::env::set_current_dir("/usr").unwrap();
    set_umask(0o077);
    set_resource_limit(DESCRIPTORS, resource_limit(DESCRIPTORS).0 - 7);
    set_resource_limit(STACK, 4 << 20);
    set_resource_limit(CORE, 0);
    // SAFETY: the harness's one test thread changes it; a mask of the first processor; no pointers.
    unsafe {
        std::env::set_var("CROSSPROC_TEST_NEW", "中 = 文");
        std::env::remove_var("CARGO_MANIFEST_DIR");
        let first = affinity().iter().position(|byte| *byte != 0).unwrap();
        let mut mask = [0_u8; 128];
        mask[first] = 1 << affinity()[first].trailing_zeros();
        libc::sched_setaffinity(0, mask.len(), mask.as_ptr().cast());
        libc::setpgid(0, 0);
        libc::setpriority(libc::PRIO_PROCESS, 0, 3);
    }
    each(|builder| assert_eq!(builder().spawn(look, ()).unwrap().join().unwrap(), look(), "changed"));
    each(|builder| {
        let child = builder().env("CROSSPROC_TEST_NEW", "other").env("CROSSPROC_TEST_TOO", "").spawn(look, ()).unwrap();
        let environment = child.join().unwrap().6;
        assert_eq!((&*environment["CROSSPROC_TEST_NEW"], &*environment["CROSSPROC_TEST_TOO"]), ("other", ""));
        assert!(!environment.contains_key("CROSSPROC_ROLE") && !environment.contains_key("LD_BIND_NOW"));
        let refused = builder().env("A=B", "").spawn(look, ()).unwrap_err();
        assert!(matches!(refused, SpawnError::Os(_)), "{refused}");
    });
    let gone = std::env::temp_dir().join(format!("crossproc-gone-{}", std::process::id()));
    std::fs::create_dir(&gone).unwrap();
    std::env::set_current_dir(&gone).unwrap();
    std::fs::remove_dir(&gone).unwrap();
    each(|builder| assert_eq!(builder().spawn(|| 1, ()).unwrap().join(), Ok(1), "in a folder that was removed"));
}

#[test]
fn signals_are_as_in_a_fresh_program() {
    in_a_program(60, signals_are_as_in_a_fresh_program_role);
}

#[test]
fn signals_are_as_in_a_fresh_program_role() {
    let Some(_) = role() else { return };
    // SAFETY: no handlers, valid sets.
    unsafe {
        libc::signal(libc::SIGTERM, libc::SIG_IGN);
        libc::signal(libc::SIGUSR1, libc::SIG_IGN);
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, std::ptr::null_mut());
    }
    fn look() -> (Vec<i32>, bool) {
        // SAFETY: plain data, valid places.
        unsafe {
            let mut mask: libc::sigset_t = std::mem::zeroed();
            libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), &mut mask);
            let ignored = (1..=64).filter(|signal| {
                let mut action: libc::sigaction = std::mem::zeroed();
                libc::sigaction(*signal, std::ptr::null(), &mut action) == 0 && action.sa_sigaction != libc::SIG_DFL
            });
            (ignored.collect(), (1..32).any(|signal| libc::sigismember(&mask, signal) == 1))
        }
    }
    each(|builder| {
        let seen = builder().spawn(look, ()).unwrap().join().unwrap();
        assert_eq!(seen, (vec![libc::SIGPIPE], false), "as in every Rust program");
    });
}

#[test]
fn streams_are_the_callers_or_what_was_asked_for() {
    within(60, || {
        each(|builder| {
            let (mut reader, writer) = std::io::pipe().unwrap();
            let (input, mut typed) = std::io::pipe().unwrap();
            typed.write_all("typed 中文\n".as_bytes()).unwrap();
            drop(typed);
            fn copy() {
                let mut text = String::new();
                std::io::stdin().read_to_string(&mut text).unwrap();
                print!("{text}without an end of line");
                eprintln!("to the other one");
            }
            let errors = writer.try_clone().unwrap();
            let child = builder().stdin(input).stdout(writer).stderr(errors).spawn(copy, ()).unwrap();
            let mut text = String::new();
            reader.read_to_string(&mut text).unwrap();
            assert_eq!(child.join(), Ok(()));
            assert!(text.contains("typed 中文\n") && text.contains("without an end of line"), "{text:?}");
            assert!(text.contains("to the other one\n"), "{text:?}");
        });
        fn look() -> [(u64, u64); 3] {
            use std::os::unix::fs::MetadataExt;
            [0, 1, 2].map(|fd| std::fs::metadata(format!("/proc/self/fd/{fd}")).map_or((0, 0), |d| (d.dev(), d.ino())))
        }
        let null = |path: &str| {
            use std::os::unix::fs::MetadataExt;
            std::fs::metadata(path).map(|data| (data.dev(), data.ino())).unwrap()
        };
        each(|builder| {
            let seen = builder().spawn(look, ()).unwrap().join().unwrap();
            let [_, out, err] = look();
            assert_eq!(seen, [null("/dev/null"), out, err]);
            let seen = builder().stdin(Stdio::inherit()).stdout(Stdio::null()).spawn(look, ()).unwrap().join().unwrap();
            assert_eq!(seen, [look()[0], null("/dev/null"), err]);
        });
    });
}

#[test]
fn closed_streams_are_open_in_a_child() {
    in_a_program(60, closed_streams_are_open_in_a_child_role);
}

#[test]
fn closed_streams_are_open_in_a_child_role() {
    let Some(_) = role() else { return };
    // SAFETY: nobody here uses them.
    (0..3).for_each(|fd| assert_eq!(unsafe { libc::close(fd) }, 0));
    each(|builder| {
        let open = |fd: i32| std::fs::read_link(format!("/proc/self/fd/{fd}")).is_ok_and(|to| to.ends_with("null"));
        let seen = builder().spawn(
            |f: [i32; 3]| f.map(|fd| std::path::Path::new(&format!("/proc/self/fd/{fd}")).exists()),
            ([0, 1, 2],),
        );
        assert_eq!(seen.unwrap().join(), Ok([true; 3]));
        assert!(!open(1), "this process's own stay closed");
    });
}

/// Descriptors of the parent that would survive an exec are closed in a child, and the child has none of the server's.
#[test]
fn only_the_named_descriptors_cross() {
    in_a_program(60, only_the_named_descriptors_cross_role);
}

#[test]
fn only_the_named_descriptors_cross_role() {
    let Some(_) = role() else { return };
    fn open() -> Vec<(i32, String)> {
        let folder = std::fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap());
        let name = |entry: &std::fs::DirEntry| entry.file_name().to_str().unwrap().parse::<i32>().unwrap();
        let target = |entry: &std::fs::DirEntry| std::fs::read_link(entry.path()).map(|to| to.display().to_string());
        let mut open: Vec<_> = folder.filter_map(|entry| Some((name(&entry), target(&entry).ok()?))).collect();
        open.retain(|(fd, to)| *fd > 2 && !to.contains("/proc/") && !to.contains("/fd"));
        open
    }
    let null = std::fs::File::open("/dev/null").unwrap();
    // SAFETY: 200 is free.
    let inheritable = unsafe { libc::dup2(null.as_raw_fd(), 200) };
    assert_eq!(inheritable, 200);
    each(|builder| {
        for _ in 0..2 {
            let open = builder().spawn(open, ()).unwrap().join().unwrap();
            let kinds: Vec<_> = open.iter().map(|(_, to)| to.split(':').next().unwrap()).collect();
            assert!(open.iter().all(|(fd, _)| *fd < 200), "{open:?}");
            assert_eq!(kinds.iter().filter(|kind| **kind == "socket").count(), 1, "the control stream: {open:?}");
            assert_eq!(kinds.iter().filter(|kind| **kind == "pipe").count(), 1, "the parent's end: {open:?}");
            assert_eq!(kinds.len(), 2, "{open:?}");
        }
    });
    // Also in the server.
    let server = servers_of(std::process::id())[0];
    assert!(!std::path::Path::new(&format!("/proc/{server}/fd/200")).exists());
}

#[test]
fn after_root_is_dropped_no_child_is_root() {
    in_a_program(60, after_root_is_dropped_no_child_is_root_role);
}

#[test]
fn after_root_is_dropped_no_child_is_root_role() {
    let Some(_) = role() else { return };
    if !is_root() {
        std::process::exit(NOT_RUN);
    }
    // SAFETY: no arguments.
    let user = || unsafe { (libc::getuid(), libc::geteuid()) };
    assert_eq!(Process::spawn(user, ()).unwrap().join(), Ok((0, 0)));
    let first = servers_of(std::process::id());
    become_nobody();
    for _ in 0..2 {
        assert_eq!(Process::spawn(user, ()).unwrap().join(), Ok((NOBODY, NOBODY)));
    }
    fn try_to_be_root() -> i32 {
        // SAFETY: no pointers.
        unsafe { libc::setuid(0) }
    }
    assert_eq!(Process::spawn(try_to_be_root, ()).unwrap().join(), Ok(-1));
    let now = servers_of(std::process::id());
    assert!(now.iter().any(|server| !first.contains(server)), "another server: {first:?}, {now:?}");
}

#[test]
fn other_standings_start_another_server_too() {
    in_a_program(60, other_standings_start_another_server_too_role);
}

#[test]
fn other_standings_start_another_server_too_role() {
    let Some(_) = role() else { return };
    fn session() -> i32 {
        // SAFETY: a number in, a number out.
        unsafe { libc::getsid(0) }
    }
    fn privileges() -> (i32, String) {
        // SAFETY: no pointers.
        let none = unsafe { libc::prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) };
        (none, std::fs::read_link("/proc/thread-self/ns/uts").unwrap().display().to_string())
    }
    assert_eq!(Process::spawn(session, ()).unwrap().join(), Ok(session()));
    // SAFETY: no pointers. The harness starts this as a group of its own or not: then it has a session already.
    if unsafe { libc::setsid() } != -1 {
        assert_eq!(Process::spawn(session, ()).unwrap().join(), Ok(session()));
    }
    // SAFETY: no pointers.
    unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    assert_eq!(Process::spawn(privileges, ()).unwrap().join(), Ok(privileges()));
    if !unshare(libc::CLONE_NEWUTS) {
        std::process::exit(NOT_RUN);
    }
    assert_eq!(Process::spawn(privileges, ()).unwrap().join(), Ok(privileges()), "another namespace");
}
