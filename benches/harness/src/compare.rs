//! Whether a newer run is slower than an older one.
//!
//! A row of ours is slower when it lost twice: in each repetition of the new run it was worse than in every one of the
//! old run, and so was its ratio to the yardstick of its contest, which moves with the machine; and both by more than a
//! threshold. Where there is no yardstick, or there are few repetitions, the threshold is wider.

use crate::contest::{Contest, Lead, contests, full_name};
use crate::measure::{Role, Row, is_rate, median};
use crate::report::Report;

/// What two runs say of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Slower,
    Faster,
    /// Not more than what repetitions differ by.
    None,
}

pub struct Comparison {
    pub group: String,
    pub name: String,
    pub unit: String,
    /// Medians: the old one, the new one.
    pub medians: [f64; 2],
    /// How many times as good the new one is, by itself and beside the yardstick.
    pub times: f64,
    pub beside: Option<f64>,
    pub change: Change,
}

/// By so much more than the other both have to be better or worse.
const THRESHOLD: f64 = 1.05;
/// The same where there are few repetitions, or no yardstick: what a run has for itself, as the place of an object in
/// its page, then looks like a difference.
const THRESHOLD_OF_FEW: f64 = 1.15;
const FEW: usize = 8;

pub fn compare(base: &Report, new: &Report) -> Vec<Comparison> {
    let (old, new) = (contests(&base.rows), contests(&new.rows));
    let both = new.iter().filter_map(|new| Some((old.iter().find(|old| old.is_same(new))?, new)));
    let ours = |row: &&&Row| row.role == Role::Ours;
    both.flat_map(|(old, new)| new.rows.iter().filter(ours).filter_map(|row| one(old, new, row))).collect()
}

fn one(old: &Contest<'_>, new: &Contest<'_>, row: &Row) -> Option<Comparison> {
    let find = |name: &str| old.rows.iter().copied().find(|row| row.name == name);
    let before = find(&row.name).filter(|before| before.unit == row.unit)?;
    let goodness = |row: &Row| row.samples.iter().map(|x| if is_rate(&row.unit) { *x } else { 1.0 / x }).collect();
    let alone = Shift::between(goodness(before), goodness(row))?;
    let beside = new.yardstick().and_then(|yardstick| {
        let (now, then) = (Lead::of(row, yardstick)?, Lead::of(before, find(&yardstick.name)?)?);
        Shift::between(then.all, now.all)
    });
    let are_few = before.samples.len().min(row.samples.len()) < FEW;
    let threshold = if are_few || beside.is_none() { THRESHOLD_OF_FEW } else { THRESHOLD };
    let change = match &beside {
        Some(beside) => match (alone.beyond(threshold), beside.beyond(threshold)) {
            (a, b) if a == b => a,
            _ => Change::None,
        },
        None => alone.beyond(threshold),
    };
    Some(Comparison {
        group: row.group.clone(),
        name: full_name(row),
        unit: row.unit.clone(),
        medians: [before.median()?, row.median()?],
        times: alone.times,
        beside: beside.map(|beside| beside.times),
        change,
    })
}

/// How samples moved.
struct Shift {
    times: f64,
    /// No sample of one run lies among the other's.
    apart: bool,
}

impl Shift {
    fn between(before: Vec<f64>, after: Vec<f64>) -> Option<Self> {
        let times = median(&after)? / median(&before)?;
        let least = |samples: &[f64]| samples.iter().copied().fold(f64::INFINITY, f64::min);
        let most = |samples: &[f64]| samples.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let apart = most(&after) < least(&before) || least(&after) > most(&before);
        times.is_finite().then_some(Shift { times, apart })
    }

    fn beyond(&self, threshold: f64) -> Change {
        match self.times {
            times if self.apart && times * threshold < 1.0 => Change::Slower,
            times if self.apart && times > threshold => Change::Faster,
            _ => Change::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;
    use crate::measure::Plan;

    fn report(ours: &[f64], limit: &[f64]) -> Report {
        let row =
            |name: &str, role, samples: &[f64]| Row { role, samples: samples.to_vec(), ..Row::new("g", name, "ns") };
        let rows = vec![row("c: ours", Role::Ours, ours), row("c: limit", Role::Limit, limit)];
        Report { machine: Machine::this(), plan: Plan::new(true, false), rows, targets: vec![] }
    }

    fn change(base: &Report, new: &Report) -> Change {
        compare(base, new)[0].change
    }

    #[test]
    fn a_slower_row_is_told_from_a_slower_machine_and_from_noise() {
        let base = report(&[10.0, 11.0, 10.5], &[5.0, 5.0, 5.0]);
        assert_eq!(change(&base, &report(&[12.5, 13.0, 12.5], &[5.0, 5.0, 5.0])), Change::Slower);
        assert_eq!(
            change(&base, &report(&[11.5, 11.6, 11.5], &[5.0, 5.0, 5.0])),
            Change::None,
            "too few for so little"
        );
        assert_eq!(change(&base, &report(&[12.0, 13.0, 12.5], &[6.0, 6.0, 6.0])), Change::None, "the machine");
        assert_eq!(change(&base, &report(&[12.0, 13.0, 10.8], &[5.0, 5.0, 5.0])), Change::None, "noise");
        assert_eq!(change(&base, &report(&[9.0, 8.0, 8.5], &[5.0, 5.0, 5.0])), Change::Faster);
        assert_eq!(change(&base, &base), Change::None);
    }
}
