//! Semaphores, conditions, barriers, events, recursive locks: what one leaves who is killed while it takes part, and whether
//! those who sleep hear of what there is.
//!
//! The worlds look at the memory without calling as long as they wait for somebody to be woken: a call would wake too.

use super::common::{BEDTIME, Flags, address, demand_all, eventually, patience, pinned, put_to_bed, warm_up, watch};
use super::stepper::{Asleep, Kill, Scenario, Strategy, Survivor, Watched, World};
use crossproc::{Barrier, BarrierError, Condition, Event, Permit, RLock, RLockGuard, Semaphore, Value};
use std::fmt::Debug;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(30);
/// A seat's size, and the number in it that is taken in the middle of a wait.
const SEAT: usize = 64;

fn word(object: &impl Debug, at: usize) -> u32 {
    // SAFETY: a word of the object's memory, which the world keeps mapped.
    unsafe { &*((address(object) + at) as *const AtomicU32) }.load(SeqCst)
}

fn double(object: &impl Debug, at: usize) -> u64 {
    // SAFETY: as above.
    unsafe { &*((address(object) + at) as *const AtomicU64) }.load(SeqCst)
}

/// How many seats somebody has, of so many from there on.
fn taken(object: &impl Debug, from: usize, seats: usize) -> usize {
    (0..seats).filter(|seat| word(object, from + seat * SEAT) != 0).count()
}

/// What happens while the victim sleeps.
#[derive(Clone, Copy, PartialEq)]
enum Night {
    /// Nothing: it is killed in its sleep.
    Quiet,
    /// What it waits for comes.
    Woken,
    /// The process that has what it waits for is killed.
    Bereft,
    /// Nothing until its time is up.
    TimeOut,
}

impl Night {
    fn shape(self, scenario: Scenario) -> Scenario {
        match self {
            Night::Quiet => scenario,
            Night::TimeOut => scenario.strategy(Strategy::ByEffect).after_wake(),
            Night::Woken | Night::Bereft => scenario.after_wake(),
        }
    }
}

mod semaphores {
    use super::*;

    const COUNT: usize = 64 + 16;
    const BYTES: usize = 64 + 64 + 2 * SEAT;

    fn sleeper(flags: &Flags, semaphore: &Semaphore) -> Survivor {
        Survivor::start(|| {
            flags.wait_for(BEDTIME);
            semaphore.acquire().map_or(3, |permit| {
                drop(permit);
                1
            })
        })
    }

    fn demand_count(kill: &mut Kill, semaphore: &Semaphore, count: usize) {
        let permits: Vec<_> = std::iter::from_fn(|| semaphore.try_acquire().ok()).collect();
        kill.demand(permits.len() == count, format!("{} permits, not {count}", permits.len()));
        drop(permits);
        kill.demand(semaphore.available() == count, "not all permits come back");
    }

    #[derive(Clone, Copy, PartialEq)]
    enum Deed {
        Acquire,
        GiveBack,
        Forget,
        Add,
        TryInVain,
    }

    struct Act {
        deed: Deed,
        permit: Option<Permit<'static>>,
        sleepers: Vec<Survivor>,
        flags: Flags,
        semaphore: Box<Semaphore>,
    }

    impl Act {
        fn scenario(name: &str, deed: Deed, sleepers: usize) -> Scenario {
            Scenario::new(format!("semaphore/{name}"), move || {
                let permits = usize::from(!matches!(deed, Deed::Add | Deed::TryInVain));
                let semaphore = Box::new(Semaphore::new(permits).expect("memory"));
                let flags = Flags::new();
                let sleepers = (0..sleepers).map(|_| sleeper(&flags, &semaphore)).collect();
                Act { deed, permit: None, sleepers, flags, semaphore }
            })
        }
    }

    impl World for Act {
        fn prepare(&mut self) {
            warm_up();
            if matches!(self.deed, Deed::GiveBack | Deed::Forget) {
                self.permit = Some(pinned(&self.semaphore).acquire().expect("a permit"));
            }
            put_to_bed(&self.flags, &self.sleepers);
        }

        fn operation(&mut self) {
            match self.deed {
                Deed::Acquire => self.permit = pinned(&self.semaphore).acquire().ok(),
                Deed::GiveBack => self.permit = None,
                Deed::Forget => self.permit.take().expect("a permit").forget(),
                Deed::Add => self.semaphore.release().expect("room"),
                Deed::TryInVain => drop(self.semaphore.try_acquire()),
            }
        }

