//! The processes and names that remain when a parent, its whole group, or a fork server is killed.

use crate::util::{
    self, children_of, descriptors, in_a_program, is_running, name_exists, program, role, role_stream, servers_of,
    until, until_killed, until_within, within, zombies_of,
};
use crossproc::{Array, JoinError, Named, Process, StartMethod, Value, parent};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// After that nothing of a killed family may be left.
const SOON: Duration = Duration::from_secs(3);

/// The message of a parent before it is killed.
#[derive(serde::Serialize, serde::Deserialize)]
struct Family {
    daemons: Vec<u32>,
    others: Vec<u32>,
    servers: Vec<u32>,
    /// All children, the one that waits for an order among them.
    children: Vec<u32>,
}

fn named(name: &str) -> Named<Value<u64>> {
    Value::named(name)
}

/// Holds a name of its own until its parent has ended, and a while longer.
fn outlive(name: String, own: String) {
    let opened = named(&name).open().unwrap();
    let parent = parent().unwrap();
    assert!(parent.is_alive());
    let kept = named(&own).create(7).unwrap(); // from here on the parent may be killed
    until("the parent ends", || parent.wait_timeout(Duration::from_millis(50)));
    assert!(!parent.is_alive());
    *opened.lock().unwrap() += 1; // it is usable although its maker is gone
    until("the gate opens", || opened.get() >= 100);
    drop((kept, opened));
}

fn keep(name: String, value: Value<u64>) {
    let _kept = named(&name).create(1).unwrap();
    *value.lock().unwrap() += 1;
    until_killed()
}

/// The family of a program that is about to be killed.
#[test]
fn family_role() {
    let Some(name) = role() else { return };
    // SAFETY: no pointers.
    unsafe { libc::setpgid(0, 0) };
    let value = Value::new(0_u64).unwrap();
    let _array = Array::<u64>::zeroed(100_000).unwrap();
    let shared = named(&name).create(1).unwrap();
    let mut family = Family { daemons: Vec::new(), others: Vec::new(), servers: Vec::new(), children: Vec::new() };
    for (i, method) in [StartMethod::ForkServer, StartMethod::Spawn, StartMethod::ForkServer].into_iter().enumerate() {
        let builder = Process::builder().daemon(true).start_method(method);
        let daemon = builder.spawn(keep, (format!("{name}.daemon{i}"), value.clone())).unwrap();
        family.daemons.push(daemon.id());
    }
    let other = Process::spawn(outlive, (name.clone(), format!("{name}.other"))).unwrap();
    family.others.push(other.id());
    until("all are there", || value.get() == 3 && name_exists(&format!("{name}.other")));
    family.servers = servers_of(std::process::id());
    family.children = children_of(std::process::id());
    let _guard = shared.lock().unwrap();
    crossproc::transfer::send(&role_stream(), &family).unwrap();
    until_killed()
}

fn family_is_killed(whole_group: bool) {
    let name = util::unique("family");
    let (here, there) = UnixStream::pair().unwrap();
    let mut parent = program(family_role, &name, Some(&there));
    drop(there);
    let family: Family = crossproc::transfer::recv(&here).unwrap();
    assert_eq!((family.daemons.len(), family.servers.len()), (3, 1));
    if whole_group {
        // SAFETY: the group of the program.
        unsafe { libc::kill(-(parent.pid() as i32), libc::SIGKILL) };
    }
    assert_eq!(parent.kill(), -9);
    until_within(SOON, "the daemons are gone", || !family.daemons.iter().any(|pid| is_running(*pid)));
    let daemons_names = || (0..3).any(|i| name_exists(&format!("{name}.daemon{i}")));
    until_within(SOON, "the daemons' names are gone", || !daemons_names());
    if !whole_group {
        assert!(is_running(family.others[0]), "the other child goes on");
        let shared = named(&name).open().expect("the child uses it");
        until_within(SOON, "it has noticed", || shared.get() == 2);
        assert!(name_exists(&format!("{name}.other")) && is_running(family.servers[0]));
        *shared.lock().unwrap() = 100;
    }
    until_within(SOON, "no process is left", || !family.children.iter().any(|pid| is_running(*pid)));
    assert!(!name_exists(&name) && !name_exists(&format!("{name}.other")), "no name is left");
    let left = util::names_left().into_iter().filter(|left| left.contains(&name)).collect::<Vec<_>>();
    assert_eq!(left, Vec::<String>::new());
}

#[test]
fn the_parent_is_killed() {
    within(60, || family_is_killed(false));
}

