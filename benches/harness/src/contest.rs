//! Who did the same job: rows of one group whose names begin alike, and by how much ours is better than each other one.

use crate::measure::{Role, Row, is_rate, median, ratios};

pub struct Contest<'a> {
    pub group: &'a str,
    /// Empty where a group is one contest.
    pub title: &'a str,
    /// How much work it was, where that grows.
    pub at: Option<f64>,
    /// Without details.
    pub rows: Vec<&'a Row>,
}

/// The contests in the order of their first rows.
pub fn contests(rows: &[Row]) -> Vec<Contest<'_>> {
    let mut contests: Vec<Contest<'_>> = Vec::new();
    for row in rows.iter().filter(|row| row.role != Role::Detail) {
        let contest = Contest { group: &row.group, title: title(row), at: row.at, rows: vec![row] };
        match contests.iter_mut().find(|other| other.is_same(&contest)) {
            Some(contest) => contest.rows.push(row),
            None => contests.push(contest),
        }
    }
    contests
}

pub fn title(row: &Row) -> &str {
    row.name.split_once(": ").map_or("", |(title, _)| title)
}

/// With how much work it was.
pub fn full_name(row: &Row) -> String {
    row.at.map_or(row.name.clone(), |at| format!("{} @ {at}", row.name))
}

/// The name within its contest.
pub fn short_name(row: &Row) -> &str {
    row.name.split_once(": ").map_or(&row.name, |(_, name)| name)
}

impl<'a> Contest<'a> {
    /// Perhaps of another run.
    pub fn is_same(&self, other: &Contest<'_>) -> bool {
        (self.group, self.title, self.at) == (other.group, other.title, other.at)
    }

    /// The one that the others are compared to.
    pub fn champion(&self) -> Option<&'a Row> {
        self.rows.iter().copied().find(|row| row.role == Role::Ours && !row.samples.is_empty())
    }

    pub fn against(&self, rival: &'a Row) -> Option<Lead<'a>> {
        let champion = self.champion().filter(|ours| !std::ptr::eq(*ours, rival))?;
        Lead::of(champion, rival)
    }

    /// The first of those that say most about the machine: what cannot be better, else what is between threads, else a
    /// peer.
    pub fn yardstick(&self) -> Option<&'a Row> {
        let of = |role| self.rows.iter().copied().find(|row| row.role == role && !row.samples.is_empty());
        of(Role::Limit).or_else(|| of(Role::InProcess)).or_else(|| of(Role::Peer))
    }
}

/// How many times as good a row is as another one: the median over the repetitions, and the lowest and the highest.
pub struct Lead<'a> {
    pub ours: &'a Row,
    pub other: &'a Row,
    pub times: f64,
    pub range: (f64, f64),
    pub all: Vec<f64>,
}

impl<'a> Lead<'a> {
    pub fn of(ours: &'a Row, other: &'a Row) -> Option<Self> {
        if ours.unit != other.unit {
            return None;
        }
        let all = if is_rate(&ours.unit) { ratios(ours, other) } else { ratios(other, ours) };
        let times = median(&all).filter(|times| times.is_finite())?;
        let range = (all.iter().copied().reduce(f64::min)?, all.iter().copied().reduce(f64::max)?);
        Some(Lead { ours, other, times, range, all })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, unit: &str, role: Role, samples: &[f64]) -> Row {
        Row { role, samples: samples.to_vec(), ..Row::new("g", name, unit) }
    }

    #[test]
    fn contests_are_told_by_their_names() {
        let rows = [
            row("1:1: ours", "M/s", Role::Ours, &[4.0, 6.0]),
            row("1:1: ours: sleeps", "each", Role::Detail, &[0.0, 0.0]),
            row("2:2: ours", "M/s", Role::Ours, &[1.0]),
            row("1:1: pipe", "M/s", Role::Peer, &[2.0, 2.0]),
            row("alone", "ns", Role::Ours, &[1.0]),
        ];
        let contests = contests(&rows);
        assert_eq!(
            contests.iter().map(|contest| (contest.title, contest.rows.len())).collect::<Vec<_>>(),
            [("1:1", 2), ("2:2", 1), ("", 1)]
        );
        let lead = contests[0].against(&rows[3]).unwrap();
        assert_eq!((lead.times, lead.range), (2.5, (2.0, 3.0)));
        assert_eq!(contests[0].yardstick().unwrap().name, "1:1: pipe");
    }

    #[test]
    fn less_time_is_better_and_other_units_are_not_compared() {
        let ours = row("ours", "ns", Role::Ours, &[10.0]);
        assert_eq!(Lead::of(&ours, &row("peer", "ns", Role::Peer, &[30.0])).unwrap().times, 3.0);
        assert!(Lead::of(&ours, &row("peer", "us", Role::Peer, &[30.0])).is_none());
    }
}