        fn watched(&self) -> Vec<Watched> {
            vec![watch(&*self.semaphore, BYTES)]
        }

        fn check(&mut self, kill: &mut Kill) {
            let count = double(&*self.semaphore, COUNT);
            match self.deed {
                Deed::Acquire | Deed::GiveBack | Deed::TryInVain => {}
                Deed::Forget => {
                    kill.committed(count == 0);
                    kill.demand(!kill.finished || count == 0, "a forgotten permit came back");
                }
                Deed::Add => {
                    kill.committed(count == 1);
                    kill.demand(!kill.finished || count == 1, "an acknowledged permit is lost");
                }
            }
            if count == 0 && self.deed != Deed::TryInVain {
                self.semaphore.release().expect("room");
            }
            demand_all(kill, &mut self.sleepers);
            if kill.is_clean() {
                demand_count(kill, &self.semaphore, usize::from(self.deed != Deed::TryInVain));
            }
            kill.recovered();
        }
    }

    /// The victim waits, and others before or behind it.
    struct Wait {
        night: Night,
        permit: Option<Permit<'static>>,
        holder: Option<Survivor>,
        others: Vec<Survivor>,
        flags: Flags,
        semaphore: Box<Semaphore>,
    }

    impl Wait {
        fn scenario(name: &str, night: Night, in_front: bool) -> Scenario {
            night.shape(Scenario::new(format!("semaphore/{name}"), move || Self::new(night, in_front)))
        }

        fn new(night: Night, in_front: bool) -> Self {
            let (semaphore, flags) = (Box::new(Semaphore::new(1).expect("memory")), Flags::new());
            let holder = (night == Night::Bereft).then(|| {
                let mut holder = Survivor::start(|| {
                    std::mem::forget(semaphore.acquire());
                    1
                });
                assert_eq!(holder.wait_result(patience()), Some(1));
                holder
            });
            let permit = holder.is_none().then(|| pinned(&semaphore).acquire().expect("a permit"));
            let others = vec![sleeper(&flags, &semaphore)];
            if in_front {
                put_to_bed(&flags, &others);
            }
            Wait { night, permit, holder, others, flags, semaphore }
        }
    }

    impl World for Wait {
        fn prepare(&mut self) {
            warm_up();
        }

        fn operation(&mut self) {
            match self.night {
                Night::TimeOut => drop(self.semaphore.acquire_timeout(SHORT)),
                _ => drop(self.semaphore.acquire()),
            }
        }

        fn watched(&self) -> Vec<Watched> {
            vec![watch(&*self.semaphore, BYTES)]
        }

        fn victim_asleep(&mut self, nth: u32) -> Asleep {
            put_to_bed(&self.flags, &self.others);
            match self.night {
                Night::Quiet => return Asleep::Leave,
                Night::TimeOut => {}
                _ if nth > 1 => {}
                Night::Woken => self.permit = None,
                Night::Bereft => self.holder.iter_mut().for_each(Survivor::kill),
            }
            Asleep::Woken
        }

        fn check(&mut self, kill: &mut Kill) {
            self.flags.set(BEDTIME);
            self.permit = None;
            self.holder.iter_mut().for_each(Survivor::kill);
            demand_all(kill, &mut self.others);
            if kill.is_clean() {
                demand_count(kill, &self.semaphore, 1);
            }
        }
    }

    pub fn scenarios() -> Vec<Scenario> {
        vec![
            Act::scenario("acquire", Deed::Acquire, 0),
            Act::scenario("try-in-vain", Deed::TryInVain, 0),
            Act::scenario("give-back", Deed::GiveBack, 0),
            Act::scenario("give-back-two-sleepers", Deed::GiveBack, 2),
            Act::scenario("forget", Deed::Forget, 0),
            Act::scenario("forget-one-sleeper", Deed::Forget, 1),
            Act::scenario("release", Deed::Add, 0),
            Act::scenario("release-two-sleepers", Deed::Add, 2),
            Wait::scenario("fall-asleep", Night::Quiet, false),
            Wait::scenario("fall-asleep-second", Night::Quiet, true),
            Wait::scenario("woken", Night::Woken, false),
            Wait::scenario("woken-second", Night::Woken, true),
            Wait::scenario("woken-by-a-death", Night::Bereft, false),
            Wait::scenario("woken-by-a-death-second", Night::Bereft, true),
            Wait::scenario("timed-out", Night::TimeOut, false),
        ]
    }
}

mod conditions {
    use super::*;

