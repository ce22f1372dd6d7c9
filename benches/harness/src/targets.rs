//! What has to be reached, in one table.

use crate::measure::{Row, median, ratios};
use serde::{Deserialize, Serialize};

/// What a metric is compared to.
pub enum Against {
    /// The figure stands for itself.
    Nothing,
    Row(&'static str),
    /// The one with the highest median.
    BestOf(&'static [&'static str]),
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Bound::AtMost(bound) => write!(f, "<= {bound}"),
            Bound::AtLeast(bound) => write!(f, ">= {bound}"),
        }
    }
}

/// Which figure of the samples counts.
#[derive(PartialEq)]
pub enum Figure {
    Median,
    Worst,
}

pub struct Target {
    pub group: &'static str,
    pub metric: &'static str,
    pub figure: Figure,
    pub against: Against,
    pub bound: Bound,
    /// The library has what it is about. Whoever builds that part says so here.
    pub part_exists: bool,
}

const fn target(group: &'static str, metric: &'static str, against: Against, bound: Bound) -> Target {
    Target { group, metric, figure: Figure::Median, against, bound, part_exists: true }
}

const fn worst(group: &'static str, metric: &'static str, bound: Bound) -> Target {
    Target { figure: Figure::Worst, ..target(group, metric, Against::Nothing, bound) }
}

const fn absent(group: &'static str, metric: &'static str, against: Against, bound: Bound) -> Target {
    Target { part_exists: false, ..target(group, metric, against, bound) }
}

const PROCESS_PEERS: &[&str] = &[
    "two processes: pthread pshared",
    "two processes: pthread robust pshared",
    "two processes: raw_sync Mutex",
    "two processes: Boost interprocess_mutex",
];

const MESSAGE_PEERS: &[&str] = &[
    "1:1: pipe(2)",
    "1:1: SEQPACKET sockets",
    "1:1: Boost message_queue",
    "1:1: Python Queue",
    "1:1: Python SimpleQueue",
    "1:1: faster-fifo",
    "1:1: unix stream sockets",
    "1:1: POSIX mq",
    "1:1: ipc-channel",
    "1:1: iceoryx2, polled",
    "1:1: ipmpsc",
    "1:1: interprocess",
];

use Against::{BestOf, Nothing, Row as To};
use Bound::{AtLeast, AtMost};

