//! Bringing a victim to a kill point, and the survey that finds the points.

use super::plan::{Anchor, Route, Strategy};
use super::scenario::{Asleep, Scenario, World};
use super::victim::{Stop, Victim};
use super::watch::{self, Watched};

/// An operation of that many instructions never ends.
const ENDLESS: u32 = 1_000_000;

/// Where a victim was when it was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// Inside the operation, after as many instructions as the point says.
    Point,
    /// After the operation, which took fewer instructions or was to be killed at its end.
    End,
    /// Asleep in a system call.
    Asleep,
    /// Dead before its time, with this wait status.
    Dead(i32),
    /// The scenario is `after_wake`, and the victim finished without any sleep.
    NeverSlept,
}

/// A victim on its way through the operation.
#[derive(Debug)]
pub(super) struct Ride {
    pub victim: Victim,
    sleeps: u32,
    by_calls: bool,
}

/// `Err` is the end of the ride.
type Onward = Result<Stop, Reached>;

impl Ride {
    /// A fresh victim after `point` instructions. With a route it runs to the nearest breakpoint
    /// and steps the rest; without one, or if it misses the breakpoint, it steps all the way.
    pub fn to(point: u32, route: Option<&Route>, scenario: &Scenario, world: &mut dyn World) -> (Self, Reached) {
        let mut ride = Self::new(scenario, world);
        let arrived = ride.travel(point, route, scenario, world);
        (ride, arrived.err().unwrap_or(Reached::Point))
    }

    /// Forks the victim, which stops in front of its operation.
    fn new(scenario: &Scenario, world: &mut dyn World) -> Self {
        let prepare = || {
            world.prepare();
            world
        };
        let by_calls = scenario.strategy == Strategy::Calls;
        Self { victim: Victim::start(prepare, World::operation), sleeps: 0, by_calls }
    }

    fn travel(
        &mut self,
        point: u32,
        route: Option<&Route>,
        scenario: &Scenario,
        world: &mut dyn World,
    ) -> Result<(), Reached> {
        self.reach_start(scenario, world)?;
        let mut done = 0;
        if !self.by_calls
            && let Some(anchor) = route.and_then(|route| route.anchor(point))
            && self.run_to(anchor, world)?
        {
            done = anchor.point;
        }
        for _ in done..point {
            self.step(world)?;
        }
        Ok(())
    }

    /// Point 0: before the operation, or after its first sleep.
    fn reach_start(&mut self, scenario: &Scenario, world: &mut dyn World) -> Result<(), Reached> {
        while scenario.after_wake && self.sleeps == 0 {
            let stop = self.victim.run_to_call();
            match self.settle(stop, world) {
                Err(Reached::End) if self.sleeps == 0 => return Err(Reached::NeverSlept),
                onward => onward?,
            };
        }
        Ok(())
    }

    fn step(&mut self, world: &mut dyn World) -> Onward {
        let stop = if self.by_calls { self.victim.run_to_call() } else { self.victim.step() };
        self.settle(stop, world)
    }

    /// Runs at full speed to `anchor`; false if there are no breakpoints.
    fn run_to(&mut self, anchor: Anchor, world: &mut dyn World) -> Result<bool, Reached> {
        if !self.victim.set_breakpoint(anchor.address) {
            return Ok(false);
        }
        let mut visits = 0;
        while visits < anchor.visits {
            let stop = self.victim.run_to_call();
            visits += u32::from(self.settle(stop, world)? == Stop::Trap);
        }
        self.victim.clear_breakpoint();
        Ok(true)
    }

    /// Lets the world wake a sleeping victim, and finds out whether the ride is over.
    fn settle(&mut self, mut stop: Stop, world: &mut dyn World) -> Onward {
        if stop == Stop::Asleep {
            self.sleeps += 1;
            match world.victim_asleep(self.sleeps) {
                Asleep::Leave => return Err(Reached::Asleep),
                Asleep::Woken => stop = self.victim.wait_woken(),
            }
        }
        match stop {
            Stop::Ended(status) => Err(Reached::Dead(status)),
            _ if self.victim.finished() => Err(Reached::End),
            stop => Ok(stop),
        }
    }
}

/// Steps through the whole operation once and notes where something happens.
pub(super) fn survey(scenario: &Scenario) -> Result<Route, String> {
    let mut world = (scenario.build)();
    let watched = world.watched();
    let mut ride = Ride::new(scenario, &mut *world);
    if let Err(reached) = ride.reach_start(scenario, &mut *world) {
        return Err(format!("no operation to step through: {reached:?}"));
    }
    let mut route = Route::new(ride.victim.sighting().address);
    let mut before = fingerprint(&ride.victim, &watched);
    loop {
        match ride.step(&mut *world) {
            Ok(_) => {}
            Err(Reached::Dead(status)) => return Err(format!("operation died: {status:#x}")),
            Err(_) => {
                route.push_end();
                return Ok(route);
            }
        }
        let sighting = ride.victim.sighting();
        route.push(sighting.address);
        let after = fingerprint(&ride.victim, &watched);
        if after != before || sighting.call.is_some() {
            route.note_effect();
        }
        before = after;
        if route.last() > ENDLESS {
            return Err(format!("still not done after {ENDLESS} instructions"));
        }
    }
}

fn fingerprint(victim: &Victim, watched: &[Watched]) -> (u64, u64) {
    (watch::memory_state(watched), victim.robust_state())
}