    const GRANTS: usize = 128 + 16 + 4;
    const LIMIT: usize = 128 + 16 + 16;
    const SEATS: usize = 192;
    const BYTES: usize = SEATS + 3 * SEAT;

    fn sleeper(flags: &Flags, value: &Value<u64>, condition: &Condition) -> Survivor {
        Survivor::start(|| {
            flags.wait_for(BEDTIME);
            let guard = value.lock().expect("a lock");
            condition.wait(guard).map_or(3, |guard| {
                drop(guard);
                1
            })
        })
    }

    struct Notify {
        most: usize,
        sleepers: Vec<Survivor>,
        flags: Flags,
        value: Box<Value<u64>>,
        condition: Box<Condition>,
    }

    impl Notify {
        fn scenario(name: &str, most: usize, sleepers: usize) -> Scenario {
            Scenario::new(format!("condition/{name}"), move || {
                let value = Box::new(Value::new(0).expect("memory"));
                let condition = Box::new(Condition::new().expect("memory"));
                let flags = Flags::new();
                let sleepers = (0..sleepers).map(|_| sleeper(&flags, &value, &condition)).collect();
                Notify { most, sleepers, flags, value, condition }
            })
        }
    }

    impl World for Notify {
        fn prepare(&mut self) {
            warm_up();
            put_to_bed(&self.flags, &self.sleepers);
        }

        fn operation(&mut self) {
            self.condition.notify(self.most).expect("a condition");
        }

        fn watched(&self) -> Vec<Watched> {
            vec![watch(&*self.condition, BYTES)]
        }

        fn check(&mut self, kill: &mut Kill) {
            let results = |this: &Self| this.sleepers.iter().filter(|sleeper| sleeper.has_result()).count();
            let begun = double(&*self.condition, LIMIT) > 0;
            // Between the limit and the grants is an instruction or two, in which nobody is called yet.
            let called = begun && {
                let start = std::time::Instant::now();
                let is_called = || word(&*self.condition, GRANTS) > 0 || results(self) > 0;
                while !is_called() && start.elapsed() < SHORT {
                    std::thread::sleep(Duration::from_micros(50));
                }
                is_called()
            };
            kill.committed(called);
            let wanted = self.most.min(self.sleepers.len());
            kill.demand(!kill.finished || called || wanted == 0, "an acknowledged call is lost");
            if called {
                kill.demand(eventually(|| results(self) >= wanted), "one who was called sleeps for ever");
            }
            self.condition.notify_all().expect("a condition");
            demand_all(kill, &mut self.sleepers);
            kill.demand(self.value.try_lock().is_ok(), "the lock is not free in the end");
            kill.recovered();
        }
    }

    struct Wait {
        night: Night,
        /// While the victim is called, the lock is held, so that it sleeps once more.
        locked: bool,
        guard: Option<crossproc::ValueGuard<'static, u64>>,
        /// The victim had its call, and neither its lock nor its end.
        has_call: bool,
        others: Vec<Survivor>,
        flags: Flags,
        value: Box<Value<u64>>,
        condition: Box<Condition>,
    }

    impl Wait {
        fn scenario(name: &str, night: Night, locked: bool, in_front: bool) -> Scenario {
            night.shape(Scenario::new(format!("condition/{name}"), move || {
                let value = Box::new(Value::new(0).expect("memory"));
                let condition = Box::new(Condition::new().expect("memory"));
                let flags = Flags::new();
                let others = vec![sleeper(&flags, &value, &condition)];
                if in_front {
                    put_to_bed(&flags, &others);
                }
                Wait { night, locked, guard: None, has_call: false, others, flags, value, condition }
            }))
        }
    }

    impl World for Wait {
        fn prepare(&mut self) {
            warm_up();
        }

        fn operation(&mut self) {
            let guard = self.value.lock().expect("a lock");
            match self.night {
                Night::TimeOut => drop(self.condition.wait_timeout(guard, SHORT)),
                _ => drop(self.condition.wait(guard)),
            }
        }

        fn watched(&self) -> Vec<Watched> {
            vec![watch(&*self.condition, BYTES), watch(&*self.value, 64)]
        }

        fn victim_asleep(&mut self, nth: u32) -> Asleep {
            if nth == 1 {
                put_to_bed(&self.flags, &self.others);
            }
            match self.night {
                Night::Quiet => return Asleep::Leave,
                Night::Woken if nth == 1 => {
                    if self.locked {
                        self.guard = pinned(&self.value).try_lock().ok();
                    }
                    self.condition.notify_one().expect("a condition");
                }
                // It waits for the lock.
                _ if self.locked => return Asleep::Leave,
                _ => {}
            }
            Asleep::Woken
        }

