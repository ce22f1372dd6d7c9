//! Many children: at once, one after another, from several threads, and beyond the limits of the system.

use crate::util::{
    self, DESCRIPTORS, NOT_RUN, PROCESSES, become_nobody, children_of, descriptors, in_a_program, is_root, role,
    set_resource_limit, until, within, zombies_of,
};
use crossproc::{Array, Process, SpawnError, Value};
use std::collections::HashSet;

/// In a program of its own: nothing may be left of its children.
fn nothing_is_left(before: usize) {
    let me = std::process::id();
    assert!(crossproc::active_children().is_empty());
    until("no zombie is left", || zombies_of(me).is_empty());
    assert!(descriptors() <= before, "{before} descriptors, then {:#?}", util::open_descriptors());
    crossproc::testing::close_fork_server();
    assert_eq!(children_of(me), [] as [u32; 0]);
}

/// Starts what stays: a server, an arena.
fn warm_up() -> (usize, Value<u64>) {
    let kept = Value::new(0_u64).unwrap();
    assert_eq!(Process::spawn(|_: Value<u64>| 1, (kept.clone(),)).unwrap().join(), Ok(1));
    (descriptors(), kept)
}

#[test]
fn many_that_end_at_once() {
    in_a_program(120, many_that_end_at_once_role);
}

#[test]
fn many_that_end_at_once_role() {
    let Some(_) = role() else { return };
    let (before, count) = warm_up();
    let gate = Value::new(false).unwrap();
    fn wait(gate: Value<bool>, count: Value<u64>, i: u64) -> u64 {
        *count.lock().unwrap() += 1;
        until("the gate opens", || gate.get());
        i
    }
    let children: Vec<_> = (0..64).map(|i| Process::spawn(wait, (gate.clone(), count.clone(), i)).unwrap()).collect();
    let pids: HashSet<u32> = children.iter().map(Process::id).collect();
    assert_eq!(pids.len(), 64);
    until("all are there", || count.get() == 64);
    gate.set(true).unwrap();
    for (i, child) in children.into_iter().enumerate() {
        assert_eq!(child.join(), Ok(i as u64));
    }
    drop(gate);
    nothing_is_left(before + 1); // the arena of the gate's size
}

#[test]
fn a_thousand_one_after_another() {
    in_a_program(120, a_thousand_one_after_another_role);
}

#[test]
fn a_thousand_one_after_another_role() {
    let Some(_) = role() else { return };
    let (before, count) = warm_up();
    fn add(count: Value<u64>, i: u64) -> u64 {
        *count.lock().unwrap() += 1;
        i
    }
    for i in 0..1000 {
        assert_eq!(Process::spawn(add, (count.clone(), i)).unwrap().join(), Ok(i));
    }
    // Handles that are dropped at once.
    for i in 0..200 {
        Process::spawn(add, (count.clone(), i)).unwrap();
    }
    until("all have run", || count.get() == 1200);
    until("all have ended", || crossproc::active_children().is_empty());
    nothing_is_left(before);
}

#[test]
fn threads_that_allocate_and_lock_while_others_spawn() {
    in_a_program(120, threads_that_allocate_and_lock_while_others_spawn_role);
}

#[test]
fn threads_that_allocate_and_lock_while_others_spawn_role() {
    let Some(_) = role() else { return };
    let (before, _kept) = warm_up();
    let over = std::sync::atomic::AtomicBool::new(false);
    let value = Value::new(0_u64).unwrap();
    fn use_all(value: Value<u64>, i: u64) -> Vec<u64> {
        *value.lock().unwrap() += 1;
        println!();
        std::thread::spawn(move || (0..i).collect()).join().unwrap()
    }
    std::thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| {
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    let array = Array::<u8>::zeroed(100).unwrap();
                    *value.lock().unwrap() += 0;
                    let _more = (Value::new(1_u8).unwrap(), vec![0_u8; 10_000], array);
                    println!();
                }
            });
        }
        let spawners: Vec<_> = (0..2)
            .map(|_| {
                threads.spawn(|| {
                    for i in 0..25 {
                        let child = Process::spawn(use_all, (value.clone(), i)).unwrap();
                        assert_eq!(child.join().unwrap().len() as u64, i);
                    }
                })
            })
            .collect();
        spawners.into_iter().for_each(|spawner| spawner.join().unwrap());
        over.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert_eq!(value.get(), 50);
    drop(value);
    nothing_is_left(before + 4);
}

