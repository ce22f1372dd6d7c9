//! Sleepers: whoever waits for a lock gets it, wherever the holder or another waiter dies.

use super::common::{BEDTIME, Flags, demand_all, die_after, pinned, put_to_bed, watch};
use super::stepper::{Asleep, Kill, Scenario, Stop, Strategy, Survivor, Victim, Watched, World};
use crossproc::{Lock, Value, ValueGuard};
use std::time::Duration;

/// A process that goes to bed when it is told to, and reports 1 when it has had the lock.
fn sleeper(flags: &Flags, value: &Value<u64>) -> Survivor {
    Survivor::start(|| {
        flags.wait_for(BEDTIME);
        value.lock().map_or(2, |guard| u64::from(*guard != 0))
    })
}

fn boxed_value() -> Box<Value<u64>> {
    Box::new(Value::new(1).expect("memory for a value"))
}

/// The victim unlocks, with sleepers behind it.
struct Unlock {
    guard: Option<ValueGuard<'static, u64>>,
    sleepers: Vec<Survivor>,
    flags: Flags,
    value: Box<Value<u64>>,
}

impl Unlock {
    fn new(count: usize) -> Self {
        let (flags, value) = (Flags::new(), boxed_value());
        let sleepers = (0..count).map(|_| sleeper(&flags, &value)).collect();
        Unlock { guard: None, sleepers, flags, value }
    }
}

impl World for Unlock {
    fn prepare(&mut self) {
        let mut guard = pinned(&self.value).lock().expect("a free lock");
        *guard = 2;
        self.guard = Some(guard);
        put_to_bed(&self.flags, &self.sleepers);
    }

    fn operation(&mut self) {
        self.guard = None;
    }

    fn watched(&self) -> Vec<Watched> {
        vec![watch(&*self.value, 64)]
    }

    fn check(&mut self, kill: &mut Kill) {
        demand_all(kill, &mut self.sleepers);
        kill.demand(!kill.finished || self.value.get() == 2, "an acknowledged change is lost");
        kill.committed(self.value.get() == 2);
    }
}

/// The same with a bare lock, which is marked: the sleepers must come back with an answer.
struct UnlockBare {
    guard: Option<crossproc::LockGuard<'static>>,
    sleepers: Vec<Survivor>,
    flags: Flags,
    lock: Box<Lock>,
}

impl UnlockBare {
    fn new() -> Self {
        let (flags, lock) = (Flags::new(), Box::new(Lock::new().expect("memory for a lock")));
        let sleeper = |_| {
            Survivor::start(|| {
                flags.wait_for(BEDTIME);
                drop(lock.lock()); // taken, or marked
                1
            })
        };
        UnlockBare { guard: None, sleepers: (0..2).map(sleeper).collect(), flags: flags.clone(), lock }
    }
}

impl World for UnlockBare {
    fn prepare(&mut self) {
        self.guard = Some(pinned(&self.lock).lock().expect("a free lock"));
        put_to_bed(&self.flags, &self.sleepers);
    }

    fn operation(&mut self) {
        self.guard = None;
    }

    fn check(&mut self, kill: &mut Kill) {
        demand_all(kill, &mut self.sleepers);
    }
}

/// What happens while the victim sleeps.
#[derive(Clone, Copy, PartialEq)]
enum Night {
    /// Nothing: it is killed in its sleep.
    Quiet,
    /// The holder unlocks, the victim is woken.
    Woken,
    /// The holder unlocks and locks again before the woken victim runs; if that sleeps again, it is killed in its
    /// sleep.
    Barged,
    /// The same, and the victim's time is up before it runs.
    BargedAndLate,
    /// No thread unlocks until the victim's time is up.
    TimeOut,
}

/// The tester holds the lock; the victim waits for it, and another waiter behind or in front of it.
struct Contended {
    night: Night,
    limit: Option<Duration>,
    holder: Option<ValueGuard<'static, u64>>,
    others: Vec<Survivor>,
    flags: Flags,
    value: Box<Value<u64>>,
}

const NO_LIMIT: Option<Duration> = None;
const LONG: Option<Duration> = Some(Duration::from_secs(100));
/// Long enough to be seen asleep on a busy machine, mostly.
const SHORT: Option<Duration> = Some(Duration::from_millis(30));

impl Contended {
    fn new(night: Night, limit: Option<Duration>, in_front: bool) -> Self {
        let (flags, value) = (Flags::new(), boxed_value());
        let holder = Some(pinned(&value).lock().expect("a free lock"));
        let others = vec![sleeper(&flags, &value)];
        if in_front {
            put_to_bed(&flags, &others);
        }
        Contended { night, limit, holder, others, flags, value }
    }

    fn scenario(name: &str, night: Night, limit: Option<Duration>, in_front: bool) -> Scenario {
        let scenario = Scenario::new(format!("lock/{name}"), move || Self::new(night, limit, in_front));
        // Each point takes as long as the limit.
        let scenario = if limit == SHORT { scenario.strategy(Strategy::ByEffect) } else { scenario };
        if night == Night::Quiet { scenario } else { scenario.after_wake() }
    }

    fn unlock_and_barge(&mut self) {
        self.holder = None;
        if self.night != Night::Woken {
            // The tester is faster than one it traces; if not than the sleeper in front, that one is through.
            self.holder = pinned(&self.value).try_lock().ok();
        }
    }
}

impl World for Contended {
    fn prepare(&mut self) {
        boxed_value().set(2).expect("a free lock");
    }

    fn operation(&mut self) {
        let guard = match self.limit {
            None => self.value.lock().ok(),
            Some(limit) => self.value.lock_timeout(limit).ok(),
        };
        if let Some(mut guard) = guard {
            *guard = 2;
        }
    }

