//! Several guards at once, so that the robust list is used besides the slot, in a fork child of a process that does the
//! same.

use super::array::{demand_mark, victim_of};
use super::common::{Flags, patience, pinned, warm_up, watch};
use super::stepper::{Kill, Scenario, Watched, World};
use crossproc::{Array, Lock, LockGuard, Value};

/// Flags `LOCKED + i` and `UNLOCKING + i` of lock i.
const LOCKED: usize = 0;
const UNLOCKING: usize = 4;

/// Locks taken in order, and given up in another one.
struct Several {
    order: [usize; 3],
    /// Guards that the parent holds while it forks and until after the kill.
    parents: Vec<LockGuard<'static>>,
    flags: Flags,
    parents_locks: Box<[Lock; 3]>,
    locks: Box<[Lock; 3]>,
}

impl Several {
    fn new(order: [usize; 3], parent_holds: bool) -> Self {
        let locks = || Box::new([(); 3].map(|()| Lock::new().expect("memory for a lock")));
        let parents_locks = locks();
        let held = if parent_holds { 3 } else { 0 };
        let take = |lock: &'static Lock| lock.lock().expect("a free lock");
        let parents = pinned(&parents_locks).iter().take(held).map(take).collect();
        Several { order, parents, flags: Flags::new(), parents_locks, locks: locks() }
    }

    fn scenario(name: &str, order: [usize; 3], parent_holds: bool) -> Scenario {
        Scenario::new(format!("nested/{name}"), move || Self::new(order, parent_holds))
    }

    fn check_parent(&mut self, kill: &mut Kill) {
        if self.parents.is_empty() {
            return;
        }
        for lock in self.parents_locks.iter() {
            kill.demand(lock.holder() == Some(std::process::id()), "the parent lost its lock by the child's death");
        }
        self.parents.clear();
        for lock in self.parents_locks.iter() {
            kill.demand(lock.try_lock().is_ok(), "the parent's lock is not free after its unlock");
        }
    }
}

impl World for Several {
    fn prepare(&mut self) {
        warm_up();
    }

    fn operation(&mut self) {
        let mut guards = [None, None, None];
        for (i, lock) in self.locks.iter().enumerate() {
            guards[i] = Some(lock.lock().expect("a free lock"));
            self.flags.set(LOCKED + i);
        }
        for i in self.order {
            self.flags.set(UNLOCKING + i);
            guards[i] = None;
        }
    }

    fn watched(&self) -> Vec<Watched> {
        self.locks.iter().map(|lock| watch(lock, 64)).collect()
    }

    fn check(&mut self, kill: &mut Kill) {
        let mut marks = 0;
        for (i, lock) in self.locks.iter().enumerate() {
            let mark = victim_of(kill, lock.lock_timeout(patience()));
            let (locked, unlocking) = (self.flags.is_set(LOCKED + i), self.flags.is_set(UNLOCKING + i));
            demand_mark(kill, &format!("lock {i}"), mark, locked, unlocking);
            kill.demand(mark.is_none() || i == 0 || self.flags.is_set(LOCKED + i - 1), "marked before it was locked");
            marks += u32::from(mark.is_some());
        }
        kill.recovered();
        kill.committed(marks == 0);
        if !kill.is_clean() {
            return;
        }
        for lock in self.locks.iter() {
            kill.demand(lock.lock_or_repair(|| ()).is_ok(), "no repair");
            kill.demand(lock.try_lock().is_ok(), "not free after the repair");
        }
        self.check_parent(kill);
    }
}

/// A value inside an array's guard; `get` and `set` of another value in between use the slot as well.
struct Mixed {
    flags: Flags,
    array: Array<u64>,
    value: Value<u64>,
    other: Value<u64>,
}

impl Mixed {
    fn new() -> Self {
        let value = |start| Value::new(start).expect("memory for a value");
        let array = Array::from_slice(&[1, 1]).expect("memory for an array");
        Mixed { flags: Flags::new(), array, value: value(1), other: value(1) }
    }
}

impl World for Mixed {
    fn prepare(&mut self) {
        self.other.set(1).expect("a free lock");
    }

    fn operation(&mut self) {
        let mut items = self.array.lock().expect("a free lock");
        self.flags.set(LOCKED);
        let mut word = self.value.lock().expect("a free lock");
        items[0] = 2;
        self.other.set(2).expect("a free lock");
        *word = 2;
        items[1] = self.other.get();
        self.flags.set(UNLOCKING);
        drop(items);
        self.flags.set(UNLOCKING + 1);
        drop(word);
    }

    fn watched(&self) -> Vec<Watched> {
        vec![watch(&self.array, 256), watch(&self.value, 64), watch(&self.other, 64)]
    }

    fn check(&mut self, kill: &mut Kill) {
        let mark = victim_of(kill, self.array.lock_timeout(patience()));
        demand_mark(kill, "the array", mark, self.flags.is_set(LOCKED), self.flags.is_set(UNLOCKING));
        kill.recovered();
        for value in [&self.value, &self.other] {
            match value.lock_timeout(patience()) {
                Ok(guard) => kill.demand(*guard == 1 || *guard == 2, "torn"),
                Err(error) => kill.demand(false, format!("a value after the kill: {error}")),
            }
        }
        if !kill.is_clean() {
            return;
        }
        let (committed, other) = (self.value.get() == 2, self.other.get() == 2);
        kill.committed(committed);
        kill.demand(!committed || self.flags.is_set(UNLOCKING + 1), "committed before the guard was dropped");
        kill.demand(committed || !kill.finished, "an acknowledged change is lost");
        kill.demand(other || !self.flags.is_set(UNLOCKING), "an acknowledged set is lost");
        kill.demand(self.array.lock_or_repair(|items| items.fill(2)).is_ok(), "no repair");
        kill.demand(!self.flags.is_set(UNLOCKING + 1) || self.array.to_vec() == Ok(vec![2, 2]), "lost items");
    }
}

pub fn scenarios() -> Vec<Scenario> {
    vec![
        Several::scenario("outer-first", [0, 1, 2], false),
        Several::scenario("inner-first", [2, 1, 0], false),
        Several::scenario("middle-first", [1, 2, 0], false),
        Several::scenario("while-the-parent-holds", [0, 2, 1], true),
        Scenario::new("nested/mixed", Mixed::new),
    ]
}