/// Children that start children, three deep, all at once.
#[test]
fn a_tree() {
    fn grow(total: Value<u64>, depth: u32) -> crossproc::Result<()> {
        *total.lock()? += 1;
        if depth > 0 {
            let children: Result<Vec<_>, _> =
                (0..3).map(|_| Process::spawn(grow, (total.clone(), depth - 1))).collect();
            for child in children? {
                child.join()??;
            }
        }
        Ok(())
    }
    within(60, || {
        let total = Value::new(0).unwrap();
        Process::spawn(grow, (total.clone(), 3)).unwrap().join().unwrap().unwrap();
        assert_eq!(total.get(), 1 + 3 + 9 + 27);
    });
}

#[test]
fn no_more_processes() {
    in_a_program(60, no_more_processes_role);
}

#[test]
fn no_more_processes_role() {
    let Some(_) = role() else { return };
    if is_root() {
        become_nobody(); // the limit is not for root
    }
    let (before, _kept) = warm_up();
    let tasks = || {
        let all = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            use std::os::unix::fs::MetadataExt;
            let owner = entry.metadata().ok()?.uid();
            // SAFETY: no arguments.
            (owner == unsafe { libc::getuid() })
                .then(|| std::fs::read_dir(format!("/proc/{pid}/task")).map_or(1, Iterator::count))
        });
        all.sum::<usize>() as u64
    };
    let usual = set_resource_limit(PROCESSES, tasks() + 3);
    let mut children = Vec::new();
    let refused = loop {
        match Process::builder().daemon(true).spawn(|| util::until_killed(), ()) {
            Ok(child) => children.push(child),
            Err(error) => break error,
        }
        if children.len() > 50 {
            std::process::exit(NOT_RUN);
        }
    };
    assert_eq!(refused, SpawnError::Os(crossproc::Os(libc::EAGAIN)));
    assert!(Process::spawn(|| (), ()).is_err(), "still");
    assert!(children.iter().all(Process::is_alive), "nobody else is harmed");
    let last = children.pop().unwrap();
    last.kill().unwrap();
    last.wait();
    drop(last);
    assert_eq!(Process::spawn(|| 1, ()).map(Process::join), Ok(Ok(1)), "there is room for one again");
    set_resource_limit(PROCESSES, usual);
    for _ in 0..5 {
        assert_eq!(Process::spawn(|| 1, ()).unwrap().join(), Ok(1));
    }
    children.into_iter().for_each(|child| {
        child.kill().unwrap();
        child.wait();
    });
    nothing_is_left(before);
}

#[test]
fn no_more_descriptors() {
    in_a_program(60, no_more_descriptors_role);
}

#[test]
fn no_more_descriptors_role() {
    let Some(_) = role() else { return };
    let (before, kept) = warm_up();
    let usual = set_resource_limit(DESCRIPTORS, 64);
    let mut files = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        files.push(file);
    }
    // With no descriptor free, with one, with two, ..: an error or a child that works, never half of one.
    let mut worked = 0;
    for room in 0..30 {
        let value = kept.get();
        match Process::spawn(|kept: Value<u64>| *kept.lock().unwrap() += 1, (kept.clone(),)) {
            Ok(child) => {
                assert_eq!(child.join(), Ok(()), "with room for {room}");
                assert_eq!(kept.get(), value + 1);
                worked += 1;
            }
            Err(error) => {
                assert!(matches!(error, SpawnError::Os(_) | SpawnError::Encode(_)), "{error}");
                assert_eq!(worked, 0, "with more room it worked already: {error}");
                assert_eq!(kept.get(), value, "nothing ran");
            }
        }
        files.pop();
    }
    assert!((5..30).contains(&worked), "{worked}");
    drop(files);
    set_resource_limit(DESCRIPTORS, usual);
    assert_eq!(Process::spawn(|| 1, ()).unwrap().join(), Ok(1));
    nothing_is_left(before);
}

/// A child with room for few descriptors says so when its arguments need more.
#[test]
fn arguments_that_need_more_descriptors_than_a_child_may_have() {
    in_a_program(60, arguments_that_need_more_descriptors_role);
}

#[test]
fn arguments_that_need_more_descriptors_role() {
    let Some(_) = role() else { return };
    let arrays: Vec<_> = (0..100).map(|_| Array::<u64>::zeroed(10_000).unwrap()).collect();
    let (before, _kept) = warm_up();
    let usual = set_resource_limit(DESCRIPTORS, 400);
    let count = |arrays: Vec<Array<u64>>| arrays.len();
    assert_eq!(Process::spawn(count, (arrays.clone(),)).unwrap().join(), Ok(100));
    set_resource_limit(DESCRIPTORS, descriptors() as u64 + 20);
    assert!(Process::spawn(count, (arrays.clone(),)).is_err(), "no room to send them from");
    set_resource_limit(DESCRIPTORS, usual);
    assert_eq!(Process::spawn(count, (arrays,)).unwrap().join(), Ok(100));
    nothing_is_left(before);
}
