//! The start of a child: whoever of parent, server and child is killed, the function ran once or not at all, and once
//! if the parent was told so; no process is left, and nothing stays taken.

use super::common::{Flags, watch};
use super::stepper::{Asleep, Kill, Scenario, Strategy, Watched, World};
use crossproc::testing::{self, TestHandOver};
use crossproc::{Process, StartMethod, Value};
use std::os::fd::OwnedFd;
use std::sync::Once;
use std::time::{Duration, Instant};

/// After that nothing of a killed family may be left; its server stays for half a second to look for names.
const SOON: Duration = Duration::from_secs(3);

/// What the function does.
fn add(count: Value<u64>, n: u64) -> Value<u64> {
    *count.lock().expect("the count's lock") += n;
    count
}

fn stay(count: Value<u64>, name: String) {
    let kept = Value::named(&name).create(7_u64).expect("a name of its own");
    *count.lock().expect("the count's lock") += 1;
    loop {
        std::thread::sleep(Duration::from_secs(60));
        std::hint::black_box(&kept);
    }
}

/// Orphans are ours from here on, so that we see whether they end.
fn adopt_orphans() {
    static ONCE: Once = Once::new();
    // SAFETY: no pointers.
    ONCE.call_once(|| unsafe {
        libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    });
}

/// Reaps what has ended of the children of this process; gives the others.
fn left() -> Vec<i32> {
    let path = format!("/proc/self/task/{}/children", std::process::id());
    let children = std::fs::read_to_string(path).unwrap_or_default();
    children
        .split_ascii_whitespace()
        .filter_map(|pid| pid.parse().ok())
        // SAFETY: a status is not wanted.
        .filter(|pid| unsafe { libc::waitpid(*pid, std::ptr::null_mut(), libc::WNOHANG) } == 0)
        .collect()
}

/// Waits until no process is left of a world; what is left after that is a violation, and ends here.
fn demand_nobody(kill: &mut Kill) {
    let begun = Instant::now();
    let mut others = left();
    while !others.is_empty() && begun.elapsed() < SOON {
        std::thread::sleep(Duration::from_millis(2));
        others = left();
    }
    let name = |pid: &i32| std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned();
    let names: Vec<_> = others.iter().map(name).collect();
    kill.demand(others.is_empty(), format!("left behind: {names:?}"));
    for pid in others {
        // SAFETY: a child of ours that was not reaped; a status is not wanted.
        unsafe {
            libc::kill(pid, libc::SIGKILL);
            libc::waitpid(pid, std::ptr::null_mut(), 0);
        }
    }
}

/// The count is as it should be, and its lock can be had.
fn demand_count(kill: &mut Kill, count: &Value<u64>, at_least: u64, at_most: u64) {
    let locked = count.lock_timeout(Duration::from_secs(10)).map(|guard| *guard);
    let seen = locked.as_ref().copied().unwrap_or(u64::MAX);
    kill.demand(locked.is_ok(), format!("the count's lock: {locked:?}"));
    kill.demand((at_least..=at_most).contains(&seen), format!("{seen} is not in {at_least}..={at_most}"));
    kill.committed(seen > 0);
    kill.recovered();
}

const STARTED: usize = 0;
const JOINED: usize = 1;

#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// The first child: the server has to be started.
    First,
    /// One more.
    Next,
    Executed,
    /// One that has to end with its parent, and leaves a name.
    Daemon,
}

/// The parent is killed while it starts a child and joins it.
struct Parent {
    way: Way,
    count: Value<u64>,
    flags: Flags,
    name: String,
}

impl Parent {
    fn scenario(name: &str, way: Way) -> Scenario {
        let new = move || {
            adopt_orphans();
            let name = format!("kill-spawn-{}", std::process::id());
            Parent { way, count: Value::new(0).expect("memory"), flags: Flags::new(), name }
        };
        Scenario::new(format!("spawn/{name}"), new).strategy(Strategy::Calls)
    }
}