        fn before_kill(&mut self) {
            // One of the two was called: the victim, if both have their seats.
            let both = taken(&*self.condition, SEATS, 128) == 2;
            self.has_call = self.night == Night::Woken && both && double(&*self.condition, LIMIT) > 0;
        }

        fn check(&mut self, kill: &mut Kill) {
            self.guard = None;
            if self.has_call {
                kill.demand(eventually(|| self.others[0].has_result()), "the call went with the dead one");
            } else {
                self.flags.set(BEDTIME);
                // Asleep again, or on the way to it.
                let is_there = || taken(&*self.condition, SEATS, 128) > 0 || self.others[0].has_result();
                kill.demand(eventually(is_there), "the other does not wait");
                let call = || {
                    self.condition.notify_one().expect("a condition");
                    self.others[0].has_result()
                };
                kill.demand(eventually(call), "the other one cannot be called");
            }
            demand_all(kill, &mut self.others);
            kill.demand(self.value.try_lock().is_ok(), "the lock is not free in the end");
        }
    }

    pub fn scenarios() -> Vec<Scenario> {
        vec![
            Notify::scenario("notify-nobody", 1, 0),
            Notify::scenario("notify-one-of-one", 1, 1),
            Notify::scenario("notify-one-of-two", 1, 2),
            Notify::scenario("notify-all", usize::MAX, 2),
            Wait::scenario("fall-asleep", Night::Quiet, false, false),
            Wait::scenario("fall-asleep-second", Night::Quiet, false, true),
            Wait::scenario("woken", Night::Woken, false, false),
            Wait::scenario("woken-with-the-lock-held", Night::Woken, true, false),
            Wait::scenario("timed-out", Night::TimeOut, false, false),
        ]
    }
}

mod barriers {
    use super::*;

    const PHASE: usize = 64 + 16;
    const SEATS: usize = 128;
    const BYTES: usize = SEATS + 3 * SEAT;
    const PARTIES: usize = 3;

    /// Reports 1 when it passed, 2 when the barrier was broken.
    fn sleeper(flags: &Flags, barrier: &Barrier) -> Survivor {
        Survivor::start(|| {
            flags.wait_for(BEDTIME);
            match barrier.wait() {
                Ok(_) => 1,
                Err(BarrierError::Broken) => 2,
                Err(_) => 3,
            }
        })
    }

    fn demand_answers(kill: &mut Kill, sleepers: &mut [Survivor], wanted: u64) {
        for sleeper in sleepers {
            match sleeper.wait_result(patience()) {
                Some(answer) if answer == wanted => kill.recovered(),
                other => kill.demand(false, format!("a party got {other:?}, not {wanted}")),
            }
        }
    }

    fn demand_works(kill: &mut Kill, barrier: &Barrier) {
        if kill.is_clean() {
            barrier.reset().expect("a barrier");
            let seen = (barrier.is_broken(), barrier.waiting(), barrier.wait_timeout(Duration::ZERO));
            kill.demand(seen == (false, 0, Err(BarrierError::Timeout)), format!("it does not work: {seen:?}"));
        }
    }

    #[derive(Clone, Copy, PartialEq)]
    enum Deed {
        /// The last one arrives.
        Complete,
        /// And acts.
        Act,
        Abort,
        Reset,
    }

    struct End {
        deed: Deed,
        had_seat: bool,
        sleepers: Vec<Survivor>,
        flags: Flags,
        barrier: Box<Barrier>,
    }

    impl End {
        fn scenario(name: &str, deed: Deed) -> Scenario {
            Scenario::new(format!("barrier/{name}"), move || {
                let barrier = match deed {
                    Deed::Act => Barrier::with_action(PARTIES, || (), ()).expect("memory"),
                    _ => Barrier::new(PARTIES).expect("memory"),
                };
                let (barrier, flags) = (Box::new(barrier), Flags::new());
                let sleepers = (0..2).map(|_| sleeper(&flags, &barrier)).collect();
                End { deed, had_seat: false, sleepers, flags, barrier }
            })
        }
    }

    impl World for End {
        fn prepare(&mut self) {
            warm_up();
            put_to_bed(&self.flags, &self.sleepers);
        }

