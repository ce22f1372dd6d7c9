//! Calls: given and waited for, with the lock free and held.

use super::super::stepper::{Stop, Victim};
use super::*;

const GRANTS: usize = 128 + 16 + 4;
const LIMIT: usize = 128 + 16 + 16;
const SEATS: usize = 192;
const BYTES: usize = SEATS + 3 * SEAT;
const TID: u32 = 0x3fff_ffff;

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
        // Between the limit and the grants is an instruction or two, in which no waiter is notified yet.
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
            kill.demand(eventually(|| results(self) >= wanted), "a waiter that was notified sleeps for ever");
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

/// A process holds the condition's own lock until another one waits for it, and is killed so many instructions after
/// its release as the victim gets, which does nothing. A waiter sleeps that was not notified: what the kernel wakes,
/// passes it on.
struct Holder {
    holder: Victim,
    others: Vec<Survivor>,
    value: Box<Value<u64>>,
}

impl Holder {
    const CALL: usize = BEDTIME + 1;

    fn new() -> Self {
        let value = Box::new(Value::new(0).expect("memory"));
        let condition = Box::new(Condition::new().expect("memory"));
        let flags = Flags::new();
        let asleep = sleeper(&flags, &value, &condition);
        put_to_bed(&flags, std::slice::from_ref(&asleep));
        let mut holder = Victim::start(warm_up, |()| condition.notify(0).expect("a condition"));
        let mut step_until = |held: bool| {
            while (word(&*condition, 0) & TID != 0) != held {
                assert_eq!(holder.step(), Stop::Trap, "the notify has a lock");
            }
        };
        step_until(true);
        let caller = Survivor::start(|| {
            flags.wait_for(Self::CALL);
            condition.notify_all().map_or(3, |()| 1)
        });
        flags.set(Self::CALL);
        assert!(eventually(|| caller.asleep()), "the caller does not wait for the lock");
        step_until(false);
        Holder { holder, others: vec![caller, asleep], value }
    }
}

impl World for Holder {
    fn operation(&mut self) {
        (0..12).for_each(|turn| assert!(std::hint::black_box(turn) < 12));
    }

    fn watched(&self) -> Vec<Watched> {
        vec![watch(&*self.value, 64)]
    }

    fn check(&mut self, kill: &mut Kill) {
        for _ in 0..kill.point {
            if !self.holder.finished() {
                self.holder.step();
            }
        }
        self.holder.kill();
        demand_all(kill, &mut self.others);
        kill.demand(self.value.try_lock().is_ok(), "the lock is not free in the end");
    }
}

pub fn scenarios() -> Vec<Scenario> {
    vec![
        Notify::scenario("notify-none", 1, 0),
        Notify::scenario("notify-one-of-one", 1, 1),
        Notify::scenario("notify-one-of-two", 1, 2),
        Notify::scenario("notify-all", usize::MAX, 2),
        Wait::scenario("fall-asleep", Night::Quiet, false, false),
        Wait::scenario("fall-asleep-second", Night::Quiet, false, true),
        Wait::scenario("woken", Night::Woken, false, false),
        Wait::scenario("woken-with-the-lock-held", Night::Woken, true, false),
        Wait::scenario("timed-out", Night::TimeOut, false, false),
        Scenario::new("condition/holder-with-a-waiter", Holder::new),
    ]
}