#[test]
fn the_whole_group_is_killed() {
    within(60, || family_is_killed(true));
}

#[test]
fn the_server_is_killed() {
    in_a_program(60, the_server_is_killed_role);
}

#[test]
fn the_server_is_killed_role() {
    let Some(_) = role() else { return };
    let me = std::process::id();
    let gate = Value::new(0_u8).unwrap();
    fn wait_for(gate: Value<u8>, number: u8) -> u8 {
        until("the gate opens", || gate.get() != 0);
        number
    }
    let early: Vec<_> = (0..3).map(|i| Process::spawn(wait_for, (gate.clone(), i)).unwrap()).collect();
    let failing = Process::spawn(
        |gate: Value<u8>| {
            wait_for(gate, 0);
            std::process::exit(9)
        },
        (gate.clone(),),
    )
    .unwrap();
    let kill_servers = || {
        // The child that a killed server had forked ahead gets the next order, so another server may come later.
        while servers_of(me).is_empty() {
            assert_eq!(Process::spawn(|| 1, ()).unwrap().join(), Ok(1));
        }
        let servers = servers_of(me);
        assert_eq!(servers.len(), 1);
        servers.iter().copied().for_each(util::kill);
        until("it has ended", || !servers.iter().any(|server| is_running(*server)));
        servers[0]
    };
    let killed = kill_servers();
    assert!(early.iter().all(Process::is_alive), "children notice nothing");
    // A handle from before still travels, also to a child of another server.
    let mut late = Vec::new();
    for round in 0..5 {
        late.push(Process::spawn(wait_for, (gate.clone(), 10 + round)).unwrap());
        assert_ne!(kill_servers(), killed);
    }
    // Its children are watched by the next one: a name that one of them leaves goes.
    let name = util::unique("left");
    fn leave(name: String) {
        std::mem::forget(named(&name).create(1));
        until_killed()
    }
    let leaver = Process::spawn(leave, (name.clone(),)).unwrap();
    until("the name is there", || name_exists(&name));
    kill_servers();
    until("there is another", || {
        assert_eq!(Process::spawn(|| 1, ()).unwrap().join(), Ok(1));
        !servers_of(me).is_empty()
    });
    leaver.kill().unwrap();
    until_within(SOON, "the name is gone", || !name_exists(&name));
    gate.set(1).unwrap();
    for (i, child) in early.into_iter().enumerate() {
        assert_eq!(child.join(), Ok(i as u8));
    }
    for (i, child) in late.into_iter().enumerate() {
        assert_eq!(child.join(), Ok(10 + i as u8));
    }
    assert_eq!(failing.join(), Err(JoinError::Exited(9)));
    leaver.wait();
    until("nothing is left unreaped", || {
        let _ = crossproc::active_children();
        zombies_of(me).is_empty()
    });
}

/// Somebody kills the child that waits for its order: the next one gets it.
#[test]
fn the_waiting_child_is_killed() {
    in_a_program(60, the_waiting_child_is_killed_role);
}

#[test]
fn the_waiting_child_is_killed_role() {
    let Some(_) = role() else { return };
    let me = std::process::id();
    let count = Value::new(0_u64).unwrap();
    let add = |count: Value<u64>| *count.lock().unwrap() += 1;
    let mut done = 0;
    for round in 1..=20 {
        match Process::spawn(add, (count.clone(),)).unwrap().join() {
            Ok(()) => done += 1,
            // The order was written while the child that was to read it died.
            Err(error) => assert!(round % 2 == 0 && error == JoinError::Signaled(9), "{round}: {error}"),
        }
        assert_eq!(count.get(), done, "once or not at all");
        let waiting = || children_of(me).into_iter().find(|pid| is_running(*pid) && !servers_of(me).contains(pid));
        until("one waits", || waiting().is_some());
        waiting().into_iter().for_each(util::kill);
        if round % 2 == 0 {
            until("it is dead", || !zombies_of(me).is_empty());
        }
    }
    assert!(done >= 10);
    crossproc::testing::close_fork_server();
    assert_eq!(zombies_of(me), [] as [u32; 0]);
}

/// With servers killed all the time, a spawn gives an error or a child, never a hang, and each child runs once.
#[test]
fn servers_are_killed_all_the_time() {
    in_a_program(120, servers_are_killed_all_the_time_role);
}

