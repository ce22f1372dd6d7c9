//! What a scenario provides: a world per kill point, and the verdict after the kill.

use std::fmt::Display;
use std::time::{Duration, Instant};

use super::plan::Strategy;
use super::ride::Reached;
use super::watch::Watched;

/// What to do about a victim that sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asleep {
    /// Kill it in its sleep: this is the last point.
    Leave,
    /// It was woken, or will be soon: go on after the system call.
    Woken,
}

/// One fresh set of shared objects, processes around them and expectations.
///
/// `prepare` and `operation` run in the victim, on its own copy of the world (the shared memory in
/// it is of course shared); everything else runs in the test process.
pub trait World {
    /// In the victim, untraced: attach, warm up caches and thread state.
    fn prepare(&mut self) {}

    /// In the victim, traced: what gets killed.
    fn operation(&mut self);

    /// Shared memory whose changes make kill points.
    fn watched(&self) -> Vec<Watched> {
        Vec::new()
    }

    /// The victim sleeps for the `nth` time (from 1) in a system call.
    fn victim_asleep(&mut self, nth: u32) -> Asleep {
        let _ = nth;
        Asleep::Leave
    }

    /// The victim stands at the kill point, about to die.
    fn before_kill(&mut self) {}

    /// The victim is dead: are the survivors well? A panic in here counts as a violation.
    fn check(&mut self, kill: &mut Kill);
}

/// A name, a way to make worlds, and how to choose the kill points.
pub struct Scenario {
    pub(super) name: String,
    pub(super) strategy: Strategy,
    pub(super) after_wake: bool,
    pub(super) build: Box<dyn Fn() -> Box<dyn World>>,
}

impl Scenario {
    /// A scenario with [`Strategy::Auto`]; `build` is called once for each kill point.
    pub fn new<W: World + 'static>(name: impl Into<String>, build: impl Fn() -> W + 'static) -> Self {
        Self {
            name: name.into(),
            strategy: Strategy::Auto,
            after_wake: false,
            build: Box::new(move || Box::new(build())),
        }
    }

    /// Chooses the kill points by `strategy`.
    #[must_use]
    pub fn strategy(mut self, strategy: Strategy) -> Self {
        self.strategy = strategy;
        self
    }

    /// Starts stepping only when the victim has slept and [`World::victim_asleep`] woke it: point
    /// 0 is the return from that system call.
    #[must_use]
    pub fn after_wake(mut self) -> Self {
        self.after_wake = true;
        self
    }

    /// The name in reports.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl std::fmt::Debug for Scenario {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scenario")
            .field("name", &self.name)
            .field("strategy", &self.strategy)
            .field("after_wake", &self.after_wake)
            .finish_non_exhaustive()
    }
}

/// One kill, and what the world finds out about it.
#[derive(Debug)]
pub struct Kill {
    /// Instructions aimed at; see `reached`.
    pub point: u32,
    /// Where the victim was.
    pub reached: Reached,
    /// Its operation had returned, so what it did is acknowledged.
    pub finished: bool,
    /// The dead process.
    pub pid: i32,
    at: Instant,
    pub(super) committed: Option<bool>,
    pub(super) recovery: Duration,
    pub(super) violations: Vec<String>,
}

impl Kill {
    /// To be made right before the signal is sent.
    pub(super) fn now(point: u32, reached: Reached, finished: bool, pid: i32) -> Self {
        Self {
            point,
            reached,
            finished,
            pid,
            at: Instant::now(),
            committed: None,
            recovery: Duration::ZERO,
            violations: Vec::new(),
        }
    }

    /// Whether the operation had taken effect; the report counts both kinds.
    pub fn committed(&mut self, committed: bool) {
        self.committed = Some(committed);
    }

    /// Notes a violation unless `holds`.
    pub fn demand(&mut self, holds: bool, otherwise: impl Display) {
        if !holds {
            self.violations.push(otherwise.to_string());
        }
    }

    /// No violation until now. After one, a call that waits without a limit may wait for ever.
    pub fn is_clean(&self) -> bool {
        self.violations.is_empty()
    }

    /// The survivors have just recovered: the report keeps the longest time since the signal.
    pub fn recovered(&mut self) {
        self.recovery = self.recovery.max(self.at.elapsed());
    }
}
