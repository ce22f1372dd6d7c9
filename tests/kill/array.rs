//! Arrays, their parts, and bare locks: a process that dies with the lock leaves a mark until a process repairs.

use super::common::{Flags, die_after, patience, warm_up, watch};
use super::stepper::{Kill, Scenario, Watched, World};
use crossproc::{Array, ArrayError, ArrayGuard, Lock, LockError, LockTimeoutError, Part};

const LOCKED: usize = 0;
const UNLOCKING: usize = 1;
const REPAIRING: usize = 2;
const REPAIRED: usize = 3;

/// The words of the array: 3 parts of 2.
const LEN: usize = 6;
const OLD: [u64; LEN] = [1; LEN];
/// What a repair leaves.
const GOOD: u64 = 9;

/// What a lock says after the kill: `None` if it was taken, else the process that it names as dead.
pub fn victim_of<G>(kill: &mut Kill, answer: Result<G, LockTimeoutError>) -> Option<u32> {
    match answer {
        Ok(_) => None,
        Err(LockTimeoutError::Lock(LockError::OwnerDied { pid })) => Some(pid),
        Err(error) => {
            kill.demand(false, format!("the lock after the kill: {error}"));
            None
        }
    }
}

/// A mark is there exactly when the victim died with its guard; while it takes or frees the lock, it may be.
pub fn demand_mark(kill: &mut Kill, what: &str, mark: Option<u32>, locked: bool, unlocking: bool) {
    let victim = Some(kill.pid as u32);
    kill.demand(mark.is_none() || mark == victim, format!("{what}: the mark names {mark:?}, not {victim:?}"));
    if locked && !unlocking {
        kill.demand(mark.is_some(), format!("{what}: no mark, though the victim died with its guard"));
    }
    kill.demand(!kill.finished || mark.is_none(), format!("{what}: a mark, though the victim had unlocked"));
}

/// What the victim locks.
#[derive(Clone, Copy, PartialEq)]
enum Target {
    Lock,
    Array,
    /// An array that is divided: the whole, with the locks of all parts.
    Divided,
    /// Its part 1.
    Part,
    /// Item 3 of the divided array, by `set`.
    Item,
}

/// A lock of some kind, that no other process uses.
struct Quiet {
    target: Target,
    flags: Flags,
    lock: Lock,
    parts: Vec<Part<u64>>,
    array: Array<u64>,
}

impl Quiet {
    fn new(target: Target) -> Self {
        let array = Array::from_slice(&OLD).expect("memory for an array");
        let divided = !matches!(target, Target::Lock | Target::Array);
        let parts = if divided { array.parts(3).expect("three parts") } else { Vec::new() };
        Quiet { target, flags: Flags::new(), lock: Lock::new().expect("memory for a lock"), parts, array }
    }

    fn scenario(name: &str, target: Target) -> Scenario {
        Scenario::new(format!("array/{name}"), move || Self::new(target))
    }

    /// Writes half, then the other half, then unlocks.
    fn work(&self, mut guard: ArrayGuard<'_, u64>) {
        self.flags.set(LOCKED);
        for item in guard.iter_mut() {
            *item = 2;
        }
        self.flags.set(UNLOCKING);
    }

    fn probe(&self, kill: &mut Kill) -> Option<u32> {
        match self.target {
            Target::Lock => victim_of(kill, self.lock.lock_timeout(patience())),
            Target::Part => victim_of(kill, self.parts[1].lock_timeout(patience())),
            _ => victim_of(kill, self.array.lock_timeout(patience())),
        }
    }

    /// Runs when its lock is marked, and says how often it ran.
    fn repair(&self) -> Result<u32, LockError> {
        let mut runs = 0;
        match self.target {
            Target::Lock => self.lock.lock_or_repair(|| runs += 1).map(drop)?,
            Target::Part => self.parts[1].lock_or_repair(|items| (runs, _) = (runs + 1, items.fill(GOOD))).map(drop)?,
            _ => self.array.lock_or_repair(|items| (runs, _) = (runs + 1, items.fill(GOOD))).map(drop)?,
        }
        Ok(runs)
    }