#[test]
fn servers_are_killed_all_the_time_role() {
    let Some(_) = role() else { return };
    let me = std::process::id();
    let over = std::sync::atomic::AtomicBool::new(false);
    let count = Value::new(0_u64).unwrap();
    let add = |count: Value<u64>| *count.lock().unwrap() += 1;
    let mut done = 0;
    std::thread::scope(|threads| {
        threads.spawn(|| {
            let mut random = util::Random(me.into());
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                std::thread::sleep(Duration::from_micros(random.next() % 4000));
                servers_of(me).into_iter().for_each(util::kill);
            }
        });
        for _ in 0..150 {
            match Process::spawn(add, (count.clone(),)).map(Process::join) {
                Ok(Ok(())) => done += 1,
                Ok(Err(error)) => panic!("a child that nobody killed: {error}"),
                Err(error) => assert!(matches!(error, crossproc::SpawnError::Os(_)), "{error}"),
            }
        }
        over.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert_eq!(count.get(), done, "each once");
    assert!(done > 50, "{done}");
}

/// A child whose `spawn` returned runs, although its parent ends at once.
#[test]
fn a_parent_that_ends_right_after_a_spawn() {
    within(120, || {
        let name = util::unique("right-after");
        let count = named(&name).create(0).unwrap();
        for (round, way) in ["exit", "abort", "second exit"].into_iter().cycle().take(90).enumerate() {
            let code = program(a_parent_that_ends_right_after_a_spawn_role, &format!("{name} {way}"), None).wait();
            assert_eq!(code, if way == "abort" { -libc::SIGABRT } else { 0 });
            until("the child has run", || count.get() == round as u64 + 1);
        }
    });
}

#[test]
fn a_parent_that_ends_right_after_a_spawn_role() {
    let Some(argument) = role() else { return };
    let (name, way) = argument.split_once(' ').unwrap();
    if way == "second exit" {
        Process::spawn(|| (), ()).unwrap().join().unwrap();
    }
    let count = named(name).open().unwrap();
    Process::spawn(|count: Value<u64>| *count.lock().unwrap() += 1, (count,)).unwrap().detach();
    if way == "abort" { std::process::abort() } else { std::process::exit(0) }
}

/// A parent that ends in order leaves no server and no child behind, and this one no descriptor.
#[test]
fn nothing_is_left() {
    within(60, || {
        let mut child = program(nothing_is_left_role, "", None);
        let pid = child.pid();
        let mut seen = Vec::new();
        until("it has a server", || {
            seen.extend(servers_of(pid));
            !seen.is_empty() || !is_running(pid)
        });
        assert_eq!(child.wait(), 0);
        until_within(SOON, "the server is gone", || !seen.iter().any(|server| is_running(*server)));
    });
}

#[test]
fn nothing_is_left_role() {
    let Some(_) = role() else { return };
    let _kept = Value::new(0_u8).unwrap(); // and with it the arena
    assert_eq!(Process::spawn(|| 1, ()).unwrap().join(), Ok(1));
    let before = descriptors();
    for i in 0..100_u8 {
        let method = if i % 10 == 0 { StartMethod::Spawn } else { StartMethod::ForkServer };
        let value = Value::new(i).unwrap();
        let child = Process::builder().start_method(method).spawn(|value: Value<u8>| value, (value,)).unwrap();
        assert_eq!(child.join().unwrap().get(), i);
    }
    assert!(descriptors() <= before, "{before}, then {}", descriptors());
    crossproc::testing::close_fork_server();
    assert_eq!(children_of(std::process::id()), [] as [u32; 0]);
}

/// 64 MiB are filled by eight children in place: none of them has a copy.
#[test]
fn memory_is_shared_not_copied() {
    const ITEMS: usize = 8 << 20;
    fn fill(part: crossproc::Part<u64>) -> crossproc::Result<u64> {
        let before = util::status_number(std::process::id(), "RssAnon");
        let from = part.range().start;
        for (i, x) in part.lock()?.iter_mut().enumerate() {
            *x = (from + i) as u64;
        }
        Ok(util::status_number(std::process::id(), "RssAnon").saturating_sub(before))
    }
    within(60, || {
        let array = Array::<u64>::zeroed(ITEMS).unwrap();
        let children: Vec<_> =
            array.parts(8).unwrap().into_iter().map(|part| Process::spawn(fill, (part,)).unwrap()).collect();
        for child in children {
            let grown = child.join().unwrap().unwrap();
            assert!(grown < 4 << 10, "{grown} KiB of its own");
        }
        let guard = array.lock().unwrap();
        assert!(guard.iter().enumerate().all(|(i, x)| *x == i as u64));
    });
}
