//! A value and one process that changes it: whatever happens, the value is the old or the new one as a whole.

use super::common::{Flags, patience, pinned, watch};
use super::stepper::{Kill, Scenario, Strategy, Watched, World};
use crossproc::{Pod, Value, ValueGuard};

const LOCKED: usize = 0;

/// What is done to the value.
#[derive(Clone, Copy, PartialEq)]
enum Deed {
    /// `lock`, change, drop.
    Modify,
    /// The same, in a process that has never locked anything.
    FirstOfAll,
    /// The guard is there already; it is dropped.
    Commit,
    /// The guard is there already; it is rolled back.
    RollBack,
    Set,
    Update,
    /// `update` that panics.
    Panic,
    Get,
}

/// A value of `N` words that are all 1, and become all 2.
struct Quiet<const N: usize> {
    deed: Deed,
    guard: Option<ValueGuard<'static, [u64; N]>>,
    flags: Flags,
    value: Box<Value<[u64; N]>>,
}

impl<const N: usize> Quiet<N>
where
    [u64; N]: Pod,
{
    fn new(deed: Deed) -> Self {
        let value = Box::new(Value::new([1; N]).expect("memory for a value"));
        Quiet { deed, guard: None, flags: Flags::new(), value }
    }

    fn scenario(name: &str, deed: Deed) -> Scenario {
        Scenario::new(format!("value/{name}"), move || Self::new(deed))
    }

    /// One of the two contents, or none.
    fn is_new(&self, kill: &mut Kill, content: [u64; N]) -> bool {
        kill.demand(content == [1; N] || content == [2; N], format!("torn: {} .. {}", content[0], content[N - 1]));
        content[0] == 2
    }

    /// The first lock after the kill: at once, and it tells what happened to the one before.
    fn check_first(&self, kill: &mut Kill, must_be_new: bool) -> bool {
        let guard = match self.value.try_lock() {
            Ok(guard) => guard,
            Err(error) => {
                kill.demand(false, format!("the first lock: {error}"));
                return false;
            }
        };
        kill.recovered();
        let is_new = self.is_new(kill, *guard);
        kill.demand(!must_be_new || is_new, "an acknowledged change is lost");
        let recovered = guard.recovered_from();
        let victim = Some(kill.pid as u32);
        if is_new {
            kill.demand(recovered.is_none(), format!("it had committed, but {recovered:?} was rolled back"));
        } else if self.flags.is_set(LOCKED) && self.deed != Deed::RollBack {
            kill.demand(recovered == victim, format!("{victim:?} died with its guard, not {recovered:?}"));
        } else {
            kill.demand(recovered.is_none() || recovered == victim, format!("{recovered:?} never had the lock"));
        }
        guard.rollback();
        is_new
    }
}

impl<const N: usize> World for Quiet<N>
where
    [u64; N]: Pod,
{
    fn prepare(&mut self) {
        if self.deed != Deed::FirstOfAll {
            self.value.lock().expect("a free lock").rollback();
        }
        if matches!(self.deed, Deed::Commit | Deed::RollBack) {
            let mut guard = pinned(&self.value).lock().expect("a free lock");
            *guard = [2; N];
            self.guard = Some(guard);
            self.flags.set(LOCKED);
        }
    }

    fn operation(&mut self) {
        match self.deed {
            Deed::Modify | Deed::FirstOfAll => {
                let mut guard = self.value.lock().expect("a free lock");
                self.flags.set(LOCKED);
                *guard = [2; N];
            }
            Deed::Commit => drop(self.guard.take()),
            Deed::RollBack => self.guard.take().expect("locked before").rollback(),
            Deed::Set => self.value.set([2; N]).expect("a free lock"),
            Deed::Update => self.value.update(|words| words.fill(2)).expect("a free lock"),
            Deed::Panic => {
                let panicking = std::panic::AssertUnwindSafe(|| {
                    let _ = self.value.update(|words| {
                        words.fill(2);
                        std::panic::resume_unwind(Box::new(()));
                    });
                });
                let _ = std::panic::catch_unwind(panicking);
            }
            Deed::Get => assert_eq!(self.value.get(), [1; N]),
        }
    }

    fn watched(&self) -> Vec<Watched> {
        vec![watch(&*self.value, 48 + 16 * N)]
    }

    fn check(&mut self, kill: &mut Kill) {
        let read = self.is_new(kill, self.value.get());
        let changes = !matches!(self.deed, Deed::Get | Deed::RollBack | Deed::Panic);
        let is_new = self.check_first(kill, kill.finished && changes);
        kill.demand(read == is_new, "reading and locking give different values");
        kill.demand(!is_new || changes, "a change that was not committed");
        kill.committed(is_new);
        match self.value.lock_timeout(patience()) {
            Ok(mut guard) => {
                kill.demand(guard.recovered_from().is_none(), "the second lock is not clean");
                *guard = [2; N];
            }
            Err(error) => kill.demand(false, format!("the second lock: {error}")),
        }
        kill.demand(self.value.get() == [2; N], "the value cannot be changed any more");
    }
}

pub fn scenarios() -> Vec<Scenario> {
    vec![
        Quiet::<2>::scenario("modify", Deed::Modify),
        Quiet::<2>::scenario("first-of-all", Deed::FirstOfAll),
        Quiet::<8>::scenario("modify-64", Deed::Modify),
        Quiet::<512>::scenario("modify-4096", Deed::Modify).strategy(Strategy::ByEffect),
        Quiet::<2>::scenario("commit", Deed::Commit),
        Quiet::<2>::scenario("roll-back", Deed::RollBack),
        Quiet::<2>::scenario("set", Deed::Set),
        Quiet::<2>::scenario("update", Deed::Update),
        Quiet::<2>::scenario("update-panics", Deed::Panic).strategy(Strategy::ByEffect),
        Quiet::<2>::scenario("get", Deed::Get),
    ]
}