    /// The parts and the whole must agree on which process died.
    fn check_family(&self, kill: &mut Kill, mark: Option<u32>) {
        let whole = victim_of(kill, self.array.lock_timeout(patience()));
        let each: Vec<_> = self.parts.iter().map(|part| victim_of(kill, part.lock_timeout(patience()))).collect();
        let (locked, unlocking) = (self.flags.is_set(LOCKED), self.flags.is_set(UNLOCKING));
        match self.target {
            Target::Divided => {
                demand_mark(kill, "whole", whole, locked, unlocking);
                each.iter().for_each(|&mark| demand_mark(kill, "each part", mark, locked, unlocking));
            }
            Target::Part => {
                kill.demand(whole == mark && each[1] == mark, "the part and the whole disagree");
                kill.demand(each[0].is_none() && each[2].is_none(), "another part is marked");
            }
            Target::Item => {
                kill.demand(each[0].is_none() && each[2].is_none(), "another part is marked");
                kill.demand(whole == each[1] || whole.is_some(), "a marked part in a clean whole");
            }
            Target::Lock | Target::Array => {}
        }
    }

    fn check_content(&self, kill: &mut Kill, mark: Option<u32>, repaired: bool) {
        let content = self.array.to_vec().unwrap_or_default();
        let range = match self.target {
            Target::Part => 2..4,
            Target::Item => 3..4,
            Target::Lock => return,
            _ => 0..LEN,
        };
        let inside = content.get(range.clone()).unwrap_or_default();
        let all = |value: u64| inside.iter().all(|&item| item == value);
        kill.demand(content.len() == LEN, "the whole cannot be read");
        if !repaired {
            kill.demand(all(1) || all(2), format!("half of a change, and no mark: {content:?}"));
            kill.demand(all(2) || !kill.finished, "an acknowledged change is lost");
            let outside = |i: &usize| !range.contains(i);
            kill.demand((0..LEN).filter(outside).all(|i| content[i] == 1), "written outside");
        }
        kill.committed(mark.is_none() && all(2));
    }

    /// What the victim left of the other locks: a repair of the whole makes all of it good.
    fn repair_whole(&self, kill: &mut Kill) -> bool {
        let mut runs = 0;
        let whole = self.array.lock_or_repair(|items| (runs, _) = (runs + 1, items.fill(GOOD))).map(drop);
        kill.demand(whole.is_ok(), format!("the repair of the whole: {whole:?}"));
        runs > 0
    }
}

impl World for Quiet {
    fn prepare(&mut self) {
        warm_up();
    }

    fn operation(&mut self) {
        match self.target {
            Target::Lock => {
                let guard = self.lock.lock().expect("a free lock");
                self.flags.set(LOCKED);
                self.flags.set(UNLOCKING);
                drop(guard);
            }
            Target::Array | Target::Divided => self.work(self.array.lock().expect("a free lock")),
            Target::Part => self.work(self.parts[1].lock().expect("a free lock")),
            Target::Item => self.array.set(3, 2).expect("a free lock"),
        }
    }

    fn watched(&self) -> Vec<Watched> {
        vec![watch(&self.array, 64 * (1 + LEN) + 8 * LEN), watch(&self.lock, 64)]
    }

    fn check(&mut self, kill: &mut Kill) {
        let mark = self.probe(kill);
        kill.recovered();
        demand_mark(kill, "the lock", mark, self.flags.is_set(LOCKED), self.flags.is_set(UNLOCKING));
        let again = self.probe(kill);
        kill.demand(again == mark, "the mark does not stay");
        self.check_family(kill, mark);
        if !kill.is_clean() {
            return;
        }
        let ran = self.repair();
        let wanted = Ok(u32::from(mark.is_some()));
        kill.demand(ran == wanted, format!("repairs: {ran:?} instead of {wanted:?}"));
        kill.demand(self.repair() == Ok(0), "the second repair finds something to do");
        let after = self.probe(kill);
        kill.demand(after.is_none(), "a mark after the repair");
        let repaired = self.repair_whole(kill) || mark.is_some();
        self.check_content(kill, mark, repaired);
        for part in &self.parts {
            kill.demand(part.try_lock().is_ok(), "a part is not free after the repair");
        }
    }
}

/// A process died with the lock; the victim repairs, then unlocks.
struct Repair {
    target: Target,
    first: u32,
    flags: Flags,
    quiet: Quiet,
}

impl Repair {
    fn new(target: Target) -> Self {
        let quiet = Quiet::new(target);
        let first = die_after(|| match target {
            Target::Lock => std::mem::forget(quiet.lock.lock()),
            Target::Part => std::mem::forget(quiet.parts[1].lock()),
            _ => std::mem::forget(quiet.array.lock()),
        });
        Repair { target, first, flags: Flags::new(), quiet }
    }

    fn scenario(name: &str, target: Target) -> Scenario {
        Scenario::new(format!("array/repair-{name}"), move || Self::new(target))
    }