        fn operation(&mut self) {
            match self.deed {
                Deed::Complete | Deed::Act => drop(self.barrier.wait()),
                Deed::Abort => self.barrier.abort().expect("a barrier"),
                Deed::Reset => self.barrier.reset().expect("a barrier"),
            }
        }

        fn watched(&self) -> Vec<Watched> {
            vec![watch(&*self.barrier, BYTES)]
        }

        fn before_kill(&mut self) {
            self.had_seat = taken(&*self.barrier, SEATS, 2 * PARTIES + 16) == 3;
        }

        fn check(&mut self, kill: &mut Kill) {
            let phase = double(&*self.barrier, PHASE);
            let ended = phase as u32 == 1 && matches!(self.deed, Deed::Complete | Deed::Act);
            // By what was done, or as whoever looks finds that one of them is dead.
            let broken = !ended && (phase != 0 || self.had_seat);
            kill.committed(ended || broken);
            kill.demand(!kill.finished || ended || broken, "what was acknowledged is lost");
            if !ended && !broken {
                self.barrier.abort().expect("a barrier");
            }
            demand_answers(kill, &mut self.sleepers, if ended { 1 } else { 2 });
            demand_works(kill, &self.barrier);
            kill.recovered();
        }
    }

    /// The victim arrives and waits, and another one before it.
    struct Wait {
        night: Night,
        had_seat: bool,
        others: Vec<Survivor>,
        barrier: Box<Barrier>,
    }

    impl Wait {
        fn scenario(name: &str, night: Night) -> Scenario {
            night.shape(Scenario::new(format!("barrier/{name}"), move || {
                let (barrier, flags) = (Box::new(Barrier::new(PARTIES).expect("memory")), Flags::new());
                let others = vec![sleeper(&flags, &barrier)];
                put_to_bed(&flags, &others);
                Wait { night, had_seat: false, others, barrier }
            }))
        }
    }

    impl World for Wait {
        fn prepare(&mut self) {
            warm_up();
        }

        fn operation(&mut self) {
            match self.night {
                Night::TimeOut => drop(self.barrier.wait_timeout(SHORT)),
                _ => drop(self.barrier.wait()),
            }
        }

        fn watched(&self) -> Vec<Watched> {
            vec![watch(&*self.barrier, BYTES)]
        }

        fn victim_asleep(&mut self, nth: u32) -> Asleep {
            match self.night {
                Night::Quiet => return Asleep::Leave,
                Night::Woken if nth == 1 => drop(self.barrier.wait()),
                _ => {}
            }
            Asleep::Woken
        }

        fn before_kill(&mut self) {
            self.had_seat = taken(&*self.barrier, SEATS, 2 * PARTIES + 16) == 2;
        }

        fn check(&mut self, kill: &mut Kill) {
            let phase = double(&*self.barrier, PHASE);
            let passed = phase as u32 == 1;
            if !passed && phase == 0 && !self.had_seat {
                self.barrier.abort().expect("a barrier");
            }
            demand_answers(kill, &mut self.others, if passed { 1 } else { 2 });
            kill.demand(passed != self.barrier.is_broken(), "broken, or not");
            demand_works(kill, &self.barrier);
        }
    }

    pub fn scenarios() -> Vec<Scenario> {
        vec![
            End::scenario("complete", Deed::Complete),
            End::scenario("act", Deed::Act),
            End::scenario("abort", Deed::Abort),
            End::scenario("reset", Deed::Reset),
            Wait::scenario("fall-asleep", Night::Quiet),
            Wait::scenario("woken", Night::Woken),
            Wait::scenario("timed-out", Night::TimeOut),
        ]
    }
}

mod events {
    use super::*;

    const WORD: usize = 64;

    fn sleeper(flags: &Flags, event: &Event) -> Survivor {
        Survivor::start(|| {
            flags.wait_for(BEDTIME);
            event.wait();
            1
        })
    }

    struct Set {
        sleepers: Vec<Survivor>,
        flags: Flags,
        event: Box<Event>,
    }

    impl Set {
        fn new() -> Self {
            let (event, flags) = (Box::new(Event::new().expect("memory")), Flags::new());
            let sleepers = (0..2).map(|_| sleeper(&flags, &event)).collect();
            Set { sleepers, flags, event }
        }
    }

    impl World for Set {
        fn prepare(&mut self) {
            warm_up();
            put_to_bed(&self.flags, &self.sleepers);
        }

        fn operation(&mut self) {
            self.event.set();
        }

        fn watched(&self) -> Vec<Watched> {
            vec![watch(&*self.event, 128)]
        }