    fn watched(&self) -> Vec<Watched> {
        vec![watch(&*self.value, 64)]
    }

    fn victim_asleep(&mut self, nth: u32) -> Asleep {
        put_to_bed(&self.flags, &self.others);
        match self.night {
            Night::Quiet => return Asleep::Leave,
            Night::TimeOut => {}
            _ if nth > 1 => return Asleep::Leave,
            Night::Woken | Night::Barged => self.unlock_and_barge(),
            Night::BargedAndLate => {
                self.unlock_and_barge();
                std::thread::sleep(SHORT.unwrap_or_default());
            }
        }
        Asleep::Woken
    }

    fn check(&mut self, kill: &mut Kill) {
        self.flags.set(BEDTIME); // if the victim died before it slept
        self.holder = None;
        demand_all(kill, &mut self.others);
        let free = self.value.try_lock().is_ok();
        kill.demand(free, "the lock is not free in the end");
    }
}

/// Two unlockers at once. The first stands between its two wakes, when a barger, the victim, has the lock and a new
/// sleeper waits for it. Whether or not the victim's wake is lost with it, the second wake of the first one comes.
struct TwoUnlockers {
    guard: Option<ValueGuard<'static, u64>>,
    barger: Option<ValueGuard<'static, u64>>,
    first: Victim,
    sleepers: Vec<Survivor>,
    flags: Flags,
    value: Box<Value<u64>>,
}

impl TwoUnlockers {
    fn new() -> Self {
        let (flags, value) = (Flags::new(), boxed_value());
        // A waiter that is killed in its sleep leaves W, with no other waiter.
        let mut waiter = [sleeper(&flags, &value)];
        let lock_and_leave_w = || {
            let guard = value.lock().expect("a free lock");
            put_to_bed(&flags, &waiter);
            guard
        };
        let mut first = Victim::start(lock_and_leave_w, drop);
        waiter[0].kill();
        let stops = [first.run_to_call(), first.run_to_call()];
        assert_eq!(stops, [Stop::Call, Stop::Call], "the unlock has no wake");
        let flags = Flags::new();
        let sleepers = vec![sleeper(&flags, &value)];
        TwoUnlockers { guard: None, barger: None, first, sleepers, flags, value }
    }

    fn finish_first(&mut self) {
        const CALLS: usize = 8; // the second wake, and the stop after the operation
        for _ in 0..CALLS {
            if !self.first.finished() {
                self.first.run_to_call();
            }
        }
    }
}

impl World for TwoUnlockers {
    fn prepare(&mut self) {
        self.guard = Some(pinned(&self.value).lock().expect("a free lock"));
        put_to_bed(&self.flags, &self.sleepers);
    }

    fn operation(&mut self) {
        self.guard = None;
    }

    fn before_kill(&mut self) {
        self.finish_first();
        self.barger = pinned(&self.value).try_lock().ok();
    }

    fn check(&mut self, kill: &mut Kill) {
        kill.demand(self.first.finished(), "the first unlocker does not come to its end");
        self.barger = None;
        demand_all(kill, &mut self.sleepers);
    }
}

/// A lock whose holder was killed, taken by a victim that is killed as well: the next one still gets it.
struct Inherit {
    sleepers: Vec<Survivor>,
    flags: Flags,
    value: Box<Value<u64>>,
}

impl Inherit {
    fn new() -> Self {
        let (flags, value) = (Flags::new(), boxed_value());
        // Two sleepers: the death of the holder wakes the first, which the victim may overtake.
        let sleepers: Vec<_> = (0..2).map(|_| sleeper(&flags, &value)).collect();
        die_after(|| {
            std::mem::forget(value.lock());
            put_to_bed(&flags, &sleepers);
        });
        Inherit { sleepers, flags, value }
    }
}

impl World for Inherit {
    fn prepare(&mut self) {
        boxed_value().set(2).expect("a free lock");
    }

    fn operation(&mut self) {
        self.value.set(2).expect("a free lock");
    }

    fn check(&mut self, kill: &mut Kill) {
        self.flags.set(BEDTIME);
        demand_all(kill, &mut self.sleepers);
        let free = self.value.try_lock().is_ok();
        kill.demand(free, "the lock is not free in the end");
    }
}

pub fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::new("lock/unlock-one-sleeper", || Unlock::new(1)),
        Scenario::new("lock/unlock-two-sleepers", || Unlock::new(2)),
        Scenario::new("lock/unlock-bare", UnlockBare::new),
        Contended::scenario("fall-asleep", Night::Quiet, NO_LIMIT, false),
        Contended::scenario("fall-asleep-second", Night::Quiet, NO_LIMIT, true),
        Contended::scenario("woken", Night::Woken, NO_LIMIT, false),
        Contended::scenario("woken-second", Night::Woken, NO_LIMIT, true),
        Contended::scenario("woken-barged", Night::Barged, NO_LIMIT, false),
        Contended::scenario("timed-fall-asleep", Night::Quiet, LONG, false),
        Contended::scenario("timed-woken", Night::Woken, LONG, false),
        Contended::scenario("timed-woken-barged", Night::Barged, LONG, false),
        Contended::scenario("timed-barged-and-late", Night::BargedAndLate, SHORT, false),
        Contended::scenario("timed-out", Night::TimeOut, SHORT, false),
        Contended::scenario("timed-out-second", Night::TimeOut, SHORT, true),
        Scenario::new("lock/two-unlockers", TwoUnlockers::new),
        Scenario::new("lock/inherit", Inherit::new),
    ]
}
