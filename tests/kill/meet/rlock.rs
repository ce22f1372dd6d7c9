//! Levels of a recursive lock: taken and given up.

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
