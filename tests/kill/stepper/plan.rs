//! Which points of an operation get a kill, and the shortest way to each.

use std::collections::{BTreeSet, HashMap};

/// Operations up to this many instructions are killed at every one of them.
const SHORT: u32 = 2_000;

/// How the kill points are chosen. Point k comes after exactly k instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Every instruction; an operation longer than `limit` is a violation.
    Exhaustive {
        /// The most instructions the operation may have.
        limit: u32,
    },
    /// Both sides of each visible change and of each system call, besides both ends.
    ByEffect,
    /// Exhaustive up to 2,000 instructions, by effect above.
    Auto,
    /// Before and after each system call, besides both ends: for operations that act by system calls alone. Nothing is
    /// stepped through, so a point is a number of stops.
    Calls,
}

impl Strategy {
    /// Exhaustive with the usual limit.
    pub const EXHAUSTIVE: Self = Self::Exhaustive { limit: SHORT };
}

/// How many of the points a run of the suite visits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pass {
    most: u32,
    /// How many steps the ways to all points may have together.
    steps: u32,
    /// After so many violations the rest is left out.
    pub(super) enough: usize,
}

impl Pass {
    /// All points.
    pub const FULL: Self = Self { most: u32::MAX, steps: u32::MAX, enough: usize::MAX };

    /// About `most` points, evenly spread, whatever the length of the operation. Where the ways to them have more than
    /// `steps` steps, the longest are left out: those lead into the middle of long loops.
    pub fn about(most: u32, steps: u32) -> Self {
        Self { most: most.max(2), steps, ..Self::FULL }
    }

    /// Ends after that many violations.
    #[must_use]
    pub fn until(self, violations: usize) -> Self {
        Self { enough: violations.max(1), ..self }
    }

    pub(super) fn pick(self, points: &[u32], route: &Route) -> Vec<u32> {
        let last = points.len().saturating_sub(1);
        let stride = points.len().div_ceil(self.most as usize).max(1);
        let chosen = (0..points.len()).filter(|&i| i == last || i % stride == 0);
        let mut chosen: Vec<u32> = chosen.map(|i| points[i]).collect();
        let mut left = self.steps;
        chosen.sort_by_key(|point| route.cost(*point));
        chosen.retain(|point| {
            let is_end = Some(point) == points.first() || Some(point) == points.last();
            let fits = left.checked_sub(route.cost(*point));
            left = fits.unwrap_or(left);
            is_end || fits.is_some()
        });
        chosen.sort_unstable();
        chosen
    }
}

/// A place on the way at which a breakpoint can stop the victim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Anchor {
    /// How many steps lead there.
    pub point: u32,
    /// The instruction that comes next.
    pub address: u64,
    /// How often the breakpoint is met until then: loops come by more than once.
    pub visits: u32,
}

impl Anchor {
    /// Stops it takes to get to `point`: one for each visit and for each step from there.
    fn cost(&self, point: u32) -> u32 {
        self.visits + (point - self.point)
    }
}

/// What the survey saw, step by step.
#[derive(Debug, Default)]
pub(super) struct Route {
    anchors: Vec<Anchor>, // for each point the best one at or before it
    visits: HashMap<u64, u32>,
    start: u64,  // address of point 0
    latest: u64, // address of the last point
    notable: BTreeSet<u32>,
}

impl Route {
    /// A route of no steps, in front of the instruction at `address`.
    pub fn new(address: u64) -> Self {
        let mut route = Self::default();
        route.anchors.push(Anchor { point: 0, address, visits: 0 });
        (route.start, route.latest) = (address, address);
        route
    }

    /// One step led to the instruction at `address`.
    pub fn push(&mut self, address: u64) {
        let point = self.last() + 1;
        let mut best = self.anchors[self.anchors.len() - 1];
        // A repeated string instruction is one visit, however many steps it takes; and whether a
        // breakpoint counts the start as a visit depends on how the victim came to stop there.
        if address != self.latest && address != self.start {
            let visits = self.visits.entry(address).or_default();
            *visits += 1;
            let here = Anchor { point, address, visits: *visits };
            if here.cost(point) < best.cost(point) {
                best = here;
            }
        }
        self.latest = address;
        self.anchors.push(best);
    }

    /// The last step finished the operation or fell asleep.
    pub fn push_end(&mut self) {
        let anchor = self.anchors[self.anchors.len() - 1];
        self.anchors.push(anchor);
        self.note_effect();
    }

    /// The last step had an effect.
    pub fn note_effect(&mut self) {
        let last = self.last();
        self.notable.extend([last.saturating_sub(1), last]);
    }

    /// The number of steps, which is also the last point.
    pub fn last(&self) -> u32 {
        u32::try_from(self.anchors.len() - 1).expect("the survey ends long before")
    }

    /// The way to `point`: run to the anchor, step the rest. None if it is stepping all the way.
    pub fn anchor(&self, point: u32) -> Option<Anchor> {
        let index = (point as usize).min(self.anchors.len() - 1);
        Some(self.anchors[index]).filter(|anchor| anchor.point > 0)
    }

    /// The number of stops on the way to `point`.
    fn cost(&self, point: u32) -> u32 {
        self.anchor(point).map_or(point, |anchor| anchor.cost(point))
    }

    /// All kill points, ascending, or why the strategy does not fit.
    pub fn points(&self, strategy: Strategy) -> Result<Vec<u32>, String> {
        let last = self.last();
        match strategy {
            Strategy::Exhaustive { limit } if last > limit => {
                Err(format!("{last} instructions are more than {limit}: use Strategy::ByEffect"))
            }
            Strategy::Auto if last > SHORT => self.points(Strategy::ByEffect),
            Strategy::Exhaustive { .. } | Strategy::Auto | Strategy::Calls => Ok((0..=last).collect()),
            Strategy::ByEffect => {
                let mut points = self.notable.clone();
                points.extend([0, last]);
                Ok(points.into_iter().collect())
            }
        }
    }
}
