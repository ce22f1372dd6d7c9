//! Tables for a terminal.

use super::number;
use crate::compare::{Change, Comparison};
use crate::contest::full_name;
use crate::measure::Row;
use crate::targets::{Against, Outcome, Target, Verdict};
use comfy_table::{CellAlignment, Table, presets};

pub fn table<const N: usize>(header: [&str; N], lines: impl IntoIterator<Item = [String; N]>) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(header);
    for line in lines {
        table.add_row(line);
    }
    table
}

/// The rows of one group.
pub fn rows(rows: &[Row]) -> Table {
    let line = |row: &Row| {
        let name = full_name(row);
        let Some(((min, max), median)) = row.spread().zip(row.median()) else {
            let reason = row.missing.as_deref().unwrap_or("not measured");
            return [name, "missing".into(), reason.into(), String::new()];
        };
        [name, number(median), format!("{} .. {}", number(min), number(max)), row.unit.clone()]
    };
    let group = rows.first().map_or("", |row| &row.group);
    let mut table = table([group, "median", "min .. max", "unit"], rows.iter().map(line));
    if let Some(column) = table.column_mut(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// What has to be reached.
pub fn targets(targets: &[Target]) -> Table {
    let line = |target: &Target| {
        let times = match target.against {
            Against::Nothing => String::new(),
            Against::Row(name) => format!(" x {name}"),
            Against::BestOf(names) => format!(" x the best of: {}", names.join("; ")),
        };
        [format!("{}: {}", target.group, target.metric), format!("{}{times}", target.bound)]
    };
    table(["target", "bound"], targets.iter().map(line))
}

/// What was reached.
pub fn verdicts(verdicts: &[Verdict]) -> Table {
    table(["target", "figure", "bound", ""], verdicts.iter().map(verdict_cells))
}

/// The metric, its figure, the bound, and what came of it.
pub fn verdict_cells(verdict: &Verdict) -> [String; 4] {
    let times = verdict.reference.as_ref().map_or(String::new(), |reference| format!(" x {reference}"));
    let (nothing, answer) = match verdict.outcome {
        Outcome::Met => ("", "met"),
        Outcome::Missed => ("not measured", "MISSED"),
        Outcome::Absent => ("", "absent"),
    };
    let figure = verdict.figure.map_or(nothing.into(), number);
    [format!("{}: {}", verdict.group, verdict.metric), figure, format!("{}{times}", verdict.bound), answer.into()]
}

/// How a newer run differs from an older one.
pub fn comparisons(comparisons: &[Comparison]) -> Table {
    let line = |row: &Comparison| {
        let change = match row.change {
            Change::Slower => "SLOWER",
            Change::Faster => "faster",
            Change::None => "",
        };
        let [before, after] = row.medians.map(number);
        let beside = row.beside.map_or(String::new(), number);
        let name = format!("{}: {}", row.group, row.name);
        [name, before, after, row.unit.clone(), number(row.times), beside, change.into()]
    };
    let header = ["", "base", "new", "unit", "times as good", "beside the yardstick", ""];
    table(header, comparisons.iter().map(line))
}