    /// Writes two words; between them the data is bad.
    fn mend(&self, items: &mut [u64]) {
        self.flags.set(REPAIRING);
        items[0] = GOOD;
        std::sync::atomic::compiler_fence(std::sync::atomic::Ordering::SeqCst);
        items[1] = GOOD;
        self.flags.set(REPAIRED);
    }

    fn check_array(&self, kill: &mut Kill, ran: u32, mark: Option<u32>) {
        if self.target == Target::Lock {
            return;
        }
        let content = self.quiet.array.to_vec().unwrap_or_default();
        let from = if self.target == Target::Part { 2 } else { 0 };
        let good = content.get(from..from + 2).is_some_and(|items| items == [GOOD; 2]);
        kill.demand(good, format!("not repaired: {content:?}, {ran} repairs after the mark {mark:?}"));
    }
}

impl World for Repair {
    fn prepare(&mut self) {
        self.quiet.prepare();
    }

    fn operation(&mut self) {
        let done = match self.target {
            Target::Lock => self
                .quiet
                .lock
                .lock_or_repair(|| {
                    self.flags.set(REPAIRING);
                    self.flags.set(REPAIRED);
                })
                .map(drop),
            Target::Part => self.quiet.parts[1].lock_or_repair(|items| self.mend(items)).map(drop),
            _ => self.quiet.array.lock_or_repair(|items| self.mend(items)).map(drop),
        };
        done.expect("a lock to repair");
    }

    fn watched(&self) -> Vec<Watched> {
        self.quiet.watched()
    }

    fn check(&mut self, kill: &mut Kill) {
        let mark = self.quiet.probe(kill);
        kill.recovered();
        let known = [Some(self.first), Some(kill.pid as u32)];
        kill.demand(mark.is_none() || known.contains(&mark), format!("the mark names {mark:?}, not {known:?}"));
        if !self.flags.is_set(REPAIRED) {
            kill.demand(mark.is_some(), "the mark went before the repair was done");
        }
        if !self.flags.is_set(REPAIRING) {
            kill.demand(mark == known[0], "the mark does not name the first victim");
        }
        kill.demand(!kill.finished || mark.is_none(), "a mark after a finished repair");
        if !kill.is_clean() {
            return;
        }
        let ran = self.quiet.repair();
        let wanted = Ok(u32::from(mark.is_some()));
        kill.demand(ran == wanted, format!("repairs: {ran:?} instead of {wanted:?}"));
        kill.committed(mark.is_none());
        kill.demand(self.quiet.repair() == Ok(0), "the second repair finds something to do");
        let after = self.quiet.probe(kill);
        kill.demand(after.is_none(), "a mark after the repair");
        self.check_array(kill, ran.unwrap_or(0), mark);
    }
}

/// Dividing an array, killed: afterwards it can be divided in any way.
struct Divide {
    array: Array<u64>,
}

impl World for Divide {
    fn operation(&mut self) {
        drop(self.array.parts(3).expect("three parts"));
    }

    fn watched(&self) -> Vec<Watched> {
        vec![watch(&self.array, 64 * (1 + LEN) + 8 * LEN)]
    }

    fn check(&mut self, kill: &mut Kill) {
        // The lock of the whole guards the division, which one store commits: a death there may leave a mark.
        let mark = victim_of(kill, self.array.lock_timeout(patience()));
        demand_mark(kill, "whole", mark, false, false);
        if !kill.is_clean() {
            return;
        }
        kill.recovered();
        if mark.is_some() {
            kill.demand(self.array.lock_or_repair(|_| ()).is_ok(), "no repair");
        }
        for n in [2, 3] {
            let parts = self.array.parts(n);
            kill.demand(!matches!(parts, Err(ArrayError::Partitioned)), format!("a dead process keeps its parts, {n}"));
            let Ok(parts) = parts else { return kill.demand(false, "no parts") };
            parts.iter().for_each(|part| kill.demand(part.try_lock().is_ok(), "a part that is not free"));
        }
        kill.demand(self.array.to_vec() == Ok(OLD.to_vec()), "dividing changed the items");
    }
}

pub fn scenarios() -> Vec<Scenario> {
    vec![
        Quiet::scenario("bare-lock", Target::Lock),
        Quiet::scenario("whole", Target::Array),
        Quiet::scenario("divided", Target::Divided),
        Quiet::scenario("part", Target::Part),
        Quiet::scenario("item", Target::Item),
        Repair::scenario("bare-lock", Target::Lock),
        Repair::scenario("whole", Target::Array),
        Repair::scenario("divided", Target::Divided),
        Repair::scenario("part", Target::Part),
        Scenario::new("array/divide", || Divide { array: Array::from_slice(&OLD).expect("memory for an array") }),
    ]
}