pub static TARGETS: &[Target] = &[
    target("locks", "alone: Value guard", To("alone: std::sync::Mutex"), AtMost(1.10)),
    target("locks", "two processes: Value guard", BestOf(PROCESS_PEERS), AtLeast(1.3)),
    target("locks", "two processes: Value guard: slower side", Nothing, AtLeast(25.0)),
    target("values", "get 8 bytes: Value", Nothing, AtMost(1.5)),
    target("values", "get 8 bytes: Value, lock held", Nothing, AtMost(1.5)),
    target("values", "get 64 bytes: Value", Nothing, AtMost(4.0)),
    target("memory", "create and drop: Value", Nothing, AtMost(500.0)),
    target("memory", "create and drop: the only Value", Nothing, AtMost(500.0)),
    target("memory", "64 MiB: Array<u8>", To("64 MiB: memfd, allocated and mapped"), AtMost(1.1)),
    worst("memory", "10,000 live Values: descriptors", AtMost(32.0)),
    worst("memory", "10,000 live Values: mappings", AtMost(64.0)),
    target("wordcount", "two processes", To("one process"), AtLeast(1.7)),
    worst("recovery", "Semaphore permit", AtMost(50.0)),
    worst("recovery", "RLock, three levels", AtMost(50.0)),
    worst("recovery", "Barrier party", AtMost(50.0)),
    worst("recovery", "Barrier leader in its action", AtMost(50.0)),
    worst("recovery", "Value", AtMost(50.0)),
    worst("recovery", "Array", AtMost(50.0)),
    worst("recovery", "Value, victim of 1.5 GiB", AtMost(50.0)),
    worst("recovery", "Array, victim of 1.5 GiB", AtMost(50.0)),
    target("messages", "1:1: SimpleQueue", To("1:1: crossbeam bounded, threads"), AtLeast(1.5)),
    target("messages", "1:1: SimpleQueue", BestOf(MESSAGE_PEERS), AtLeast(10.0)),
    target("messages", "1:1: Queue of a small struct", To("1:1: SimpleQueue"), AtLeast(0.5)),
    target("messages", "1:1, 256 at once: SimpleQueue", To("1:1, 256 at once: raw ring"), AtLeast(0.5)),
    target("messages", "2:2: SimpleQueue", To("2:2: crossbeam bounded, threads"), AtLeast(2.0)),
    target("messages", "2:2 apart: SimpleQueue", To("2:2 apart: crossbeam bounded, threads"), AtLeast(2.0)),
    target("ping-pong", "spinning: SimpleQueue", To("spinning: SimpleQueue: cache line"), AtMost(2.0)),
    target("ping-pong", "same core: SimpleQueue", To("same core: pipe(2)"), AtMost(1.4)),
    target("pipes", "64 KiB copied: Pipe", To("64 KiB copied: raw ring"), AtLeast(0.9)),
    target("pipes", "1 MiB copied: Pipe", To("1 MiB copied: raw ring"), AtLeast(0.9)),
    target("pipes", "1 MiB in place: Pipe", To("1 MiB in place: iceoryx2"), AtLeast(1.0)),
    worst("stalls", "consumer killed", AtMost(50.0)),
    worst("stalls", "producer killed", AtMost(50.0)),
    target(
        "sync",
        "semaphore, acquire and release: Semaphore",
        To("semaphore, acquire and release: tokio::sync::Semaphore"),
        AtMost(1.5),
    ),
    target(
        "sync",
        "recursive lock, two levels: RLock",
        To("recursive lock, two levels: parking_lot::ReentrantMutex"),
        AtMost(1.5),
    ),
    target(
        "sync",
        "event, set, look and clear: Event",
        To("event, set, look and clear: parking_lot Mutex<bool> and Condvar"),
        AtMost(1.5),
    ),
    target(
        "sync",
        "condition, notify nobody: Condition",
        To("condition, notify nobody: parking_lot::Condvar"),
        AtMost(1.5),
    ),
    target("sync", "barrier for one: Barrier", To("barrier for one: std::sync::Barrier"), AtMost(1.5)),
    target("start", "fork server", To("Command of /bin/true"), AtMost(0.5)),
    target("start", "fork server", To("procspawn"), AtMost(0.3)),
    target(
        "start",
        "fork server, parent with 512 MiB touched and 8 threads",
        To("fork server, the same parent without these"),
        AtMost(1.2),
    ),
    target("pool", "map: Pool", Nothing, AtLeast(1000.0)), // thousands in a second
    target("pool", "map: Pool", To("map: Python Pool"), AtLeast(20.0)),
    target("pool", "apply, asleep: Pool", To("apply, asleep: pipe(2) ping-pong"), AtMost(1.5)),
    target("pool", "apply, one core: Pool", To("apply, one core: SimpleQueue ping-pong"), AtMost(1.5)),
    target("pool", "apply, one core: Pool", To("apply, one core: pipe(2) ping-pong"), AtMost(1.5)),
    target("pool", "long tasks: Pool", To("long tasks: std threads"), AtLeast(0.97)),
    target("pool", "start of 8: Pool", Nothing, AtMost(3000.0)),
    absent("manager", "get, same core: Manager dict", To("get, same core: redis over a unix socket"), AtMost(0.5)),
    absent("manager", "set, same core: Manager dict", To("set, same core: redis over a unix socket"), AtMost(0.5)),
    absent("manager", "get, other core: Manager dict", To("get, other core: redis over a unix socket"), AtMost(0.5)),
    absent("manager", "set, other core: Manager dict", To("set, other core: redis over a unix socket"), AtMost(0.5)),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Met,
    Missed,
    /// The library does not have that part.
    Absent,
}