        fn check(&mut self, kill: &mut Kill) {
            let is_set = word(&*self.event, WORD) & 1 << 30 != 0;
            kill.committed(is_set);
            kill.demand(!kill.finished || is_set, "an acknowledged set is lost");
            if !is_set {
                self.event.set();
            }
            demand_all(kill, &mut self.sleepers);
        }
    }

    struct Wait {
        night: Night,
        others: Vec<Survivor>,
        flags: Flags,
        event: Box<Event>,
    }

    impl Wait {
        fn scenario(name: &str, night: Night) -> Scenario {
            night.shape(Scenario::new(format!("event/{name}"), move || {
                let (event, flags) = (Box::new(Event::new().expect("memory")), Flags::new());
                let others = vec![sleeper(&flags, &event)];
                Wait { night, others, flags, event }
            }))
        }
    }

    impl World for Wait {
        fn prepare(&mut self) {
            warm_up();
        }

        fn operation(&mut self) {
            match self.night {
                Night::TimeOut => assert!(!self.event.wait_timeout(SHORT)),
                _ => self.event.wait(),
            }
        }

        fn watched(&self) -> Vec<Watched> {
            vec![watch(&*self.event, 128)]
        }

        fn victim_asleep(&mut self, nth: u32) -> Asleep {
            put_to_bed(&self.flags, &self.others);
            match self.night {
                Night::Quiet => return Asleep::Leave,
                Night::Woken if nth == 1 => self.event.set(),
                _ => {}
            }
            Asleep::Woken
        }

        fn check(&mut self, kill: &mut Kill) {
            self.flags.set(BEDTIME);
            self.event.set();
            demand_all(kill, &mut self.others);
        }
    }

    pub fn scenarios() -> Vec<Scenario> {
        vec![
            Scenario::new("event/set", Set::new),
            Wait::scenario("fall-asleep", Night::Quiet),
            Wait::scenario("woken", Night::Woken),
            Wait::scenario("timed-out", Night::TimeOut),
        ]
    }
}

mod levels {
    use super::*;

    /// The victim has two levels and gives them up, or takes two.
    struct Levels {
        takes: bool,
        guards: Vec<RLockGuard<'static>>,
        sleepers: Vec<Survivor>,
        flags: Flags,
        lock: Box<RLock>,
    }

    impl Levels {
        fn scenario(name: &str, takes: bool, sleepers: usize) -> Scenario {
            Scenario::new(format!("rlock/{name}"), move || {
                let (lock, flags) = (Box::new(RLock::new().expect("memory")), Flags::new());
                let sleeper = |_| {
                    Survivor::start(|| {
                        flags.wait_for(BEDTIME);
                        lock.lock_or_repair(|| ()).map_or(3, |guard| {
                            drop(guard);
                            1
                        })
                    })
                };
                let sleepers = (0..sleepers).map(sleeper).collect();
                Levels { takes, guards: Vec::with_capacity(2), sleepers, flags: flags.clone(), lock }
            })
        }

        fn take(&mut self) {
            for _ in 0..2 {
                self.guards.push(pinned(&self.lock).lock().expect("a free lock"));
            }
        }
    }

    impl World for Levels {
        fn prepare(&mut self) {
            warm_up();
            if !self.takes {
                self.take();
                put_to_bed(&self.flags, &self.sleepers);
            }
        }

        fn operation(&mut self) {
            match self.takes {
                true => self.take(),
                false => self.guards.clear(),
            }
        }

        fn watched(&self) -> Vec<Watched> {
            vec![watch(&*self.lock, 64)]
        }

        fn check(&mut self, kill: &mut Kill) {
            demand_all(kill, &mut self.sleepers);
            let works = self.lock.lock_or_repair(|| ()).is_ok() && self.lock.holder().is_none();
            kill.demand(works, "the lock does not work");
            let levels = [self.lock.lock(), self.lock.lock()].map(|guard| guard.is_ok());
            kill.demand(levels == [true; 2] && self.lock.holder().is_none(), "the depth is wrong");
        }
    }

    pub fn scenarios() -> Vec<Scenario> {
        vec![
            Levels::scenario("take", true, 0),
            Levels::scenario("give-up", false, 0),
            Levels::scenario("give-up-two-sleepers", false, 2),
        ]
    }
}

pub fn scenarios() -> Vec<Scenario> {
    [semaphores::scenarios(), conditions::scenarios(), barriers::scenarios(), events::scenarios(), levels::scenarios()]
        .into_iter()
        .flatten()
        .collect()
}