impl World for Parent {
    fn prepare(&mut self) {
        if matches!(self.way, Way::Next | Way::Daemon) {
            Process::spawn(|| (), ()).expect("a child").join().expect("its end");
        }
    }

    fn operation(&mut self) {
        let method = if self.way == Way::Executed { StartMethod::Spawn } else { StartMethod::ForkServer };
        let builder = Process::builder().start_method(method);
        if self.way == Way::Daemon {
            let child = builder.daemon(true).spawn(stay, (self.count.clone(), self.name.clone()));
            std::mem::forget(child.expect("a child"));
            self.flags.set(STARTED);
            return;
        }
        let child = builder.spawn(add, (self.count.clone(), 1)).expect("a child");
        self.flags.set(STARTED);
        assert_eq!(child.join().expect("its end").get(), 1);
        self.flags.set(JOINED);
    }

    fn victim_asleep(&mut self, _: u32) -> Asleep {
        Asleep::Woken // by its server or child, soon
    }

    fn check(&mut self, kill: &mut Kill) {
        demand_nobody(kill);
        let least = u64::from(self.flags.is_set(STARTED) && self.way != Way::Daemon);
        demand_count(kill, &self.count, least, 1);
        let left = std::path::Path::new(&format!("/dev/shm/crossproc.{}", self.name)).exists();
        kill.demand(!left, "a name is left");
        if left {
            let _ = Value::<u64>::named(&self.name).remove();
        }
    }
}

/// The server is killed while it answers a call; the parent goes on.
struct Server {
    count: Value<u64>,
    half: Option<TestHandOver>,
    link: Option<OwnedFd>,
    /// Whether the child hears everything.
    word: bool,
}

impl Server {
    fn scenario(name: &str, word: bool) -> Scenario {
        let new = move || {
            adopt_orphans();
            let count = Value::new(0).expect("memory");
            let (here, there) = testing::link().expect("a link");
            let half = TestHandOver::begin(here, add, (count.clone(), 1), word).expect("an order");
            Server { count, half: Some(half), link: Some(there), word }
        };
        Scenario::new(format!("spawn/{name}"), new)
    }
}

impl World for Server {
    fn prepare(&mut self) {
        self.half = None; // the parent's ends
    }

    fn operation(&mut self) {
        assert!(testing::serve_one(self.link.take().expect("the server's end")), "the call is served");
    }

    fn before_kill(&mut self) {
        self.link = None;
    }

    fn check(&mut self, kill: &mut Kill) {
        let half = self.half.take().expect("the parent's half");
        if !self.word {
            half.abandon();
            demand_nobody(kill);
            demand_count(kill, &self.count, 0, 0);
            return;
        }
        match half.finish::<Value<u64>>() {
            Ok(Some(child)) => {
                let result = child.join();
                kill.demand(result.is_ok(), format!("the child's end: {:?}", result.as_ref().err()));
                demand_count(kill, &self.count, 1, 1);
            }
            Ok(None) => {
                kill.demand(!kill.finished, "a request that was answered has no child");
                // The order goes to another; the first must never come.
                *self.count.lock().expect("the count's lock") += 1;
                demand_nobody(kill);
                demand_count(kill, &self.count, 1, 1);
            }
            Err(error) => kill.demand(false, error),
        }
        demand_nobody(kill);
    }
}

/// The child is killed at any moment of its life.
struct Born {
    count: Value<u64>,
    half: Option<TestHandOver>,
    control: Option<OwnedFd>,
}

impl Born {
    fn new() -> Self {
        adopt_orphans();
        let count = Value::new(0).expect("memory");
        let (here, there) = testing::link().expect("a link");
        let half = TestHandOver::begin(here, add, (count.clone(), 1), true).expect("an order");
        Born { count, control: Some(TestHandOver::take_request(there).expect("the child's end")), half: Some(half) }
    }
}

impl World for Born {
    fn prepare(&mut self) {
        self.half = None;
    }

    fn watched(&self) -> Vec<Watched> {
        vec![watch(&self.count, 64)]
    }