/// How a target came out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Verdict {
    pub group: String,
    pub metric: String,
    pub reference: Option<String>,
    pub bound: Bound,
    /// The metric, or its ratio to the reference; none when one of the two was not measured.
    pub figure: Option<f64>,
    pub outcome: Outcome,
}

impl Target {
    pub fn judge(&self, rows: &[Row]) -> Verdict {
        let find = |name: &str| rows.iter().find(|row| row.group == self.group && row.name == name);
        let reference = match self.against {
            Nothing => None,
            To(name) => find(name),
            BestOf(names) => best(names.iter().filter_map(|name| find(name))),
        };
        let figure = find(self.metric).and_then(|metric| match (reference, &self.against) {
            (None, Nothing) => self.figure_of(&metric.samples),
            (None, _) => None,
            (Some(reference), _) => self.figure_of(&ratios(metric, reference)),
        });
        let met = figure.is_some_and(|figure| match self.bound {
            AtMost(bound) => figure <= bound,
            AtLeast(bound) => figure >= bound,
        });
        let outcome = match (self.part_exists, met) {
            (false, _) => Outcome::Absent,
            (true, true) => Outcome::Met,
            (true, false) => Outcome::Missed,
        };
        let reference = reference.map(|row| row.name.clone());
        Verdict { group: self.group.into(), metric: self.metric.into(), reference, bound: self.bound, figure, outcome }
    }

    fn figure_of(&self, samples: &[f64]) -> Option<f64> {
        match (&self.figure, self.bound) {
            (Figure::Median, _) => median(samples),
            (Figure::Worst, AtMost(_)) => samples.iter().copied().reduce(f64::max),
            (Figure::Worst, AtLeast(_)) => samples.iter().copied().reduce(f64::min),
        }
    }
}

fn best<'a>(rows: impl Iterator<Item = &'a Row>) -> Option<&'a Row> {
    let known = rows.filter_map(|row| Some((row.median()?, row)));
    known.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, row)| row)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, samples: &[f64]) -> Row {
        Row { samples: samples.to_vec(), ..Row::new("g", name, "ns") }
    }

    #[test]
    fn a_ratio_is_the_median_of_the_repetitions_ratios() {
        let rows = [row("a", &[1.0, 20.0, 3.0]), row("b", &[1.0, 10.0, 3.0])];
        let verdict = target("g", "a", To("b"), AtMost(1.0)).judge(&rows);
        assert_eq!((verdict.figure, verdict.outcome), (Some(1.0), Outcome::Met));
    }

    #[test]
    fn the_best_peer_counts_and_a_missing_one_meets_nothing() {
        let rows = [row("a", &[3.0]), row("slow", &[1.0]), row("fast", &[2.0]), Row::missing("g", "gone", "why")];
        let verdict = target("g", "a", BestOf(&["slow", "fast", "gone"]), AtLeast(1.3)).judge(&rows);
        assert_eq!((verdict.figure, verdict.reference.as_deref()), (Some(1.5), Some("fast")));
        let outcome = |target: Target| target.judge(&rows).outcome;
        assert_eq!(verdict.outcome, Outcome::Met);
        assert_eq!(outcome(target("g", "gone", Nothing, AtMost(1.0))), Outcome::Missed);
        assert_eq!(outcome(target("g", "a", To("gone"), AtMost(9.0))), Outcome::Missed);
        assert_eq!(outcome(absent("g", "a", Nothing, AtMost(0.0))), Outcome::Absent);
    }

    #[test]
    fn the_worst_is_the_highest_where_low_is_good() {
        assert_eq!(worst("g", "a", AtMost(2.0)).judge(&[row("a", &[1.0, 5.0])]).figure, Some(5.0));
    }
}
