//! Permits: taken, given back, forgotten, added; waited for, also when their holder dies.

use super::*;

// The tokens, and behind them what they share.
const TOKENS: usize = 64;
const FEW: usize = 64;
const PRESENT: usize = 8;
const RESERVE: usize = 16;
/// One more than there can be tokens.
const MANY: usize = 1025;
const AWAY: u32 = 1 << 29;

/// How many permits there are, held or not.
fn permits(semaphore: &Semaphore, tokens: usize) -> usize {
    let shared = TOKENS + tokens * SEAT;
    let present = word(semaphore, shared + PRESENT) as usize;
    let here = (0..present).filter(|token| word(semaphore, TOKENS + token * SEAT) != AWAY).count();
    here + double(semaphore, shared + RESERVE) as usize
}

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
    kill.demand(permits.len() == count.min(MANY - 1), format!("{} permits, not {count}", permits.len()));
    drop(permits);
    kill.demand(semaphore.available() == count, "not all permits come back");
}

#[derive(Clone, Copy, PartialEq)]
enum Deed {
    Acquire,
    GiveBack,
    Forget,
    /// Where there are more permits than tokens.
    ForgetOfMany,
    Add,
    AddForgotten,
    TryInVain,
}

impl Deed {
    /// How many permits there are before it.
    fn permits(self) -> usize {
        match self {
            Deed::Acquire | Deed::GiveBack | Deed::Forget => 1,
            Deed::ForgetOfMany => MANY,
            Deed::Add | Deed::AddForgotten | Deed::TryInVain => 0,
        }
    }

    fn tokens(self) -> usize {
        self.permits().clamp(FEW, MANY - 1)
    }

    /// And after it.
    fn permits_after(self) -> usize {
        match self {
            Deed::Forget | Deed::ForgetOfMany => self.permits() - 1,
            Deed::Add | Deed::AddForgotten => 1,
            _ => self.permits(),
        }
    }
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
            let semaphore = Box::new(Semaphore::new(deed.permits()).expect("memory"));
            if deed == Deed::AddForgotten {
                semaphore.release().expect("room");
                semaphore.acquire().expect("a permit").forget();
            }
            let flags = Flags::new();
            let sleepers = (0..sleepers).map(|_| sleeper(&flags, &semaphore)).collect();
            Act { deed, permit: None, sleepers, flags, semaphore }
        })
    }
}

impl World for Act {
    fn prepare(&mut self) {
        warm_up();
        if matches!(self.deed, Deed::GiveBack | Deed::Forget | Deed::ForgetOfMany) {
            self.permit = Some(pinned(&self.semaphore).acquire().expect("a permit"));
        }
        put_to_bed(&self.flags, &self.sleepers);
    }

    fn operation(&mut self) {
        match self.deed {
            Deed::Acquire => self.permit = pinned(&self.semaphore).acquire().ok(),
            Deed::GiveBack => self.permit = None,
            Deed::Forget | Deed::ForgetOfMany => self.permit.take().expect("a permit").forget(),
            Deed::Add | Deed::AddForgotten => self.semaphore.release().expect("room"),
            Deed::TryInVain => drop(self.semaphore.try_acquire()),
        }
    }

    fn watched(&self) -> Vec<Watched> {
        vec![watch(&*self.semaphore, TOKENS + (self.deed.tokens() + 1) * SEAT)]
    }

    fn check(&mut self, kill: &mut Kill) {
        let (count, after) = (permits(&self.semaphore, self.deed.tokens()), self.deed.permits_after());
        if after != self.deed.permits() {
            kill.committed(count == after);
        }
        kill.demand(count == after || !kill.finished && count == self.deed.permits(), format!("{count} permits"));
        let needs_one = count == 0 && self.deed != Deed::TryInVain;
        if needs_one {
            self.semaphore.release().expect("room");
        }
        demand_all(kill, &mut self.sleepers);
        if kill.is_clean() {
            demand_count(kill, &self.semaphore, count + usize::from(needs_one));
        }
        kill.recovered();
    }
}

/// The victim waits, and others before or after it.
struct Wait {
    night: Night,
    /// What comes is a permit that there never was before.
    is_new: bool,
    permit: Option<Permit<'static>>,
    holder: Option<Survivor>,
    others: Vec<Survivor>,
    flags: Flags,
    semaphore: Box<Semaphore>,
}

impl Wait {
    fn scenario(name: &str, night: Night, in_front: bool) -> Scenario {
        night.shape(Scenario::new(format!("semaphore/{name}"), move || Self::new(night, in_front, false)))
    }

    fn scenario_new(name: &str, in_front: bool) -> Scenario {
        let night = Night::Woken;
        night.shape(Scenario::new(format!("semaphore/{name}"), move || Self::new(night, in_front, true)))
    }

    fn new(night: Night, in_front: bool, is_new: bool) -> Self {
        let (semaphore, flags) = (Box::new(Semaphore::new(usize::from(!is_new)).expect("memory")), Flags::new());
        let holder = (night == Night::Bereft).then(|| {
            let mut holder = Survivor::start(|| {
                std::mem::forget(semaphore.acquire());
                1
            });
            assert_eq!(holder.wait_result(patience()), Some(1));
            holder
        });
        let permit = (holder.is_none() && !is_new).then(|| pinned(&semaphore).acquire().expect("a permit"));
        let others = vec![sleeper(&flags, &semaphore)];
        if in_front {
            put_to_bed(&flags, &others);
        }
        Wait { night, is_new, permit, holder, others, flags, semaphore }
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
        vec![watch(&*self.semaphore, TOKENS + (FEW + 1) * SEAT)]
    }

    fn victim_asleep(&mut self, nth: u32) -> Asleep {
        put_to_bed(&self.flags, &self.others);
        match self.night {
            Night::Quiet => return Asleep::Leave,
            Night::TimeOut => {}
            _ if nth > 1 => {}
            Night::Woken if self.is_new => self.semaphore.release().expect("room"),
            Night::Woken => self.permit = None,
            Night::Bereft => self.holder.iter_mut().for_each(Survivor::kill),
        }
        Asleep::Woken
    }

    fn check(&mut self, kill: &mut Kill) {
        self.flags.set(BEDTIME);
        self.permit = None;
        if permits(&self.semaphore, FEW) == 0 {
            self.semaphore.release().expect("room");
        }
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
        Act::scenario("forget-of-many", Deed::ForgetOfMany, 0),
        Act::scenario("release", Deed::Add, 0),
        Act::scenario("release-forgotten-two-sleepers", Deed::AddForgotten, 2),
        Act::scenario("release-two-sleepers", Deed::Add, 2),
        Wait::scenario("fall-asleep", Night::Quiet, false),
        Wait::scenario("fall-asleep-second", Night::Quiet, true),
        Wait::scenario("woken", Night::Woken, false),
        Wait::scenario("woken-second", Night::Woken, true),
        Wait::scenario_new("woken-by-a-new-one", false),
        Wait::scenario_new("woken-by-a-new-one-second", true),
        Wait::scenario("woken-by-a-death", Night::Bereft, false),
        Wait::scenario("woken-by-a-death-second", Night::Bereft, true),
        Wait::scenario("timed-out", Night::TimeOut, false),
    ]
}