    fn operation(&mut self) {
        assert_eq!(testing::run_request(self.control.take().expect("the child's end")), Some(0));
    }

    fn before_kill(&mut self) {
        self.control = None;
    }

    fn check(&mut self, kill: &mut Kill) {
        let half = self.half.take().expect("the parent's half");
        let result = half.read_report::<Value<u64>>();
        let told = result.is_some();
        if let Some(value) = result {
            kill.demand(value.get() == 1 && value.set(1).is_ok(), "the result is not what the child made");
        }
        kill.demand(told || !kill.finished, "a report that was made is lost");
        demand_count(kill, &self.count, u64::from(told), 1);
    }
}

/// A parent is killed while it waits for its children at its end.
struct Last {
    flags: Flags,
    count: Value<u64>,
}

const GATE: usize = 2;

impl Last {
    fn new() -> Self {
        adopt_orphans();
        Last { flags: Flags::new(), count: Value::new(0).expect("memory") }
    }
}

fn late(count: Value<u64>) {
    while count.get() == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    *count.lock().expect("the count's lock") += 1;
}

impl World for Last {
    fn prepare(&mut self) {
        Process::builder().daemon(true).spawn(late, (Value::new(0).expect("memory"),)).expect("a daemon");
        Process::spawn(late, (self.count.clone(),)).expect("a child");
    }

    fn operation(&mut self) {
        testing::join_children();
        self.flags.set(JOINED);
    }

    fn victim_asleep(&mut self, _: u32) -> Asleep {
        // It waits for the child, which goes on now.
        if !self.flags.is_set(GATE) {
            self.flags.set(GATE);
            self.count.set(1).expect("the count's lock");
        }
        Asleep::Woken
    }

    fn check(&mut self, kill: &mut Kill) {
        if self.flags.is_set(JOINED) {
            demand_count(kill, &self.count, 2, 2); // it has waited
        }
        if !self.flags.is_set(GATE) {
            self.count.set(1).expect("the count's lock");
        }
        demand_nobody(kill);
        demand_count(kill, &self.count, 2, 2);
    }
}

/// Whoever sweeps names is killed, as a server may be.
struct Sweeper {
    name: String,
    kept: Value<u64>,
}

impl Sweeper {
    fn new() -> Self {
        adopt_orphans();
        let name = format!("kill-sweep-{}", std::process::id());
        let left = name.clone();
        super::common::die_after(move || std::mem::forget(Value::named(&left).create(1_u64).expect("a free name")));
        let kept = Value::named(&format!("{name}-kept")).create(5).expect("a free name");
        Sweeper { name, kept }
    }
}

impl World for Sweeper {
    fn operation(&mut self) {
        testing::sweep();
    }

    fn check(&mut self, kill: &mut Kill) {
        let exists = |name: &str| std::path::Path::new(&format!("/dev/shm/crossproc.{name}")).exists();
        kill.demand(!kill.finished || !exists(&self.name), "rubbish is left");
        kill.committed(!exists(&self.name));
        testing::sweep();
        kill.demand(!exists(&self.name), "rubbish is left by the next one too");
        let kept = Value::<u64>::named(&format!("{}-kept", self.name)).open().map(|value| value.get());
        kill.demand(kept == Ok(5) && self.kept.set(5).is_ok(), format!("a name in use: {kept:?}"));
        kill.recovered();
    }
}

pub fn scenarios() -> Vec<Scenario> {
    vec![
        Parent::scenario("parent-first", Way::First),
        Parent::scenario("parent-next", Way::Next),
        Parent::scenario("parent-executed", Way::Executed),
        Parent::scenario("parent-of-daemon", Way::Daemon),
        Server::scenario("server", true),
        Server::scenario("server-without-word", false),
        Scenario::new("spawn/child", Born::new),
        Scenario::new("spawn/parent-at-exit", Last::new).strategy(Strategy::Calls),
        Scenario::new("spawn/sweeper", Sweeper::new).strategy(Strategy::Calls),
    ]
}
