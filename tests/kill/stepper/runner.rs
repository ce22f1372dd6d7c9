//! The loop over the kill points, and the report.

use std::fmt::{self, Display};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use super::plan::{Pass, Route};
use super::ride::{Reached, Ride, survey};
use super::scenario::{Kill, Scenario};

/// For how many points after the last surveyed one a run that took longer is followed.
const EXTRA_POINTS: u32 = 64;

/// How often a victim may miss its sleep: one with a deadline may find that it has passed, on a busy machine.
const ATTEMPTS: u32 = 10;

/// What the kills of one scenario came to.
#[derive(Debug, Default)]
pub struct Report {
    /// The scenario.
    pub name: String,
    /// Instructions of the operation, as the survey counted them.
    pub instructions: u32,
    /// Victims killed.
    pub points: u32,
    /// Kills before the operation took effect, as far as the world said.
    pub before_commit: u32,
    /// Kills after that.
    pub after_commit: u32,
    /// Kills of a victim that slept.
    pub asleep: u32,
    /// Everything the worlds complained about.
    pub violations: Vec<String>,
    /// The longest time from the signal to recovery, in microseconds.
    pub worst_recovery_us: u64,
    /// The time it all took.
    pub elapsed: Duration,
}

impl Report {
    /// No violations.
    pub fn is_clean(&self) -> bool {
        self.violations.is_empty()
    }

    fn add(&mut self, kill: Kill) {
        self.points += 1;
        match kill.committed {
            Some(true) => self.after_commit += 1,
            Some(false) => self.before_commit += 1,
            None => {}
        }
        self.asleep += u32::from(kill.reached == Reached::Asleep);
        let recovery = u64::try_from(kill.recovery.as_micros()).unwrap_or(u64::MAX);
        self.worst_recovery_us = self.worst_recovery_us.max(recovery);
        let (point, reached) = (kill.point, kill.reached);
        let place = |text| format!("point {point} ({reached:?}): {text}");
        self.violations.extend(kill.violations.into_iter().map(place));
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:28} {:4} points of {:5} instructions, {:4} before and {:4} after the commit, \
             {} violations, worst recovery {} us, {:.2} ms a point",
            self.name,
            self.points,
            self.instructions,
            self.before_commit,
            self.after_commit,
            self.violations.len(),
            self.worst_recovery_us,
            self.elapsed.as_secs_f64() * 1e3 / f64::from(self.points.max(1)),
        )
    }
}

/// Kills one victim at each point of the scenario that `pass` selects.
pub fn run(scenario: &Scenario, pass: Pass) -> Report {
    let begun = Instant::now();
    let mut report = Report { name: scenario.name.clone(), ..Report::default() };
    if let Err(reason) = kill_all(scenario, pass, &mut report) {
        report.violations.push(reason);
    }
    report.elapsed = begun.elapsed();
    report
}

fn kill_all(scenario: &Scenario, pass: Pass, report: &mut Report) -> Result<(), String> {
    let route = (0..ATTEMPTS).find_map(|_| survey(scenario).ok()).map_or_else(|| survey(scenario), Ok)?;
    report.instructions = route.last();
    let points = pass.pick(&route.points(scenario.strategy)?, &route);
    let mut reached = Reached::Point;
    for point in points {
        reached = kill_at(point, &route, scenario, report);
        if report.violations.len() >= pass.enough {
            return Ok(());
        }
    }
    let beyond = route.last()..=route.last() + EXTRA_POINTS;
    for point in beyond.skip(1) {
        if reached != Reached::Point {
            break;
        }
        reached = kill_at(point, &route, scenario, report);
    }
    Ok(())
}

/// One world, one victim, one kill.
fn kill_at(point: u32, route: &Route, scenario: &Scenario, report: &mut Report) -> Reached {
    let mut world = (scenario.build)();
    let (mut ride, mut reached) = Ride::to(point, Some(route), scenario, &mut *world);
    for _ in 0..ATTEMPTS {
        if reached != Reached::NeverSlept {
            break;
        }
        drop((ride, world)); // the next one may have the same names
        world = (scenario.build)();
        (ride, reached) = Ride::to(point, Some(route), scenario, &mut *world);
    }
    if reached == Reached::End && point < route.last() {
        // It took another branch and may have run past its breakpoint.
        drop((ride, world)); // the next one may have the same names
        world = (scenario.build)();
        (ride, reached) = Ride::to(point, None, scenario, &mut *world);
    }
    world.before_kill();
    let victim = &mut ride.victim;
    let mut kill = Kill::now(point, reached, victim.finished(), victim.pid());
    victim.kill();
    match reached {
        Reached::Dead(status) => kill.demand(false, format!("the victim died: {status:#x}")),
        Reached::NeverSlept => kill.demand(false, "the victim never slept"),
        Reached::Point | Reached::End | Reached::Asleep => {}
    }
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| world.check(&mut kill))) {
        kill.demand(false, panic_text(&*panic));
    }
    report.add(kill);
    reached
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    format!("panicked: {}", text.unwrap_or("without a message"))
}
